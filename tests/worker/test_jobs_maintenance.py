import pytest

from cache_monitor.conf import get_conf
from cache_monitor.stats.codec import encode
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Row, Store
from cache_monitor.stores.memory import MemoryStore
from cache_monitor.stores.rows import MERGED, MINUTE
from cache_monitor.worker import jobs
from cache_monitor.worker.jobs import INTERVAL, MERGE_INTERVAL, Maintenance

NOW = 1_700_000_000


class _Clock:
    """Both clocks, which tell what they are told."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


def _nothing(store: Store) -> None:
    """Nobody predicts anything."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(jobs, "time", clock)
    return clock


def _put(store: Store, start: int, process: str) -> None:
    window = Window(start, 10, final=True)
    store.put([Row("window", process, "default", start, 10, encode(window))], start)


def test_rows_are_merged_several_times_in_a_minute_and_tidied_up_once(clock: _Clock) -> None:
    store = MemoryStore()
    process = Maintenance(
        get_conf, lambda error: pytest.fail(str(error)), lambda store, now: None, _nothing
    )
    watched: list[float] = []
    merged: list[float] = []
    for _ in range(2 * MINUTE):
        _put(store, int(clock.now) // 10 * 10 - MINUTE, "one")
        process.work(store, lambda _: watched.append(clock.now))
        if not list(store.read("window", 0, NOW * 2, None, of_processes=True)):
            merged.append(clock.now)
        clock.now += 1
    assert watched == [NOW, NOW + INTERVAL]
    assert merged == [NOW + n * MERGE_INTERVAL for n in range(2 * MINUTE // MERGE_INTERVAL)]


def test_one_process_merges_for_all(clock: _Clock) -> None:
    store = MemoryStore()
    processes = [
        Maintenance(
            get_conf, lambda error: pytest.fail(str(error)), lambda store, now: None, _nothing
        )
        for _ in range(3)
    ]
    for process in processes:
        process.work(store, None)
    for process in processes:
        _put(store, NOW - MINUTE, "late")
        process.work(store, None)
    assert {row.process for row in store.read("window", 0, NOW, None)} == {"late"}
    clock.now += MERGE_INTERVAL
    processes[2].work(store, None)
    assert {row.process for row in store.read("window", 0, NOW, None)} == {MERGED}


def test_a_fault_of_ours_in_one_job_keeps_none_of_the_others_from_being_done(
    clock: _Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(jobs, "merge_processes", broken)
    monkeypatch.setattr(jobs, "roll_up", broken)
    store = MemoryStore()
    _put(store, NOW - int(get_conf().retention) - MINUTE, "old")
    _put(store, NOW - MINUTE, "young")
    faults: list[Exception] = []
    watched: list[Store] = []
    Maintenance(get_conf, faults.append, lambda store, now: None, _nothing).work(
        store, watched.append
    )
    assert [str(each) for each in faults] == ["broken", "broken"]
    assert {row.process for row in store.read("window", 0, NOW, None)} == {"young"}
    assert watched == [store]
