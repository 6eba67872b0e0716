"""Background scans: bounded, continued, one at a time over all processes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from django.core.cache import caches
from msgspec.structs import replace
from redis import Redis

from cache_monitor.concurrency import Pace
from cache_monitor.conf import backend_path
from cache_monitor.scan import schedule
from cache_monitor.scan.database import AFTER_KEY
from cache_monitor.scan.schedule import (
    LOCK,
    LOCK_SECONDS,
    SHARED,
    ScanLock,
    ScanScheduler,
    ScanState,
    store_scan,
    stored_states,
)
from cache_monitor.scan.snapshot import Snapshot
from cache_monitor.stats.codec import decode, encode
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Row
from cache_monitor.stores.memory import MemoryStore
from tests.clocks import Clock, unix_clock
from tests.services import Server

# A scan gives the database's connections back, of which an earlier test may have opened some.
pytestmark = pytest.mark.django_db

ENTRIES = 1300
LIMIT = 500


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of the looks, which stands still: a lock would end by itself on a slow machine."""
    return unix_clock(monkeypatch)


@pytest.fixture
def shared(redis_server: Server, settings: Any) -> Iterator[Any]:
    """A cache that processes share, of more entries than a scan may examine, beside one that each
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


def snapshots_of(store: MemoryStore) -> dict[tuple[str, str], Snapshot]:
    """What reports read: the owner and the alias of each snapshot; each names its backend."""
    found = {
        (row.process, row.alias): decode(row.payload, Snapshot)
        for row in store.read("scan", 0, 1, None)
    }
    assert all(each.backend == backend_path(alias) for (_, alias), each in found.items())
    return {name: replace(each, backend="") for name, each in found.items()}


def release(store: MemoryStore) -> None:
    """Let the lock's time be over, and the caches be due."""
    store._locked_until.clear()
    for alias, state in stored_states(store).items():
        state.scanned_at -= 61
        store_scan(store, alias, snapshots_of(store)[SHARED, alias], state)


def test_a_large_cache_is_scanned_in_several_parts_by_different_processes(
    shared: Any, store: MemoryStore
) -> None:
    found: list[Snapshot] = []
    while not found or not found[-1].exact:
        found.append(ScanScheduler().scan_due(f"process {len(found)}", store)["default"])
        release(store)
    examined = [0, *(each.examined for each in found)]
    assert all(0 <= after - before <= LIMIT for before, after in pairwise(examined))
    assert examined[-1] == ENTRIES
    assert found[0].entries == pytest.approx(ENTRIES, rel=0.25)
    assert found[-1].entries == ENTRIES
    assert snapshots_of(store)[SHARED, "default"] == found[-1]


def test_a_whole_pass_is_reported_while_the_next_one_is_under_way(
    shared: Any, store: MemoryStore
) -> None:
    number, exact = 0, False
    while not exact:
        exact = ScanScheduler().scan_due(f"process {number}", store)["default"].exact
        release(store)
        number += 1
    shared.set("late", "x")
    after = ScanScheduler().scan_due("another", store)["default"]
    assert (after.entries, after.exact) == (ENTRIES, True)
    state = stored_states(store)["default"]
    assert 0 < state.sums.examined <= LIMIT


def test_a_cache_that_moved_is_not_taken_for_what_it_was(
    shared: Any, store: MemoryStore, redis_server: Server, settings: Any
) -> None:
    """Neither the whole pass through the old one counts, nor what was scanned of it since."""
    exact = False
    while not exact:
        exact = ScanScheduler().scan_due("first", store)["default"].exact
        release(store)
    ScanScheduler().scan_due("second", store)
    release(store)
    moved = {**settings.CACHES["default"], "LOCATION": f"{redis_server.url}/4"}
    settings.CACHES = {**settings.CACHES, "default": moved}
    caches["default"].clear()
    caches["default"].set_many({"new:1": 1, "new:2": 2}, 900)
    found = ScanScheduler().scan_due("third", store)["default"]
    assert (found.examined, found.entries, found.exact) == (2, 2, True)
    caches["default"].clear()
    caches["default"].close()


def test_a_pass_that_was_left_long_ago_begins_anew(shared: Any, store: MemoryStore) -> None:
    ScanScheduler().scan_due("first", store)
    state = stored_states(store)["default"]
    state.scanned_at -= 5000
    store_scan(store, "default", snapshots_of(store)[SHARED, "default"], state)
    store._locked_until.clear()
    assert ScanScheduler().scan_due("second", store)["default"].examined <= LIMIT


def test_a_key_at_which_a_scan_stopped_does_not_reach_the_store(store: MemoryStore) -> None:
    stopped = ScanState(scanned_at=5.0, cursor=f"{AFTER_KEY}session-0a1b")
    store_scan(
        store, "default", Snapshot(alias="default", measured_at=5.0, scope="shared"), stopped
    )
    assert all(b"0a1b" not in row.payload for row in store.read("scan", 0, 9, None))
    assert stored_states(store)["default"] == ScanState(scanned_at=5.0)


def test_only_one_process_scans_at_a_time(shared: Any, store: MemoryStore, now: Clock) -> None:
    assert store.lock(LOCK, LOCK_SECONDS, int(now()))
    scheduler = ScanScheduler()
    assert set(scheduler.scan_due("second", store)) == {"own"}
    store._locked_until.clear()
    # It is still due, and tried again.
    assert set(scheduler.scan_due("second", store)) == {"default"}


def test_a_lock_is_renewed_beyond_its_end_and_can_be_lost(store: MemoryStore, now: Clock) -> None:
    lock, another = ScanLock(store), ScanLock(store)
    assert lock.try_lock()
    assert not another.try_lock()
    now.go_on(LOCK_SECONDS + 0.1)
    assert lock.renew()
    assert not another.try_lock()
    now.go_on(LOCK_SECONDS + 1.1)
    assert another.try_lock()
    assert not lock.renew()


def test_a_shared_cache_is_scanned_once_an_interval_by_all_processes_together(
    shared: Any, store: MemoryStore
) -> None:
    assert set(ScanScheduler().scan_due("first", store)) == {"default", "own"}
    store._locked_until.clear()
    assert set(ScanScheduler().scan_due("second", store)) == {"own"}
    assert {owner for owner, alias in snapshots_of(store) if alias == "own"} == {"first", "second"}


def test_nothing_is_due_before_the_interval_is_over(shared: Any, store: MemoryStore) -> None:
    scheduler = ScanScheduler()
    assert scheduler.scan_due("first", store)
    assert scheduler.scan_due("first", store) == {}


def test_a_forked_child_scans_its_own_memory(shared: Any, store: MemoryStore) -> None:
    scheduler = ScanScheduler()
    scheduler.scan_due("parent", store)
    assert set(scheduler.scan_due("child", store)) == {"own"}


def test_progress_that_cannot_be_read_is_begun_anew(
    shared: Any, store: MemoryStore, now: Clock
) -> None:
    store.put([Row("scan", SHARED, "default", 1, 0, b"\x01 nonsense")], int(now()))
    assert 0 < ScanScheduler().scan_due("first", store)["default"].examined <= LIMIT


def test_a_cache_that_cannot_be_made_is_told_and_stops_no_other(
    shared: Any, store: MemoryStore, settings: Any
) -> None:
    settings.CACHES = {"broken": {"BACKEND": "no.such.Backend"}, **settings.CACHES}
    found = ScanScheduler().scan_due("first", store)
    assert found["broken"].problem == "InvalidCacheBackendError"
    assert found["default"].entries


def test_a_server_that_is_down_is_told_and_asked_again_later(
    store: MemoryStore, settings: Any
) -> None:
    backend = "django.core.cache.backends.redis.RedisCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": "redis://127.0.0.1:1"}}
    scheduler = ScanScheduler()
    assert (
        scheduler.scan_due("first", store)["default"].problem
        == "ConnectionError: Connection refused"
    )
    assert scheduler.scan_due("first", store) == {}


def test_what_is_kept_of_a_pass_stays_small(shared: Any, store: MemoryStore) -> None:
    shared.set_many({f"name-of-{'x' * (number % 100)}-{number}-y": "x" for number in range(400)})
    ScanScheduler().scan_due("first", store)
    (row,) = store.read("scan", 1, 2, None)
    assert len(row.payload) < 500_000
    assert 0 < decode(row.payload, ScanState).sums.examined <= LIMIT


@pytest.mark.parametrize(("others", "renewed"), [(True, {"own"}), (False, set())])
def test_a_process_without_calls_scans_again_only_where_others_work(
    now: Clock, settings: Any, others: bool, renewed: set[str]
) -> None:
    settings.CACHES = {
        "own": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "own"}
    }
    settings.CACHE_MONITOR = {"INSPECT_INTERVAL": 60}
    store, scheduler = MemoryStore(), ScanScheduler()
    began = now()
    assert set(scheduler.scan_due("first", store, began)) == {"own"}
    now.go_on(200)
    if others:
        window = encode(Window(int(now()) - 30, 10))
        store.put([Row("window", "second", "own", int(now()) - 30, 10, window)], int(now()))
    assert set(scheduler.scan_due("first", store, began)) == renewed


def test_caches_are_scanned_on_after_the_clock_was_set_back(
    shared: Any, store: MemoryStore, now: Clock
) -> None:
    scheduler = ScanScheduler()
    assert set(scheduler.scan_due("first", store, now())) == {"default", "own"}
    now.go_on(-3600)
    assert set(scheduler.scan_due("first", store, now())) == {"default", "own"}
    found = snapshots_of(store)
    assert max(each.measured_at for each in found.values()) <= now()


def test_the_entries_of_two_aliases_are_scanned_once(
    shared: Any, store: MemoryStore, settings: Any, redis_server: Server
) -> None:
    default = settings.CACHES["default"]
    settings.CACHES = {
        "default": default,
        "same": {**default},
        "versioned": {**default, "VERSION": 2},
    }
    settings.CACHE_MONITOR = {"SCAN_LIMIT": 2 * ENTRIES, "INSPECT_INTERVAL": 60}
    with Redis.from_url(redis_server.url) as client:
        client.config_resetstat()
        found = ScanScheduler().scan_due("p", store)
        asked = client.info("commandstats")["cmdstat_memory|usage"]["calls"]
    assert {alias: each.entries for alias, each in found.items()} == {
        "default": ENTRIES,
        "same": ENTRIES,
        "versioned": 0,
    }
    # One key is asked for first, to find out what is refused.
    assert asked == ENTRIES + 1
    assert {each.alias for each in found.values()} == set(settings.CACHES)
    kept = snapshots_of(store)
    assert {alias: kept[SHARED, alias] for alias in found} == found
    states = stored_states(store)
    assert {alias: each.whole.alias for alias, each in states.items() if each.whole} == {
        alias: alias for alias in found
    }


def test_a_background_scan_pauses_for_the_threads_of_the_site(
    shared: Any, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread that wants to compute waits until this one pauses."""
    paces: list[Pace] = []

    class Counted(Pace):
        calls = 0

        def __init__(self) -> None:
            super().__init__()
            assert self._pauses >= 1
            paces.append(self)

        def __call__(self) -> None:
            Counted.calls += 1
            super().__call__()

    monkeypatch.setattr(schedule, "Pace", Counted)
    found = ScanScheduler().scan_due("first", store)
    assert len(paces) == len(found) == 2
    assert Counted.calls >= found["default"].examined / 100
