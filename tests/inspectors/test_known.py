"""What the recorded calls tell of a cache that cannot be looked into itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches

import cache_monitor
from cache_monitor.inspectors.look import inspect_cache
from cache_monitor.inspectors.snapshot import Snapshot
from tests.anew import begin_anew

pytestmark = pytest.mark.django_db


@pytest.fixture
def cache(settings: Any) -> Iterator[Any]:
    """A cache of a backend that nobody knows, recorded into a store of this test's own."""
    settings.CACHES = {"default": {"BACKEND": "tests.backends.odd.OddCache", "LOCATION": "known"}}
    settings.CACHE_MONITOR = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}
    begin_anew()
    yield caches["default"]
    begin_anew()
    caches["default"].clear()


def look() -> Snapshot:
    return inspect_cache("default", caches["default"], limit=100, seconds=5, stale_after=60)


def test_the_recorded_writes_let_expect_what_is_inside(cache: Any) -> None:
    for number in range(30):
        cache.set(f"user:{number}", b"x" * 100)
        cache.set(f"user:{number}", b"x" * 100)
    cache.set("menu", b"x" * 900)
    cache.get("only-read")
    assert cache_monitor.flush()
    found = look()
    assert {each.group: each.entries for each in found.groups} == {"user:{int}": 30, "menu": 1}
    assert (found.entries, found.exact, found.looked_at) == (31, False, 0)
    assert (found.expired, found.idle, found.never_read, found.no_expiry) == (None,) * 4
    assert found.problem is not None
    assert "recorded" in found.problem


def test_where_nothing_was_recorded_nothing_is_said(cache: Any) -> None:
    found = look()
    assert (found.entries, found.bytes, found.groups) == (None, None, [])


def test_a_store_that_is_down_is_no_error_here(cache: Any, settings: Any) -> None:
    settings.CACHE_MONITOR = {
        "STORE": {
            "BACKEND": "cache_monitor.stores.redis.RedisStore",
            "OPTIONS": {"URL": "redis://127.0.0.1:1"},
        }
    }
    assert look().entries is None
