"""Looking into a cache of whatever backend."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache

from cache_monitor.scan.base import Entry, ScanLimits
from cache_monitor.scan.snapshot import GROUPS, LARGEST, STALE, ScanTotals, Snapshot
from tests.scan.inspection import inspect_cache


def look(cache: BaseCache) -> Snapshot:
    return inspect_cache("default", cache, limit=10_000, seconds=5, stale_after=60)


def test_a_cache_that_keeps_nothing_is_known_to_be_empty() -> None:
    found = look(DummyCache("", {}))
    assert (found.entries, found.bytes, found.exact, found.problem) == (0, 0, True, None)


@pytest.mark.django_db
def test_of_a_backend_that_cannot_tell_the_snapshot_says_so() -> None:
    found = look(BaseCache({}))
    assert (found.alias, found.examined, found.entries, found.bytes) == ("default", 0, None, None)
    assert (found.exact, found.groups, found.stale) == (False, [], [])
    assert found.problem is not None
    assert "cannot be scanned" in found.problem


def test_a_subclass_made_at_run_time_is_looked_into_like_its_base() -> None:
    monitored: type[Any] = type("LocMemCache", (LocMemCache,), {})
    cache = monitored("run-time subclass", {})
    cache.set("menu", 1)
    assert look(cache).entries == 1


class Untouchable(LocMemCache):
    """A cache whose operations must not be used."""

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("an operation was used")

    get = get_many = get_or_set = has_key = __contains__ = touch = delete = incr = _refuse


def test_no_operation_of_the_cache_is_used() -> None:
    cache = Untouchable("untouchable", {})
    cache.set("menu", 1)
    assert (look(cache).entries, look(cache).problem) == (1, None)


def test_a_cache_that_breaks_is_told_and_raises_nothing() -> None:
    cache: Any = LocMemCache("broken", {})
    del cache._expire_info
    found = look(cache)
    assert (found.scope, found.entries, found.problem) == ("per process", None, "AttributeError")


@pytest.fixture
def crowded() -> Snapshot:
    cache = LocMemCache("crowded", {"OPTIONS": {"MAX_ENTRIES": 10_000}})
    for number in range(600):
        cache.set(f"name{number}:x", "x" * number, None)
    cache.set("gone", 1, -1)
    return look(cache)


def test_lists_are_bounded_and_name_the_heaviest(crowded: Snapshot) -> None:
    assert crowded.entries == 601
    assert [len(crowded.groups), len(crowded.largest), len(crowded.stale)] == [
        GROUPS,
        LARGEST,
        STALE,
    ]
    assert crowded.largest[0].key == crowded.stale[0].key == crowded.groups[0].group == "name599:x"


def test_a_rare_reason_is_among_the_samples_of_a_common_one(crowded: Snapshot) -> None:
    assert ["expired"] in [each.why for each in crowded.stale]
    assert crowded.no_expiry == 600


def _judged(*entries: Entry) -> Snapshot:
    tally = ScanTotals(ScanLimits("default", 1000, 0.0, 60), set())
    for entry in entries:
        tally.add(entry)
    return tally.snapshot("shared", len(entries), exact=True)


def test_a_sample_of_the_keys_stands_for_those_left_out_of_it() -> None:
    sample = [Entry(f"a{n}", 1, idle=90, never_read=n < 4, traced="sample") for n in range(16)]
    out = [Entry(f"b{n}", 1, idle=90, traced="out") for n in range(40)]
    hot = [Entry(f"c{n}", 1, idle=0, never_read=False, traced="whole") for n in range(3)]
    found = _judged(*sample, *out, *hot)
    # A quarter of the sample, and thus of the others: to one by the root of 16.
    assert (found.never_read, found.never_read_error) == (4 + 10, 10)
    # Of these the backend told each.
    assert (found.idle, found.idle_error) == (56, 0)


def test_entries_of_which_nothing_is_known_make_a_figure_uncertain() -> None:
    known = [Entry(f"a{n}", 1, never_read=True, traced="whole") for n in range(3)]
    found = _judged(*known, Entry("b", 1, traced="whole"), Entry("c", 1))
    assert (found.never_read, found.never_read_error) == (3, 2)
    assert (found.idle, found.idle_error) == (None, None)


def test_without_a_sample_nothing_stands_for_those_left_out() -> None:
    found = _judged(Entry("a", 1, never_read=True, traced="whole"), Entry("b", 1, traced="out"))
    assert (found.never_read, found.never_read_error) == (None, None)


def test_an_entry_that_is_stale_for_several_reasons_weighs_once() -> None:
    tally = ScanTotals(ScanLimits("default", 10, 0.0, 60), {"expired"})
    tally.add(Entry("menu", 7, no_expiry=True, idle=61, never_read=True))
    found = tally.snapshot("shared", 1, exact=True)
    assert found.stale_bytes == 7
    assert [each.why for each in found.stale] == [["idle", "never_read", "no_expiry"]]
    assert (found.expired, found.idle, found.never_read, found.no_expiry) == (None, 1, 1, 1)
    assert found.expired_bytes is None


def test_expired_bytes_and_endless_entries_are_counted_where_they_are() -> None:
    tally = ScanTotals(ScanLimits("default", 10, 0.0, 60), set())
    for name, size, left in (("a:1", 5, -1.0), ("a:2", 7, 9.0), ("b:1", 90, None), ("b:2", 1, 9.0)):
        tally.add(Entry(name, size, expires_in=left, no_expiry=left is None))
    found = tally.snapshot("shared", 8, exact=False)
    assert (found.expired, found.expired_bytes) == (2, 10)
    assert {each.group: each.no_expiry for each in found.groups} == {"a:{int}": 0, "b:{int}": 2}
