"""The panel from each of the toolbar's stores, as its history shows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.test import Client, override_settings

from tests import forked
from tests.panel.conftest import PANELS
from tests.panel.visits import PANEL, Visit, VisitDoing

pytestmark = [
    pytest.mark.usefixtures("toolbar_site"),
    pytest.mark.filterwarnings("ignore::django.core.cache.CacheKeyWarning"),
]

CACHE_STORE: Final = "debug_toolbar.store.CacheStore"
OPEN_THE_PANEL: Final = """
import sys
import django
from django.conf import settings
from django.test import override_settings

django.setup()
config = {"TOOLBAR_STORE_CLASS": sys.argv[3], "CACHE_BACKEND": "files"}
with override_settings(
    DEBUG=True,
    INSTALLED_APPS=[*settings.INSTALLED_APPS, "debug_toolbar"],
    DEBUG_TOOLBAR_PANELS=sys.argv[4:],
    DEBUG_TOOLBAR_CONFIG=config,
    ROOT_URLCONF="tests.panel.site",
):
    from debug_toolbar.toolbar import DebugToolbar

    toolbar = DebugToolbar.fetch(*sys.argv[1:3])
    print(toolbar.get_panel_by_id(sys.argv[2]).content)
"""
"""What a process does that did not serve the request."""


def work() -> None:
    cache.set("a\ud800\x00", 1, 60)
    cache.get_many(["a\ud800\x00", "b"])


def using(store: str) -> override_settings:
    return override_settings(DEBUG_TOOLBAR_CONFIG={"TOOLBAR_STORE_CLASS": store})


def assert_told_again(told: Visit) -> None:
    assert [(call[:2], len(call[2])) for call in told.calls] == [
        (("default", "set"), 1),
        (("default", "get_many"), 2),
    ]
    assert (told.stats["total"]["hits"], told.stats["total"]["misses"]) == (1, 1)
    assert told.rows("cm-calls")[2][4] == "1 hit 1 miss"
    query = {"request_id": told.request_id, "exclude_history": "True"}
    side_bar = Client().get("/__debug__/history_sidebar/", query).json()["CacheMonitorPanel"]
    assert "2 calls in" in side_bar["button"]


@pytest.fixture
def history_table(toolbar_site: None, transactional_db: None) -> Iterator[None]:
    from debug_toolbar.models import HistoryEntry

    with connection.schema_editor() as editor:
        editor.create_model(HistoryEntry)
    yield
    with connection.schema_editor() as editor:
        editor.delete_model(HistoryEntry)


def test_a_request_is_told_again_from_the_memory_store(visit_doing: VisitDoing) -> None:
    assert_told_again(visit_doing(work))


@pytest.mark.usefixtures("history_table")
def test_a_request_is_told_again_from_the_database_store(
    visit_doing: VisitDoing,
) -> None:
    with using("debug_toolbar.store.DatabaseStore"):
        assert_told_again(visit_doing(work))


def test_a_request_is_told_again_from_the_cache_store_without_that_stores_own_calls(
    visit_doing: VisitDoing,
) -> None:
    store = pytest.importorskip("debug_toolbar.store")
    if not hasattr(store, "CacheStore"):
        pytest.skip("this version of the toolbar has no CacheStore")
    with using(CACHE_STORE):
        assert_told_again(visit_doing(work))


def test_another_process_tells_the_request_but_for_the_reasons_of_its_misses(
    visit_doing: VisitDoing,
) -> None:
    if not hasattr(pytest.importorskip("debug_toolbar.store"), "CacheStore"):
        pytest.skip("this version of the toolbar has no CacheStore")
    config = {"TOOLBAR_STORE_CLASS": CACHE_STORE, "CACHE_BACKEND": "files"}
    with override_settings(DEBUG_TOOLBAR_CONFIG=config):
        told = visit_doing(lambda: [cache.get(f"elsewhere:{number}") for number in range(6)])
    shown = forked.printed(
        ["-c", OPEN_THE_PANEL, told.request_id, PANEL, CACHE_STORE, *PANELS],
        {
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "CACHE_MONITOR_TEST_VAR": str(Path(settings.CACHES["files"]["LOCATION"]).parent),
        },
    )
    assert shown.count("elsewhere:{int}") >= 6
    assert "tests/panel/test_stores.py:" in shown
    assert 'data-code="single-gets"' in shown
    assert "reason unknown" in shown
