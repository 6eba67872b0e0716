"""The dashboard as a member of staff sees it, over a report made by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from cache_monitor import api
from cache_monitor.dashboard.keys import key_lines
from cache_monitor.dashboard.query import readings
from cache_monitor.reports import Report
from tests.dashboard.reports import busy_cache, key_line, quiet_cache, report_of
from tests.dashboard.visiting import axe_script, complaints, page, site

__all__ = ["axe_script", "complaints", "page", "site"]

ShowReport = Callable[[Report], None]


@pytest.fixture(autouse=True)
def _no_readings() -> None:
    """What one test has read is not what the next one asks for."""
    readings.clear()
    key_lines.clear()


@pytest.fixture
def page_url() -> str:
    return reverse("admin:cache_monitor_dashboard")


@pytest.fixture
def json_url() -> str:
    return reverse("admin:cache_monitor_stats_json")


@pytest.fixture
def make_user(db: None) -> Callable[..., User]:
    def make(name: str, *, staff: bool = True, viewer: bool = True) -> User:
        user = User.objects.create(username=name, is_staff=staff)
        if viewer:
            permission = Permission.objects.get(
                content_type__app_label="cache_monitor", codename="view_dashboard"
            )
            user.user_permissions.add(permission)
        return user

    return make


@pytest.fixture
def viewer(make_user: Callable[..., User]) -> Client:
    """A client logged in as staff that may see the dashboard."""
    client = Client()
    client.force_login(make_user("viewer"))
    return client


@pytest.fixture
def show_report(monkeypatch: pytest.MonkeyPatch) -> ShowReport:
    """Let the dashboard show a report made by hand."""

    def show(report: Report) -> None:
        readings.clear()
        monkeypatch.setattr(api, "report", lambda since=None, until=None, alias=None: report)
        monkeypatch.setattr(api, "store_problem", lambda: None)
        monkeypatch.setattr(
            api, "key_series", lambda keys, since, until, alias: dict.fromkeys(keys, key_line())
        )

    return show


@pytest.fixture
def full_report(show_report: ShowReport) -> Report:
    report = report_of(default=busy_cache(), files=quiet_cache())
    show_report(report)
    return report
