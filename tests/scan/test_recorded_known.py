"""What the recorded calls show of a cache that cannot be scanned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches

import cache_monitor
from cache_monitor.calls import recorder
from cache_monitor.scan.entries import Selection, delete_step, find_entry, list_entries
from cache_monitor.scan.recorded import RecordedScanner, RecordedUses, Reporter, uses_of
from cache_monitor.scan.snapshot import Snapshot
from cache_monitor.stores.base import get_store
from cache_monitor.stores.memory import MemoryStore
from cache_monitor.trace import Plan, hash_of
from tests.anew import begin_anew
from tests.scan.inspection import inspect_cache
from tests.scan.recorded import Recorded

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


def uses() -> RecordedUses:
    """What the record of this process tells."""
    own = Reporter(recorder.process, recorder.reported_at)
    found = uses_of("default", caches["default"], get_store(), own)
    assert found is not None
    return found


def look(told: RecordedUses | None = None) -> Snapshot:
    cache = caches["default"]
    return inspect_cache(
        "default", cache, limit=500, seconds=5, stale_after=60, uses=told or uses()
    )


def test_the_recorded_calls_let_expect_what_is_inside(cache: Any) -> None:
    for number in range(30):
        cache.set(f"user:{number}", b"x" * 100)
        cache.set(f"user:{number}", b"x" * 100)
    cache.set("menu", b"x" * 900, None)
    cache.set("gone", b"x" * 900)
    cache.delete("gone")
    cache.set("over", b"x" * 900, 0)
    cache.get("menu")
    cache.get("only-read")
    assert cache_monitor.flush()
    found = look()
    assert {each.group: each.entries for each in found.groups} == {"user:{int}": 30, "menu": 1}
    assert (found.entries, found.examined, found.exact, found.largest) == (31, 0, False, [])
    assert (found.idle, found.never_read, found.no_expiry, found.expired) == (0, 30, 1, None)
    assert found.problem is not None
    assert "recorded" in found.problem


def test_an_entry_is_told_of_by_what_was_recorded(cache: Any) -> None:
    cache.set("user:1", 1, 300)
    cache.set("user:2", 2)
    assert cache_monitor.flush()
    there = find_entry("default", "user:1")
    assert there.entry is not None
    assert (there.exists, there.entry.never_read, there.entry.bytes) == (True, True, None)
    assert there.entry.expires_in == pytest.approx(300, abs=60)
    assert find_entry("default", "user:3").exists is None
    listed = list_entries("default", Selection(why="never_read"))
    assert {each.key for each in listed.entries} == {"user:1", "user:2"}
    deleted = delete_step("default", Selection(key="user:1"))
    assert (deleted.entries, cache.get("user:1"), cache.get("user:2")) == (1, None, 2)


def test_a_sample_stands_for_the_other_entries_with_an_error(cache: Any) -> None:
    for number in range(400):
        cache.set(f"user:{number}", number)
    assert cache_monitor.flush()
    told = uses()
    told.plan = Plan(level=2)
    source = RecordedScanner(cache, told)
    [page] = source.pages("", 1000)
    assert 0 < len(page.entries) < 200
    found = look(told)
    assert found.entries == found.never_read == source.total() == 4 * len(page.entries)
    assert found.never_read_error is not None
    assert 0 < found.never_read_error < 400
    in_the_middle = str(sorted(hash_of(f"\0{each.key}") for each in page.entries)[9])
    [rest] = source.pages(in_the_middle, 1000)
    assert len(rest.entries) == len(page.entries) - 10


def test_a_cache_without_any_of_djangos_attributes_is_told_of_too(settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "tests.backends.test_unrelated.OwnCache"}}
    settings.CACHE_MONITOR = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}
    begin_anew()
    cache = caches["default"]
    cache.set("user:1", 1)
    cache.set("user:2", 2, None)
    assert cache.get("user:2") == 2
    assert cache_monitor.flush()
    found = look()
    assert (found.entries, found.never_read, found.exact) == (2, 1, False)
    begin_anew()


def test_the_record_tells_what_of_diskcache_is_stale(tmp_path: Path) -> None:
    made = pytest.importorskip("diskcache").DjangoCache(str(tmp_path), {})
    with closing(made._cache):
        recorded = Recorded(made, MemoryStore())
        for number in range(5):
            recorded.set(f"old:{number}", "x", 50_000)
            recorded.set(f"read:{number}", "x", 50_000)
            recorded.get(f"read:{number}")
        recorded.age(7200)
        recorded.set("forever", "x", None)
        recorded.get("forever")
        told = recorded.uses()
        told.stale_after = 3600
        found = inspect_cache("default", made, limit=50, seconds=5, stale_after=3600, uses=told)
    assert (found.entries, found.exact, found.idle, found.never_read) == (11, False, 10, 5)
    assert (found.no_expiry, found.idle_error, found.never_read_error) == (1, 0, 0)
    ages = {each.key: each.age for each in found.stale}
    assert ages["read:1"] == pytest.approx(7200, abs=60)


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
    found = inspect_cache("default", cache, limit=100, seconds=5, stale_after=60)
    assert (found.entries, found.exact) == (None, False)
