"""Looking into a LocMemCache."""

from __future__ import annotations

import math
import pickle
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache.backends.locmem import LocMemCache

from cache_monitor.scan.snapshot import Snapshot
from tests.scan.inspection import inspect_cache


@pytest.fixture
def location(request: pytest.FixtureRequest) -> Iterator[str]:
    name: str = request.node.nodeid
    yield name
    LocMemCache(name, {}).clear()


def cache_at(location: str, **params: Any) -> LocMemCache:
    return LocMemCache(location, {"OPTIONS": {"MAX_ENTRIES": 1_000_000}, **params})


def look(cache: LocMemCache, limit: int = 100_000, seconds: float = 5) -> Snapshot:
    return inspect_cache("default", cache, limit=limit, seconds=seconds, stale_after=60)


def test_an_empty_cache_has_no_entries_rather_than_unknown_ones(location: str) -> None:
    found = look(cache_at(location))
    assert (found.entries, found.bytes, found.expired, found.no_expiry) == (0, 0, 0, 0)
    assert (found.idle, found.never_read, found.evictions, found.limit_bytes) == (None,) * 4
    assert found.exact
    assert found.scope == "per process"
    assert found.limit_entries == 1_000_000


def test_each_entry_weighs_what_its_pickle_does(location: str) -> None:
    cache = cache_at(location)
    cache.set_many({"user:1:name": "x" * 100, "user:2:name": "y" * 50, "menu": [1]})
    sizes = [len(pickle.dumps(each, cache.pickle_protocol)) for each in ("x" * 100, "y" * 50, [1])]
    found = look(cache)
    assert found.bytes == sum(sizes)
    assert [(each.group, each.entries, each.bytes) for each in found.groups] == [
        ("user:{int}:name", 2, sizes[0] + sizes[1]),
        ("menu", 1, sizes[2]),
    ]
    assert [each.bytes for each in found.largest] == sorted(sizes, reverse=True)
    assert found.largest[0].key == "user:1:name"


def test_each_stale_entry_is_found_under_its_kind_and_no_other(location: str) -> None:
    cache = cache_at(location)
    cache.set("gone", 1, 0.01)
    cache.set("forever", 1, None)
    cache.set("fine", 1, 300)
    time.sleep(0.02)
    found = look(cache)
    assert {each.key: each.why for each in found.stale} == {
        "gone": ["expired"],
        "forever": ["no_expiry"],
    }
    assert (found.expired, found.no_expiry, found.entries) == (1, 1, 3)
    assert {each.key: (each.expires_in or 0) < 0 for each in found.stale}["gone"]


@pytest.mark.parametrize("prefix", ["", "shop", "shop:eu", "a*b[c]"])
def test_only_the_aliass_own_entries_are_counted(location: str, prefix: str) -> None:
    for each in ("", "shop", "shop:eu", "a*b[c]", "shop:eu:x"):
        cache_at(location, KEY_PREFIX=each).set(f"of:{each}", 1)
    found = look(cache_at(location, KEY_PREFIX=prefix))
    assert [each.key for each in found.largest] == [f"of:{prefix}"]


def test_other_versions_of_an_entry_are_not_this_caches(location: str) -> None:
    cache = cache_at(location, VERSION=2)
    cache.set("menu", 1)
    cache.set("menu", 1, version=7)
    cache.set("menu", 1, version=-1)
    assert [(each.group, each.entries) for each in look(cache).groups] == [("menu", 1)]
    assert look(cache_at(location, VERSION=7)).entries == 1


def test_a_version_that_is_no_number_is_undone_as_well(location: str) -> None:
    cache = cache_at(location, VERSION="2026a")
    cache.set("a:b", 1)
    assert [each.key for each in look(cache).largest] == ["a:b"]


def test_a_key_function_that_can_be_undone_is(location: str) -> None:
    cache = cache_at(location, KEY_FUNCTION=lambda key, prefix, version: f"<{version}|{key}>")
    cache.set("user:17", 1)
    assert [each.key for each in look(cache).largest] == ["user:17"]


@pytest.mark.parametrize("key_function", [lambda *parts: "all-one", lambda *parts: 1 / 0])
def test_a_key_function_that_cannot_be_undone_leaves_the_stored_key(
    location: str, key_function: Any
) -> None:
    cache_at(location).set("user:17", 1)
    found = look(cache_at(location, KEY_FUNCTION=key_function))
    assert [each.key for each in found.largest] == [":1:user:17"]


def test_a_look_that_stops_at_its_limit_says_so_and_estimates(location: str) -> None:
    cache = cache_at(location)
    for number in range(1000):
        cache.set(f"a:{number}", "x" * 100, None if number % 2 else 300)
    found = look(cache, limit=400)
    whole = look(cache)
    assert (found.examined, found.exact) == (400, False)
    assert found.entries == pytest.approx(1000, rel=0.05)
    assert found.bytes == pytest.approx(whole.bytes, rel=0.05)
    assert found.groups[0].entries == found.entries
    assert found.no_expiry == pytest.approx(500, rel=0.3)


def test_a_look_that_has_no_time_ends_after_the_first_page(location: str) -> None:
    cache = cache_at(location)
    cache.set_many({f"a:{number}": "x" for number in range(1000)})
    found = look(cache, seconds=0)
    assert 0 < found.examined < 10
    assert not found.exact


def test_entries_of_others_in_the_same_place_are_left_out_of_an_estimate(location: str) -> None:
    for number in range(1000):
        for prefix in ("mine", "other"):
            cache_at(location, KEY_PREFIX=prefix).set(f"a:{number}", "x")
    found = look(cache_at(location, KEY_PREFIX="mine"), limit=300)
    assert found.examined == 300
    assert found.entries == pytest.approx(1000, rel=0.2)


def test_looking_leaves_the_order_of_eviction_as_it_is(location: str) -> None:
    cache = cache_at(location)
    cache.set_many(dict.fromkeys("abc", 1))
    stored: Any = cache
    before = list(stored._cache)
    look(cache)
    assert list(stored._cache) == before


def test_looking_does_not_wait_for_the_caches_lock(location: str) -> None:
    cache: Any = cache_at(location)
    cache.set("menu", 1)
    with cache._lock:
        assert look(cache).entries == 1


def test_a_cache_that_changes_meanwhile_can_be_looked_into(location: str) -> None:
    cache = cache_at(location)
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            for number in range(200):
                cache.set(f"a:{number}", number)
            cache.clear()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        looks = [look(cache) for _ in range(200)]
    finally:
        stop.set()
        thread.join()
    assert {each.problem for each in looks} == {None}


def test_sessions_are_masked(location: str) -> None:
    cache = cache_at(location)
    cache.set("django.contrib.sessions.cachek7fz0q2m9x4b1v8c", {}, None)
    found = look(cache)
    assert "k7fz" not in repr(found)
    assert found.groups[0].group == "session"


@pytest.mark.parametrize("timeout", [math.inf, math.nan, 1e300])
def test_what_expires_in_thousands_of_years_never_does(location: str, timeout: float) -> None:
    cache = cache_at(location)
    cache.set("a", 1, timeout)
    assert cache.get("a") == 1
    found = look(cache)
    assert (found.no_expiry, found.expired) == (1, 0)
    assert [each.expires_in for each in found.stale] == [None]


class _Restless(dict[str, float]):
    """One that somebody else has just written to, the first few times that it is listed."""

    times = 3

    def __iter__(self) -> Iterator[str]:
        for key in super().__iter__():
            if self.times:
                self.times -= 1
                self[f"new:{self.times}"] = 0.0
            yield key


def test_keys_that_change_while_they_are_listed_are_listed_again(location: str) -> None:
    cache: Any = cache_at(location)
    cache.set_many({"a": 1, "b": 2}, None)
    cache._expire_info = _Restless(cache._expire_info)
    found = look(cache)
    assert (found.entries, found.problem) == (2, None)


def test_keys_that_never_stand_still_are_the_caches_problem(location: str) -> None:
    cache: Any = cache_at(location)
    cache.set_many({"a": 1, "b": 2}, None)
    cache._expire_info = _Restless(cache._expire_info)
    cache._expire_info.times = 1 << 60
    found = look(cache)
    assert found.entries is None
    assert found.problem is not None
    assert "written to all the time" in found.problem
