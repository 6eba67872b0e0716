"""Looks from the draining thread: bounded, gone on with, one at a time over all processes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from django.core.cache import caches

from cache_monitor.scan.database import AFTER_KEY
from cache_monitor.scan.scanner import ScanState
from cache_monitor.scan.schedule import (
    LOCK,
    LOCK_SECONDS,
    SHARED,
    ScanLock,
    ScanScheduler,
    keep,
    stored_progress,
)
from cache_monitor.scan.snapshot import Snapshot
from cache_monitor.stats.codec import decode, encode
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Row
from cache_monitor.stores.memory import MemoryStore
from tests.clocks import Clock, unix_clock
from tests.services import Server

# A look gives the database's connections back, of which an earlier test may have opened some.
pytestmark = pytest.mark.django_db

ENTRIES = 1300
LIMIT = 500


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of the looks, which stands still: a turn would end by itself on a slow machine."""
    return unix_clock(monkeypatch)


@pytest.fixture
def shared(redis_server: Server, settings: Any) -> Iterator[Any]:
    """A cache that processes share, of more entries than a look may examine, beside one that each
    process has for itself."""
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"{redis_server.url}/3",
        },
        "own": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "own"},
    }
    settings.CACHE_MONITOR = {"SCAN_LIMIT": LIMIT, "SCAN_SECONDS": 30, "INSPECT_INTERVAL": 60}
    cache = caches["default"]
    cache.clear()
    caches["own"].clear()
    cache.set_many({f"item:{number}": "x" for number in range(ENTRIES)}, 900)
    yield cache
    cache.clear()
    cache.close()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def looks_of(store: MemoryStore) -> dict[tuple[str, str], Snapshot]:
    """What reports read: the owner and the alias of each look."""
    return {
        (row.process, row.alias): decode(row.payload, Snapshot)
        for row in store.read("look", 0, 1, None)
    }


def release(store: MemoryStore) -> None:
    """Let the lock's time be over, and the caches be due."""
    store._locked_until.clear()
    for alias, progress in stored_progress(store).items():
        progress.looked_at -= 61
        keep(store, alias, looks_of(store)[SHARED, alias], progress)


def test_a_large_cache_is_gone_through_in_several_looks_of_different_processes(
    shared: Any, store: MemoryStore
) -> None:
    found: list[Snapshot] = []
    while not found or not found[-1].exact:
        found.append(ScanScheduler().look(f"process {len(found)}", store)["default"])
        release(store)
    stretches = [0, *(each.looked_at for each in found)]
    assert all(0 <= after - before <= LIMIT for before, after in pairwise(stretches))
    assert stretches[-1] == ENTRIES
    assert found[0].entries == pytest.approx(ENTRIES, rel=0.25)
    assert found[-1].entries == ENTRIES
    assert looks_of(store)[SHARED, "default"] == found[-1]


def test_a_whole_pass_stands_while_the_next_one_is_under_way(
    shared: Any, store: MemoryStore
) -> None:
    number, exact = 0, False
    while not exact:
        exact = ScanScheduler().look(f"process {number}", store)["default"].exact
        release(store)
        number += 1
    shared.set("late", "x")
    after = ScanScheduler().look("another", store)["default"]
    assert (after.entries, after.exact) == (ENTRIES, True)
    progress = stored_progress(store)["default"]
    assert 0 < progress.sums.looked_at <= LIMIT


def test_a_pass_that_was_left_long_ago_begins_anew(shared: Any, store: MemoryStore) -> None:
    ScanScheduler().look("first", store)
    progress = stored_progress(store)["default"]
    progress.looked_at -= 5000
    keep(store, "default", looks_of(store)[SHARED, "default"], progress)
    store._locked_until.clear()
    assert ScanScheduler().look("second", store)["default"].looked_at <= LIMIT


def test_a_key_at_which_a_look_stopped_does_not_reach_the_store(store: MemoryStore) -> None:
    stopped = ScanState(looked_at=5.0, cursor=f"{AFTER_KEY}session-0a1b")
    keep(store, "default", Snapshot(alias="default", measured_at=5.0, scope="shared"), stopped)
    assert all(b"0a1b" not in row.payload for row in store.read("look", 0, 9, None))
    assert stored_progress(store)["default"] == ScanState(looked_at=5.0)


def test_only_one_process_looks_at_a_time(shared: Any, store: MemoryStore, now: Clock) -> None:
    assert store.lock(LOCK, LOCK_SECONDS, int(now()))
    looker = ScanScheduler()
    assert set(looker.look("second", store)) == {"own"}
    store._locked_until.clear()
    # It is still due, and tried again.
    assert set(looker.look("second", store)) == {"default"}


def test_a_turn_is_kept_beyond_the_end_of_the_lock_and_can_be_lost(
    store: MemoryStore, now: Clock
) -> None:
    turn, another = ScanLock(store), ScanLock(store)
    assert turn.take()
    assert not another.take()
    now.go_on(LOCK_SECONDS + 0.1)
    assert turn.keep()
    assert not another.take()
    now.go_on(LOCK_SECONDS + 1.1)
    assert another.take()
    assert not turn.keep()


def test_a_shared_cache_is_looked_at_once_an_interval_by_all_processes_together(
    shared: Any, store: MemoryStore
) -> None:
    assert set(ScanScheduler().look("first", store)) == {"default", "own"}
    store._locked_until.clear()
    assert set(ScanScheduler().look("second", store)) == {"own"}
    assert {owner for owner, alias in looks_of(store) if alias == "own"} == {"first", "second"}


def test_nothing_is_due_before_the_interval_is_over(shared: Any, store: MemoryStore) -> None:
    looker = ScanScheduler()
    assert looker.look("first", store)
    assert looker.look("first", store) == {}


def test_a_forked_child_looks_at_its_own_memory(shared: Any, store: MemoryStore) -> None:
    looker = ScanScheduler()
    looker.look("parent", store)
    assert set(looker.look("child", store)) == {"own"}


def test_progress_that_cannot_be_read_is_begun_anew(
    shared: Any, store: MemoryStore, now: Clock
) -> None:
    store.put([Row("look", SHARED, "default", 1, 0, b"\x01 nonsense")], int(now()))
    assert 0 < ScanScheduler().look("first", store)["default"].looked_at <= LIMIT


def test_a_cache_that_cannot_be_made_is_told_and_stops_no_other(
    shared: Any, store: MemoryStore, settings: Any
) -> None:
    settings.CACHES = {"broken": {"BACKEND": "no.such.Backend"}, **settings.CACHES}
    found = ScanScheduler().look("first", store)
    assert found["broken"].problem == "InvalidCacheBackendError"
    assert found["default"].entries


def test_a_server_that_is_down_is_told_and_asked_again_later(
    store: MemoryStore, settings: Any
) -> None:
    backend = "django.core.cache.backends.redis.RedisCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": "redis://127.0.0.1:1"}}
    looker = ScanScheduler()
    assert looker.look("first", store)["default"].problem == "ConnectionError: Connection refused"
    assert looker.look("first", store) == {}


def test_what_is_kept_of_a_pass_stays_small(shared: Any, store: MemoryStore) -> None:
    shared.set_many({f"name-of-{'x' * (number % 100)}-{number}-y": "x" for number in range(400)})
    ScanScheduler().look("first", store)
    (row,) = store.read("look", 1, 2, None)
    assert len(row.payload) < 500_000
    assert 0 < decode(row.payload, ScanState).sums.looked_at <= LIMIT


@pytest.mark.parametrize(("others", "renewed"), [(True, {"own"}), (False, set())])
def test_a_process_without_calls_looks_again_only_where_others_work(
    now: Clock, settings: Any, others: bool, renewed: set[str]
) -> None:
    settings.CACHES = {
        "own": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "own"}
    }
    settings.CACHE_MONITOR = {"INSPECT_INTERVAL": 60}
    store, looker = MemoryStore(), ScanScheduler()
    began = now()
    assert set(looker.look("first", store, began)) == {"own"}
    now.go_on(200)
    if others:
        window = encode(Window(int(now()) - 30, 10))
        store.put([Row("window", "second", "own", int(now()) - 30, 10, window)], int(now()))
    assert set(looker.look("first", store, began)) == renewed
