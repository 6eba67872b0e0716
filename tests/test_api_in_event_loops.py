"""The store is read in async code too, where Django lets no database be used."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from django.core.cache import cache
from django.core.exceptions import SynchronousOnlyOperation
from django.test import override_settings
from django.utils import translation

import cache_monitor
from cache_monitor import api
from cache_monitor.api import off_loop
from cache_monitor.stores.base import get_store
from tests.anew import begin_anew

DATABASE = {"STORE": {"BACKEND": "cache_monitor.stores.database.DatabaseStore"}}
LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}


@pytest.fixture
def in_database(transactional_db: None) -> Iterator[None]:
    with override_settings(CACHES={"default": LOCMEM}, CACHE_MONITOR=DATABASE):
        begin_anew()
        yield
        begin_anew()


@pytest.mark.usefixtures("in_database")
def test_the_report_and_its_like_can_be_asked_for_in_async_code() -> None:
    cache.set("a", 1)
    cache.get("a")
    assert cache_monitor.flush()

    async def ask() -> None:
        with pytest.raises(SynchronousOnlyOperation):
            list(get_store().read("window", 0, 2**40, None))
        report = cache_monitor.report()
        assert (report.caches["default"].hits, report.quality.store_problem) == (1, None)
        assert api.key_series(["a"], None, None, "default").keys() == {"a"}
        assert api.muted() == {}
        assert api.store_problem() is None
        assert cache_monitor.flush()

    asyncio.run(ask())


def test_what_it_raises_is_raised_in_async_code() -> None:
    async def ask() -> None:
        with pytest.raises(api.UnknownAlias):
            cache_monitor.report(alias="unknown")

    asyncio.run(ask())


def test_it_runs_in_another_thread_in_the_same_language() -> None:
    @off_loop
    def where() -> tuple[str, str | None]:
        return threading.current_thread().name, translation.get_language()

    async def ask() -> tuple[str, str | None]:
        with translation.override("de"):
            return where()

    assert asyncio.run(ask()) == ("cache-monitor-report", "de")
    assert where()[0] == threading.current_thread().name
