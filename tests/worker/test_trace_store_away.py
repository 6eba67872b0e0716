"""The trace goes on where its store was away for ten minutes, by a clock of the test's own."""

from collections import Counter
from typing import Any

import pytest

from cache_monitor.calls import Call, Source
from cache_monitor.stores.base import Row, StoreError
from cache_monitor.stores.memory import MemoryStore
from cache_monitor.stores.rows import TraceSettings
from cache_monitor.trace import SECOND, EvictionReading, TraceLimits
from cache_monitor.worker.aggregator import Aggregator
from cache_monitor.worker.batch import deduplicate
from cache_monitor.worker.pipeline import Flusher
from cache_monitor.worker.rollup import merge_processes, roll_trace, roll_up
from cache_monitor.worker.trace_events import CacheIdentity
from cache_monitor.worker.trace_writer import Tracer
from tests.worker.test_rollup_trace import told

START = 1_800_000_000 // 3600 * 3600
CONF = TraceSettings(TraceLimits(), 0.05, 30, 100)
AWAY = range(60, 660)


class Store(MemoryStore):
    """One that may be away."""

    is_away = False

    def replace(self, *given: Any) -> None:
        self._answer()
        super().replace(*given)

    def read(self, *given: Any, **named: Any) -> Any:
        self._answer()
        return super().read(*given, **named)

    def _answer(self) -> None:
        if self.is_away:
            raise StoreError("away")


class Worker:
    """A process; what it does is ``seconds`` after the beginning."""

    def __init__(self, name: str) -> None:
        aggregator = Aggregator(
            name, hot_keys=100, key_groups=100, measure=lambda alias, key, version: None
        )
        facts = CacheIdentity("store", 300, "1")
        self.flusher = Flusher(name, aggregator, Tracer(name, 1, lambda alias: facts))

    def do(self, seconds: int, operation: str, key: str, **named: Any) -> None:
        call: Any = Call(Source("default", operation), START + seconds, 0.001, key, **named)
        self.flusher.tracer.trace(deduplicate([call]), 0.0, {})

    def flush(self, store: Store, seconds: int) -> None:
        reading = EvictionReading((START + seconds) * SECOND, 0, "boot")
        self.flusher.tracer.note_reading("default", reading)
        changes = list(self.flusher.changes(last=False))
        try:
            self.flusher.put(store, changes)
        except StoreError:
            self.flusher.refused()
        else:
            self.flusher.delivered(changes)


PLAYED: list[tuple[int, int, str, str, dict[str, Any]]] = [
    (1, 0, "get", "never", {"outcome": False}),
    (5, 0, "set", "deleted", {"timeout": None}),
    (5, 0, "set", "lost", {"timeout": None}),
    (5, 0, "set", "expired", {"timeout": 60}),
    (7, 1, "get", "deleted", {"outcome": True}),
    (105, 1, "delete", "deleted", {"effect": True}),
    (205, 0, "get", "deleted", {"outcome": False}),
    (305, 1, "get", "expired", {"outcome": False}),
    (405, 0, "get", "new", {"outcome": False}),
    (406, 0, "set", "new", {"timeout": None}),
    (505, 1, "get", "new", {"outcome": True}),
    (705, 1, "get", "lost", {"outcome": False}),
    (706, 0, "get", "deleted", {"outcome": False}),
    (707, 1, "get", "expired", {"outcome": False}),
]
EXPECTED = {"never_set": 2, "deleted": 2, "expired": 2, "lost": 1}


@pytest.mark.parametrize("late", [0, 30, 90])
def test_nothing_counts_twice_and_no_reason_is_wrong(
    late: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two processes finds the store again ``late``, when the other has rolled up."""
    store, workers, left = Store(), [Worker("one"), Worker("two")], list(PLAYED)
    now = START
    monkeypatch.setattr("cache_monitor.worker.pipeline.time.time", lambda: now)
    for seconds in range(0, 1500, 10):
        now = START + seconds
        while left and left[0][0] < seconds:
            at, who, operation, key, named = left.pop(0)
            workers[who].do(at, operation, key, **named)
        for number, worker in enumerate(workers):
            store.is_away = seconds in AWAY or (number == 1 and seconds in _later(late))
            worker.flush(store, seconds)
        store.is_away = seconds in AWAY
        if seconds % 20 == 0 and not store.is_away:
            roll_trace(store, now, CONF)
            merge_processes(store, now, 30)
    now += 3600
    roll_trace(store, now, CONF)
    roll_up(store, now)
    found = told(store)
    assert found.total() == sum(EXPECTED.values())
    assert Counter({name: n for name, n in found.items() if name != "unknown"}) <= Counter(EXPECTED)
    if not late:
        assert found == EXPECTED
    assert not _unmerged(store)


def _later(late: int) -> range:
    return range(AWAY.stop, AWAY.stop + late)


def _unmerged(store: Store) -> list[Row]:
    return [*store.read("trace", 2, 2**40, None, seconds=10)]
