"""Who may see the dashboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.urls import reverse

from cache_monitor.admin import DashboardAdmin
from cache_monitor.models import Dashboard
from cache_monitor.reports import Report

pytestmark = pytest.mark.usefixtures("full_report")

URL_NAMES = [
    "admin:cache_monitor_dashboard",
    "admin:cache_monitor_dashboard_changelist",
    "admin:cache_monitor_stats_json",
]
FIGURE = b"user:1:profile"


@pytest.fixture(params=URL_NAMES)
def url(request: pytest.FixtureRequest) -> str:
    return reverse(request.param)


@pytest.mark.django_db
def test_anonymous_is_sent_to_the_login(url: str) -> None:
    response = Client().get(url)
    assert response.status_code == 302
    assert response["Location"].startswith(reverse("admin:login"))
    assert FIGURE not in response.content


def test_no_staff_is_sent_to_the_login(url: str, make_user: Callable[..., User]) -> None:
    client = Client()
    client.force_login(make_user("customer", staff=False))
    response = client.get(url)
    assert response.status_code == 302
    assert response["Location"].startswith(reverse("admin:login"))
    assert FIGURE not in response.content


def test_staff_without_the_permission_is_refused(url: str, make_user: Callable[..., User]) -> None:
    client = Client()
    client.force_login(make_user("editor", viewer=False))
    for asked in (url, f"{url}?partial=1", f"{url}?range=nonsense"):
        response = client.get(asked)
        assert response.status_code == 403
        assert FIGURE not in response.content


def test_staff_with_the_permission_sees_it(url: str, viewer: Client) -> None:
    response = viewer.get(url)
    assert response.status_code == 200
    assert FIGURE in response.content


def test_nothing_is_kept_by_caches(url: str, viewer: Client) -> None:
    """Figures of one user must not be served to the next from a proxy."""
    control = viewer.get(url)["Cache-Control"]
    assert "no-store" in control
    assert "private" in control


def test_the_admin_index_links_to_it(viewer: Client, page_url: str) -> None:
    index = viewer.get(reverse("admin:index")).content.decode()
    assert f'href="{page_url}"' in index
    assert "Cache dashboard" in index


def test_there_is_nothing_to_edit(viewer: Client, page_url: str) -> None:
    for rest in ("add/", "1/change/", "1/delete/", "1/history/"):
        assert viewer.get(f"{page_url}{rest}").status_code == 404


def test_another_admin_site_shows_it_with_its_own_links(
    rf: RequestFactory, make_user: Callable[..., User], full_report: Report
) -> None:
    """The page is built from the site that shows it, not from the default one."""
    site = admin.AdminSite(name="back_office")
    site.site_header = "Back office"
    shown = DashboardAdmin(Dashboard, site)
    page = shown.get_urls()[0].callback
    request = rf.get("/")
    request.user = make_user("viewer")
    response: HttpResponse = page(request)
    assert response.status_code == 200
    rendered = response.render().content.decode()  # type: ignore[attr-defined]
    assert "Back office" in rendered
    assert request.current_app == "back_office"


@pytest.fixture
def back_office(settings_of_back_office: None, make_user: Callable[..., User]) -> Client:
    client = Client()
    client.force_login(make_user("officer"))
    return client


@pytest.fixture
def settings_of_back_office() -> Iterator[None]:
    with override_settings(ROOT_URLCONF="tests.dashboard.back_office"):
        yield


@pytest.mark.parametrize("path", ["", "findings/", "keys/", "groups/", "views/", "memory/"])
def test_every_link_of_another_admin_site_stays_there(back_office: Client, path: str) -> None:
    """Also where the default site stands beside it."""
    page = back_office.get(f"/office/cache_monitor/dashboard/{path}").content.decode()
    assert 'href="/office/cache_monitor/dashboard/keys/' in page
    assert 'href="/admin/' not in page
