"""Few long stretches of many short ones, without losing a count."""

import pytest

from cache_monitor.reports.caches import Series
from cache_monitor.stats.codec import decode, encode
from cache_monitor.stats.details import Details
from cache_monitor.stats.hot_keys import HotKeys
from cache_monitor.stats.sketches import hash_of
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Row
from cache_monitor.stores.memory import MemoryStore
from cache_monitor.stores.rows import (
    DAY,
    HOUR,
    KEYS_KEPT,
    LIVE,
    MERGED,
    MINUTE,
    SETTLED,
    WEEK,
    YOUNG,
    longest,
    settled,
)
from cache_monitor.worker.rollup import merge_processes, roll_up
from tests.stored import read_details

NOW = 20_000 * DAY + 30


def _window(
    start: int,
    process: str = "one",
    calls: int = 1,
    alias: str = "default",
    final: bool = True,
) -> Row:
    window = Window(start, 10, processes={hash_of(process)}, final=final)
    window.operation("get").calls = calls
    return Row("window", process, alias, start, 10, encode(window))


def _details(start: int, process: str = "one", lookups: int = 1) -> Row:
    details = Details(start, MINUTE, HotKeys(10), 10, final=True)
    details.hot_keys.entry("key", "key").count(True, False, lookups)
    details.group("key", "key").count(True, False, lookups)
    return Row("details", process, "default", start, MINUTE, encode(details))


def _windows(store: MemoryStore) -> list[Row]:
    return sorted(store.read("window", 0, NOW + 1, None))


def _calls(store: MemoryStore) -> int:
    return sum(decode(row.payload, Window).calls for row in _windows(store))


def test_rolling_up_may_pause_with_each_row() -> None:
    """Another thread that wants to compute waits until this one pauses."""
    store = MemoryStore()
    rows = [_window(NOW - 2 * DAY + 10 * n, f"process {n % 3}") for n in range(30)]
    store.put(rows, NOW)
    pauses: list[bool] = []
    merge_processes(store, NOW, SETTLED, lambda: pauses.append(store._lock.locked()))
    roll_up(store, NOW, SETTLED, lambda: pauses.append(store._lock.locked()))
    assert _calls(store) == len(rows)
    assert len(pauses) >= 2 * len(rows)
    assert not any(pauses)


def test_young_windows_stay_as_they_are() -> None:
    store = MemoryStore()
    rows = [_window(NOW // 10 * 10 - 10 * n) for n in range(3)]
    store.put(rows, NOW)
    roll_up(store, NOW)
    assert _windows(store) == sorted(rows)


def test_older_windows_become_minutes_of_all_processes() -> None:
    store = MemoryStore()
    minute = NOW // MINUTE * MINUTE - 30 * MINUTE
    for process in ("one", "two"):
        store.put([_window(minute + 10 * n, process) for n in range(12)], NOW)
    roll_up(store, NOW)
    assert [(row.process, row.start, row.seconds) for row in _windows(store)] == [
        (MERGED, minute, MINUTE),
        (MERGED, minute + MINUTE, MINUTE),
    ]
    assert _calls(store) == 24
    window = decode(_windows(store)[0].payload, Window)
    assert window.processes == {hash_of("one"), hash_of("two")}


def test_rolled_up_windows_keep_the_counter_of_evictions() -> None:
    store = MemoryStore()
    minute = NOW // MINUTE * MINUTE - 30 * MINUTE
    for place, counter in enumerate([7, None, 9]):
        seen = Window(minute + 10 * place, 10, final=True, evictions=counter)
        store.put([Row("window", "one", "default", seen.start, 10, encode(seen))], NOW)
    roll_up(store, NOW)
    [row] = _windows(store)
    assert (row.process, decode(row.payload, Window).evictions) == (MERGED, 9)


def test_aliases_are_kept_apart() -> None:
    store = MemoryStore()
    old = NOW - HOUR
    store.put([_window(old), _window(old, alias="other")], NOW)
    roll_up(store, NOW)
    assert [row.alias for row in _windows(store)] == ["default", "other"]


def test_minutes_become_hours_after_a_day() -> None:
    store = MemoryStore()
    hour = NOW // HOUR * HOUR - 30 * HOUR
    store.put([_window(hour + 10 * n) for n in range(360)], NOW)
    roll_up(store, NOW)
    assert [(row.start, row.seconds) for row in _windows(store)] == [(hour, HOUR)]
    assert _calls(store) == 360


def test_rows_that_arrive_late_join_what_was_rolled_up() -> None:
    store = MemoryStore()
    minute = NOW // MINUTE * MINUTE - 30 * MINUTE
    store.put([_window(minute)], NOW)
    roll_up(store, NOW)
    store.put([_window(minute + 10, "late", calls=5)], NOW)
    roll_up(store, NOW)
    assert len(_windows(store)) == 1
    assert _calls(store) == 6


@pytest.mark.parametrize("times", [2, 3])
def test_rolling_up_again_changes_nothing(times: int) -> None:
    store = MemoryStore()
    store.put([_window(NOW - HOUR + 10 * n) for n in range(60)], NOW)
    for _ in range(times):
        roll_up(store, NOW)
    assert _calls(store) == 60


def test_a_row_that_cannot_be_read_does_not_stop_the_others() -> None:
    store = MemoryStore()
    minute = NOW // MINUTE * MINUTE - 30 * MINUTE
    store.put([_window(minute), _window(minute + 10)._replace(payload=b"rubbish")], NOW)
    roll_up(store, NOW)
    assert _calls(store) == 1


def test_the_processes_of_young_details_are_merged() -> None:
    store = MemoryStore()
    minute = NOW // MINUTE * MINUTE - 5 * MINUTE
    store.put([_details(minute, process) for process in ("one", "two")], NOW)
    roll_up(store, NOW)
    store.put([_details(minute, "late")], NOW)
    roll_up(store, NOW)
    [row] = store.read("details", 0, NOW, None)
    assert (row.process, row.start, row.seconds) == (MERGED, minute, MINUTE)
    assert read_details(row.payload).hot_keys.table["key"].lookups == 3


def test_details_become_hours_and_days() -> None:
    store = MemoryStore()
    day = NOW // DAY * DAY - 4 * DAY
    hour = NOW // HOUR * HOUR - 5 * HOUR
    store.put([_details(day + n * HOUR) for n in range(24)], NOW)
    store.put([_details(hour, process) for process in ("one", "two")], NOW)
    roll_up(store, NOW)
    rows = sorted(store.read("details", 0, NOW, None), key=lambda row: row.start)
    assert [(row.start, row.seconds) for row in rows] == [(day, DAY), (hour, HOUR)]
    parts = [read_details(row.payload) for row in rows]
    assert [part.hot_keys.table["key"].lookups for part in parts] == [24, 2]
    assert [part.groups["key"].hits for part in parts] == [24, 2]


def test_processes_are_merged_when_their_rows_have_had_time_to_come() -> None:
    store = MemoryStore()
    minute = NOW // MINUTE * MINUTE - MINUTE
    store.put([_window(minute, process) for process in ("one", "two")], NOW)
    roll_up(store, minute + 10 + SETTLED - 1)
    assert len(_windows(store)) == 2
    roll_up(store, minute + 10 + SETTLED)
    [row] = _windows(store)
    assert (row.process, row.start, row.seconds) == (MERGED, minute, 10)


def test_processes_that_write_seldom_are_waited_for_longer() -> None:
    assert settled(10) == settled(1) == SETTLED
    assert settled(60) >= 2 * 60
    for merge in (merge_processes, roll_up):
        store = MemoryStore()
        minute = NOW // MINUTE * MINUTE - 4 * MINUTE
        store.put([_window(minute), _details(minute)], NOW)
        merge(store, minute + MINUTE + settled(60) - 1, settled(60))
        assert [row.process for row in store.read("details", 0, NOW, None)] == ["one"]
        merge(store, minute + MINUTE + settled(60), settled(60))
        assert [row.process for row in store.read("details", 0, NOW, None)] == [MERGED]
        assert [row.process for row in _windows(store)] == [MERGED]


def test_merging_processes_leaves_the_lengths_to_the_roll_up() -> None:
    store = MemoryStore()
    minute = NOW // MINUTE * MINUTE - YOUNG + MINUTE
    store.put([_window(minute, process) for process in ("one", "two")], NOW)
    store.put([_details(minute, process) for process in ("one", "two")], NOW)
    store.put([_window(minute - LIVE)], NOW)
    merge_processes(store, NOW)
    rows = {(row.process, row.start, row.seconds) for row in _windows(store)}
    assert rows == {("one", minute - LIVE, 10), (MERGED, minute, 10)}
    assert _calls(store) == 3
    [row] = store.read("details", 0, NOW, None)
    assert (row.process, row.start, row.seconds) == (MERGED, minute, MINUTE)
    assert read_details(row.payload).hot_keys.table["key"].lookups == 2


def test_a_process_that_comes_late_joins_those_that_were_merged() -> None:
    store = MemoryStore()
    minute = NOW // MINUTE * MINUTE - MINUTE
    for process in ("one", "two"):
        store.put([_window(minute, process), _details(minute, process)], NOW)
        merge_processes(store, NOW)
    assert _calls(store) == 2
    [row] = store.read("details", 0, NOW, None)
    assert read_details(row.payload).hot_keys.table["key"].lookups == 2


def test_windows_stay_fine_while_somebody_may_look_at_what_he_has_just_done() -> None:
    store = MemoryStore()
    minute = NOW // MINUTE * MINUTE - MINUTE
    store.put([_window(minute + 10 * n) for n in range(6)], NOW)
    roll_up(store, minute + MINUTE + LIVE - 1)
    assert len(_windows(store)) == 6
    roll_up(store, minute + MINUTE + LIVE)
    assert [(row.start, row.seconds) for row in _windows(store)] == [(minute, MINUTE)]


def test_details_of_long_ago_become_weeks() -> None:
    store = MemoryStore()
    week = (NOW // WEEK - 16) * WEEK
    store.put([_details(week + n * DAY) for n in range(7)], NOW)
    roll_up(store, NOW)
    [row] = store.read("details", 0, NOW, None)
    assert (row.start, row.seconds) == (week, WEEK)
    assert read_details(row.payload).hot_keys.table["key"].lookups == 7


def test_merged_details_keep_the_hottest_keys_and_say_what_they_may_lack() -> None:
    store = MemoryStore()
    day = NOW // DAY * DAY - 4 * DAY
    details = Details(day, MINUTE, HotKeys(1000), 10, final=True)
    for n in range(1000):
        details.hot_keys.entry(f"key:{n}", "key:{int}").count(True, False, n + 1)
    store.put([Row("details", "one", "default", day, MINUTE, encode(details))], NOW)
    roll_up(store, NOW)
    [row] = store.read("details", 0, NOW, None)
    keys = read_details(row.payload).hot_keys
    assert len(keys.table) == KEYS_KEPT[DAY]
    assert keys.table["key:999"].lookups == 1000
    assert min(stats.lookups for stats in keys.table.values()) == keys.floor + 1


def test_how_long_a_row_may_be_depends_on_its_age() -> None:
    assert longest("window", 0) == 10
    assert longest("window", 19 * MINUTE) == 10
    assert longest("window", 21 * MINUTE) == MINUTE
    assert longest("window", 100 * DAY) == DAY
    assert longest("details", 0) == MINUTE
    assert longest("details", 3 * HOUR) == HOUR


def test_what_processes_hold_of_their_own_adds_up_however_far_it_is_rolled_up() -> None:
    """Each looks at another time, and with each generation of workers there are other ones."""
    store = MemoryStore()
    first = NOW // HOUR * HOUR - 30 * HOUR
    for generation, size in enumerate([10, 12, 11]):
        for worker in range(4):
            start = first + 600 * generation + 10 * worker
            window = Window(start, 10, final=True, own_memory={10 * generation + worker: size})
            if generation:
                window.own_memory[10 * (generation - 1) + worker] = 0
            store.put([Row("window", str(worker), "default", start, 10, encode(window))], start)
    for now in (first + 1300, first + 3 * HOUR, NOW):
        roll_up(store, now)
        series = Series(first, first + HOUR, now)
        for row in _windows(store):
            series.add(decode(row.payload, Window))
        assert max(point.memory_bytes or 0 for point in series.points()) == 48
    assert [row.seconds for row in _windows(store)] == [HOUR]


def test_a_row_that_its_process_will_write_again_waits() -> None:
    """Half of it, rolled up, would count twice when the whole of it comes."""
    store = MemoryStore()
    minute = NOW // MINUTE * MINUTE - 30 * MINUTE
    store.put([_window(minute, calls=5, final=False)], NOW)
    roll_up(store, NOW)
    store.put([_window(minute, calls=10)], NOW)
    roll_up(store, NOW)
    assert [row.seconds for row in _windows(store)] == [MINUTE]
    assert _calls(store) == 10


def test_a_row_of_a_process_that_has_ended_does_not_wait_for_ever() -> None:
    store = MemoryStore()
    store.put([_window(NOW - 3 * HOUR, final=False)], NOW)
    roll_up(store, NOW)
    assert [row.process for row in _windows(store)] == [MERGED]
