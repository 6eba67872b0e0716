"""The database store writes beside the site: no query, no transaction of the site's shows it."""

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from django.db.transaction import atomic, set_rollback
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

import cache_monitor
from cache_monitor.models import Window
from cache_monitor.stores.base import DATABASE
from tests.anew import begin_anew

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    with override_settings(CACHE_MONITOR={"STORE": {"BACKEND": DATABASE}}):
        begin_anew()
        yield
        begin_anew()


def _work() -> None:
    cache.get("key")
    assert cache_monitor.flush()


def test_a_flush_is_no_query_of_the_thread_that_asks_for_it() -> None:
    with CaptureQueriesContext(connection) as queries:
        _work()
    assert list(queries) == []
    assert Window.stored.filter(kind="window").exists()


def test_a_flush_is_no_part_of_the_transaction_around_it() -> None:
    with atomic():
        _work()
        Group.objects.create(name="not kept")
        set_rollback(True)
    assert Window.stored.filter(kind="window").exists()
    assert not Group.objects.exists()


def test_the_records_are_in_no_fixture_that_the_site_makes_of_its_data() -> None:
    _work()
    Group.objects.create(name="kept")
    dumped = StringIO()
    call_command("dumpdata", stdout=dumped)
    assert Window.stored.filter(kind="window").exists()
    models = {each["model"] for each in json.loads(dumped.getvalue())}
    assert "auth.group" in models
    assert not any(each.startswith("cache_monitor.") for each in models)


def test_a_flush_is_not_in_the_sql_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        _work()
        Group.objects.exists()

    with override_settings(
        DEBUG=True,
        INTERNAL_IPS=["127.0.0.1"],
        DEBUG_TOOLBAR_PANELS=[
            "debug_toolbar.panels.history.HistoryPanel",
            "debug_toolbar.panels.sql.SQLPanel",
        ],
        INSTALLED_APPS=[*settings.INSTALLED_APPS, "debug_toolbar"],
        MIDDLEWARE=["debug_toolbar.middleware.DebugToolbarMiddleware"],
        ROOT_URLCONF="tests.panel.site",
    ):
        monkeypatch.setattr("tests.panel.site.work", work)
        response: Any = Client().get("/page/")
        queries = _queries(response.headers["djdt-request-id"])
    assert any("auth_group" in each for each in queries)
    assert not any("cache_monitor" in each for each in queries)
    assert Window.stored.filter(kind="window").exists()


def _queries(request_id: str) -> list[str]:
    from debug_toolbar.toolbar import DebugToolbar

    toolbar = DebugToolbar.fetch(request_id, "SQLPanel")
    assert toolbar is not None
    panel: Any = toolbar.get_panel_by_id("SQLPanel")
    return [each["raw_sql"] for each in panel.get_stats()["queries"]]
