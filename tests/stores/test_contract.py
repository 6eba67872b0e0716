"""What every store does alike."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connections

from cache_monitor.stats.codec import encode
from cache_monitor.stats.details import Details
from cache_monitor.stats.hot_keys import HotKeys
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Row, Store
from cache_monitor.stores.database import DatabaseStore
from cache_monitor.stores.memory import MemoryStore
from cache_monitor.stores.redis import RedisStore
from cache_monitor.stores.rows import DAY, HOUR, WEEK
from cache_monitor.stores.sqlite import SQLiteStore
from cache_monitor.worker.rollup import roll_up
from tests.stores.conftest import wait_until
from tests.workers import on_server

STORES: dict[str, tuple[str | None, Callable[..., Store]]] = {
    "memory": (None, lambda _: MemoryStore()),
    "sqlite": ("tmp_path", lambda folder: SQLiteStore(folder / "statistics.sqlite3")),
    "database": ("db", lambda _: DatabaseStore()),
    "postgresql": ("postgresql", lambda _: DatabaseStore(DATABASE="postgresql")),
    "mariadb": ("mariadb", lambda _: DatabaseStore(DATABASE="mariadb")),
    "redis": ("redis_url", RedisStore),
    "sentinel": ("sentinel_url", RedisStore),
    "cluster": ("cluster_url", RedisStore),
}
"""For each store the fixture that it needs, and what makes it of that fixture's value."""


@pytest.fixture(params=[pytest.param(name, marks=on_server(name)) for name in STORES])
def store(request: pytest.FixtureRequest) -> Store:
    fixture, make = STORES[request.param]
    return make(request.getfixturevalue(fixture) if fixture else None)


def _row(start: int = 100, payload: bytes = b"payload", alias: str = "default") -> Row:
    return Row("window", "process", alias, start, 10, payload)


def _read(store: Store, since: int = 0, until: int = 1000, alias: str | None = None) -> list[Row]:
    return sorted(store.read("window", since, until, alias))


def test_what_was_put_is_read(store: Store) -> None:
    store.put([_row(), _row(110)], now=120)
    assert _read(store) == [_row(), _row(110)]


def test_a_row_replaces_the_one_of_the_same_name(store: Store) -> None:
    store.put([_row()], now=105)
    store.put([_row(payload=b"newer")], now=110)
    assert _read(store) == [_row(payload=b"newer")]


@pytest.mark.parametrize(
    "other",
    [
        Row("window", "other", "default", 100, 10, b"x"),
        Row("window", "process", "other", 100, 10, b"x"),
        Row("window", "process", "default", 100, 60, b"x"),
    ],
    ids=["process", "alias", "length"],
)
def test_a_row_of_another_name_stays(store: Store, other: Row) -> None:
    store.put([_row()], now=105)
    store.put([other], now=105)
    assert len(_read(store)) == 2


def test_kinds_are_kept_apart(store: Store) -> None:
    look = Row("scan", "process", "default", 100, 10, b"scan")
    store.put([_row(), look], now=105)
    assert _read(store) == [_row()]
    assert list(store.read("scan", 0, 1000, None)) == [look]


def test_what_is_known_of_findings_is_kept_beside_the_figures(store: Store) -> None:
    rows = [Row("finding", "5c1f0b8e", "", 0, length, b"known") for length in (0, 1)]
    store.put([_row(), *rows], now=105)
    assert sorted(store.read("finding", 0, 1, None)) == rows
    store.replace(rows[1:], [], now=110)
    assert list(store.read("finding", 0, 1, None)) == rows[:1]
    assert _read(store) == [_row()]


def test_a_range_takes_its_beginning_and_leaves_its_end(store: Store) -> None:
    store.put([_row(start) for start in (90, 100, 110, 120)], now=130)
    assert [row.start for row in _read(store, 100, 120)] == [100, 110]


def test_one_alias_can_be_read_alone(store: Store) -> None:
    store.put([_row(), _row(alias="other")], now=105)
    assert _read(store, alias="other") == [_row(alias="other")]


def test_putting_nothing_is_no_error(store: Store) -> None:
    store.put([], now=1)
    assert _read(store) == []


def test_pruning_removes_what_was_not_written_since(store: Store) -> None:
    store.put([_row(100)], now=105)
    store.put([_row(200)], now=205)
    assert store.prune(before=200) == 1
    assert [row.start for row in _read(store)] == [200]


def test_any_bytes_come_back_as_they_were(store: Store) -> None:
    payload = bytes(range(256)) * 100
    store.put([_row(payload=payload)], now=1)
    assert _read(store)[0].payload == payload


def test_one_length_can_be_read_alone(store: Store) -> None:
    minute = _row()._replace(seconds=60)
    store.put([_row(), minute], now=105)
    assert list(store.read("window", 0, 1000, None, seconds=60)) == [minute]


@pytest.mark.parametrize(("processes", "stretches"), [(150, 1), (1, 150), (12, 12)])
def test_rows_of_many_processes_and_stretches_are_replaced(
    store: Store, processes: int, stretches: int
) -> None:
    rows = [
        _row(10 * start)._replace(process=f"{process:032}")
        for process in range(processes)
        for start in range(stretches)
    ]
    other = _row(5)
    store.put([*rows, other], now=1)
    merged = _row(0)._replace(process="", payload=b"all")
    store.replace(rows, [merged], now=1)
    assert sorted(_read(store, until=2000)) == sorted([merged, other])
    store.replace(rows, [merged._replace(payload=b"again")], now=1)
    assert sorted(_read(store, until=2000)) == sorted([merged, other])


def test_the_rows_of_single_processes_can_be_read_alone(store: Store) -> None:
    merged = _row()._replace(process="")
    store.put([_row(), merged], now=105)
    assert list(store.read("window", 0, 1000, None, of_processes=True)) == [_row()]


@pytest.mark.parametrize("name", ["a:b", "ü", 'a"b', "{a}", "x" * 32, ""])
def test_names_come_back_as_they_were(store: Store, name: str) -> None:
    row = _row(alias=name)._replace(process=name)
    store.put([row], now=105)
    assert _read(store) == [row]
    assert _read(store, alias=name) == [row]


def test_many_rows_are_no_trouble(store: Store) -> None:
    rows = [_row(start) for start in range(1250)]
    store.put(rows, now=1250)
    assert _read(store, until=2000) == rows
    store.replace(rows, [_row(payload=b"all")], now=1250)
    assert _read(store, until=2000) == [_row(payload=b"all")]


def test_rows_are_replaced_by_others(store: Store) -> None:
    minute = _row(60)._replace(seconds=60, process="")
    store.put([_row(100), _row(110), _row(120)], now=130)
    store.replace([_row(100), _row(110)], [minute], now=200)
    assert _read(store) == sorted([minute, _row(120)])


def test_a_row_that_is_removed_and_added_is_written(store: Store) -> None:
    store.put([_row(payload=b"older")], now=105)
    store.replace([_row(payload=b"older")], [_row(payload=b"newer")], now=110)
    assert _read(store) == [_row(payload=b"newer")]


def test_nothing_is_replaced_where_another_process_was_quicker(store: Store) -> None:
    store.put([_row(100), _row(110)], now=120)
    store.replace([_row(100), _row(90)], [_row(payload=b"sum")], now=200)
    assert _read(store) == [_row(100), _row(110)]


def test_what_replaced_others_is_pruned_by_its_own_age(store: Store) -> None:
    store.put([_row(100)], now=105)
    store.replace([_row(100)], [_row(60)], now=300)
    assert store.prune(before=300) == 0
    assert store.prune(before=301) == 1
    assert _read(store) == []


@pytest.mark.parametrize("kept", [36 * DAY, 110 * DAY], ids=["36 days", "110 days"])
def test_no_row_outlives_its_retention_by_being_rolled_up(
    store: Store, settings: Any, kept: int
) -> None:
    # Redis has a clock of its own, by which it would let go of what is older than that.
    settings.CACHE_MONITOR = {"RETENTION": 3660 * DAY}
    first = 20_000 * DAY
    window, details = Window(first, 10, final=True), Details(first, 60, HotKeys(10), 10, final=True)
    store.put([_row(first, encode(window))], now=first)
    store.put([Row("details", "process", "default", first, 60, encode(details))], now=first)
    # A step each time that something is rolled up, and one when the last is as old as it may be.
    for ago in (HOUR, DAY, 2 * DAY, 3 * DAY, 36 * DAY, 37 * DAY, 109 * DAY, 117 * DAY):
        if ago <= kept:
            roll_up(store, first + ago)
            store.prune(first + ago - kept)
            assert len(_read(store, until=first + 1)) == 1
    # By now the whole week is older than that.
    store.prune(first + WEEK)
    assert list(store.read("details", 0, first + 1, None)) == []
    assert _read(store, until=first + 1) == []


def test_a_lock_is_had_by_one(store: Store) -> None:
    assert store.lock("roll-up", 60, now=1000)
    assert not store.lock("roll-up", 60, now=1001)
    assert store.lock("another", 60, now=1001)


def test_a_lock_ends_by_itself(store: Store) -> None:
    assert store.lock("roll-up", 1, now=1000)
    # The times that a caller gives are those of its clock; Redis has its own.
    wait_until(lambda: store.lock("roll-up", 1, now=1001))


def test_a_lock_is_no_row(store: Store) -> None:
    store.lock("roll-up", 60, now=1000)
    assert _read(store, until=2000) == []


@pytest.mark.django_db(transaction=True)
def test_of_many_who_want_a_lock_one_has_it(store: Store) -> None:
    barrier = Barrier(4)

    def take() -> bool:
        try:
            barrier.wait()
            return store.lock("roll-up", 60, now=1000)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        taken = [pool.submit(take) for _ in range(4)]
    assert [each.result() for each in taken].count(True) == 1


@pytest.mark.django_db(transaction=True)
def test_of_many_who_replace_the_same_rows_one_does(store: Store) -> None:
    parts = [_row(start) for start in range(100, 160, 10)]
    store.put(parts, now=200)
    barrier = Barrier(4)

    def replace(number: int) -> None:
        try:
            barrier.wait()
            sums = [_row(60)._replace(seconds=60, process=str(number))]
            store.replace(parts, sums, now=200)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        for each in [pool.submit(replace, number) for number in range(4)]:
            each.result()
    [row] = _read(store)
    assert row.seconds == 60
