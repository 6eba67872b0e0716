"""What the store tells of the site adds."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.test import override_settings

from cache_monitor import api
from cache_monitor.context import current
from cache_monitor.panel.hints import Usage
from cache_monitor.panel.site import SiteStats, of_the_last_hour
from tests.anew import begin_anew

MEMORY = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}


@override_settings(CACHE_MONITOR=MEMORY)
def test_the_store_tells_how_groups_are_used() -> None:
    # What other tests called last would reach this store.
    begin_anew()
    for number in range(3):
        cache.set(f"knowledge:{number}", number)
    cache.get("knowledge:1")
    # A flag is asked for without a lookup, and a counter changed where it is.
    for number in range(5):
        cache.set(f"flag:{number}", number)
    cache.has_key("flag:2")
    cache.incr("flag:3")
    assert not of_the_last_hour({"files"}).usage
    usage = of_the_last_hour({"default"}).usage
    assert usage["default", "knowledge:{int}"] == Usage(sets=3, uses=1)
    assert usage["default", "flag:{int}"] == Usage(sets=5, uses=2)


def test_a_store_that_cannot_be_read_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise RuntimeError("no store")

    monkeypatch.setattr(api, "key_details", fail)
    assert of_the_last_hour({"default"}) == SiteStats()


def test_reading_the_store_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    muted = []

    def note(_: str) -> None:
        scope = current()
        muted.append(scope is not None and scope.muted)
        raise RuntimeError("that is all")

    monkeypatch.setattr(api, "key_details", note)
    of_the_last_hour({"default"})
    assert muted == [True]
