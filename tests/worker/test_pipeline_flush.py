"""What a process brings to its store when the store was out of reach for long."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from typing import Any
from unittest.mock import Mock

import pytest

from cache_monitor.calls import RawCall, Recorded, Recorder, Source
from cache_monitor.concurrency import no_pause
from cache_monitor.keys.naming import name_plain_key
from cache_monitor.stats.codec import decode, encode
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Row
from cache_monitor.stores.memory import MemoryStore
from cache_monitor.stores.rows import ABANDONED_AFTER, HOUR, MERGED, MINUTE
from cache_monitor.worker import batch
from cache_monitor.worker.aggregator import Aggregator
from cache_monitor.worker.pipeline import STEP, Drainer, Flusher, StoreWriter
from cache_monitor.worker.rollup import merge_processes, roll_up
from cache_monitor.worker.trace_writer import Tracer
from tests.stored import read_details

BEGIN = 1_900_000_000 // MINUTE * MINUTE


def _gets(at: float, number: int, alias: str = "default") -> list[RawCall]:
    source = Source(alias, "get")
    return [
        (source, at, 1e-4, f"key:{n}", True, None, None, None, None, None, None, None)
        for n in range(number)
    ]


class Process:
    """A process that is the only one, with a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store: MemoryStore = MemoryStore()
        self.now = float(BEGIN)
        aggregator = Aggregator(
            "process", hot_keys=100, key_groups=100, measure=lambda alias, key, version: None
        )
        self.delivery = Flusher("process", aggregator, Tracer("process", 1, lambda _: None))
        monkeypatch.setattr("cache_monitor.worker.pipeline.time.time", lambda: self.now)

    def work(self, calls: int) -> None:
        self.delivery.aggregator.add(_gets(self.now, calls), 0.0)

    def flush(self, last: bool = False) -> None:
        changes = list(self.delivery.changes(last))
        self.delivery.put(self.store, changes)
        self.delivery.delivered(changes)

    def flush_without_an_answer(self) -> None:
        """The rows reach the store, which the process does not learn."""
        self.delivery.put(self.store, list(self.delivery.changes(last=False)))
        self.delivery.refused()

    def flush_in_vain(self) -> None:
        list(self.delivery.changes(last=False))
        self.delivery.refused()

    def go_on(self, seconds: int) -> None:
        """Work and flush as a process does, and roll up once a minute."""
        for _ in range(seconds // 10):
            self.work(1)
            self.flush()
            self.now += 10
            if self.now % MINUTE < 10:
                roll_up(self.store, int(self.now))

    @property
    def lost(self) -> int:
        return self.delivery.missing(store_works=True)

    @property
    def parts(self) -> int:
        """How many parts wait in memory."""
        return len(list(self.delivery._buckets()))

    @property
    def windows(self) -> list[Row]:
        return [*self.store.read("window", 0, 2**40, None)]

    @property
    def processes(self) -> int:
        """How many processes a report would see."""
        return len({each for row in self.windows for each in decode(row.payload, Window).processes})

    @property
    def stored(self) -> tuple[int, int]:
        """The calls in windows and the lookups in details."""
        details = [*self.store.read("details", 0, 2**40, None)]
        return (
            sum(decode(row.payload, Window).calls for row in self.windows),
            sum(
                group.lookups
                for row in details
                for group in read_details(row.payload).groups.values()
            ),
        )


def test_what_a_thread_counts_while_a_flush_encodes_reaches_the_store_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process, lock, helped = Process(monkeypatch), Lock(), []

    def help_out() -> None:
        with lock:
            for alias in ("default", "other"):
                # Of keys that come again: such hits are counted later.
                calls = 2 * _gets(process.now, 2, alias)
                process.delivery.aggregator.add(calls, 0.0)
                helped.append(len(calls))

    process.work(1)
    writer = StoreWriter(lambda: process.delivery, lock, Mock(side_effect=AssertionError))
    writer.write(process.store, last=False, pace=help_out)
    first, other = (decode(row.payload, Window) for row in process.windows)
    assert first.operations["get"].hits == first.calls >= 1
    assert other.operations["get"].hits == other.calls > first.calls
    writer.write(process.store, last=False, pace=no_pause)
    assert process.stored == (1 + sum(helped), 1 + sum(helped))


def test_a_child_that_is_forked_while_a_flush_encodes_writes_nothing_of_its_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = Process(monkeypatch)
    process.work(1)
    writer = StoreWriter(lambda: process.delivery, Lock(), Mock(side_effect=AssertionError))

    def fork() -> None:
        writer.is_parents = True

    writer.write(process.store, last=False, pace=fork)
    assert process.windows == []


@pytest.mark.parametrize("away", [10 * MINUTE, ABANDONED_AFTER + 10 * MINUTE])
def test_nothing_counts_twice_however_long_the_store_was_out_of_reach(
    away: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(monkeypatch)
    process.work(3)
    process.flush()
    process.work(4)
    process.now += away
    roll_up(process.store, int(process.now))
    process.flush()
    process.now += MINUTE
    process.flush()
    process.now += 10 * MINUTE
    roll_up(process.store, int(process.now))
    calls, lookups = process.stored
    assert calls + process.lost == 7
    assert calls == lookups == (7 if away < ABANDONED_AFTER else 3)


def test_a_part_that_cannot_be_written_keeps_no_other_from_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = Process(monkeypatch)

    def broken(part: Any) -> bytes:
        if isinstance(part, Window):
            return encode(part)
        raise TypeError("unsupported")

    monkeypatch.setattr("cache_monitor.worker.pipeline.encode", broken)
    process.work(3)
    process.flush()
    assert {row.kind for row in process.store.read("window", 0, 2**40, None)} == {"window"}
    assert not list(process.store.read("details", 0, 2**40, None))
    assert [str(each) for each in process.delivery.faults] == ["unsupported"]


def test_calls_after_the_clock_was_set_back_are_where_the_clock_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = Process(monkeypatch)
    process.go_on(HOUR)
    process.now -= HOUR
    process.work(5)
    process.flush()
    rows = process.store.read("window", 0, BEGIN + 10, None)
    [fresh] = [decode(row.payload, Window) for row in rows if row.process != MERGED]
    assert (fresh.start, fresh.calls) == (BEGIN, 5)
    assert process.stored == (HOUR // 10 + 5,) * 2


@pytest.mark.parametrize("back", [5, 30, 10 * MINUTE, HOUR, 3 * HOUR])
def test_an_hour_that_comes_again_is_counted_as_often_as_it_was_there(
    back: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(monkeypatch)
    process.go_on(HOUR)
    process.now -= back
    process.go_on(HOUR)
    process.now -= back
    process.go_on(HOUR)
    process.flush(last=True)
    process.now += 8 * HOUR
    roll_up(process.store, int(process.now))
    assert process.stored == (3 * HOUR // 10,) * 2
    assert process.lost == 0
    assert process.processes == 1
    assert {row.process for row in process.store.read("window", 0, 2**40, None)} == {MERGED}


def test_a_clock_that_goes_to_and_fro_keeps_no_more_parts_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cache_monitor.worker.pipeline.MOST_BUCKETS", 10)
    process = Process(monkeypatch)
    for _ in range(20):
        process.now -= HOUR
        process.work(1)
        process.flush_in_vain()
        assert process.parts <= 10
        process.now += HOUR
        process.work(1)
        process.flush_in_vain()
    process.flush(last=True)
    assert process.parts == 0
    calls, _ = process.stored
    assert calls + process.lost == 40
    # The newest were kept.
    assert calls >= 4


def test_the_delivered_part_of_a_time_that_comes_again_stays_in_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = Process(monkeypatch)
    process.work(3)
    process.flush()
    process.now -= STEP + 1
    process.work(4)
    process.now += STEP + 1
    process.work(5)
    process.flush()
    assert process.stored == (12, 12)


class Hanging(MemoryStore):
    """A store that does not answer until it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.goes_on = Event(), Event()

    def put(self, rows: Sequence[Row], now: int) -> None:
        self.asked.set()
        assert self.goes_on.wait(60)
        super().put(rows, now)


def test_no_more_than_the_limit_waits_for_a_store_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cache_monitor.worker.pipeline.MOST_BUCKETS", 10)
    # It counts as hanging from the beginning.
    monkeypatch.setattr("cache_monitor.worker.pipeline.HANGS_AFTER", 0.0)
    process = Process(monkeypatch)
    process.store = store = Hanging()
    process.work(1)
    with ThreadPoolExecutor(1) as pool:
        flushing = pool.submit(process.flush)
        assert store.asked.wait(60)
        for _ in range(100):
            process.now += MINUTE
            process.work(1)
            # What is under way, what is new, and the limit.
            assert process.parts <= 2 + 2 + 10
        store.goes_on.set()
        flushing.result()
    process.flush(last=True)
    calls, _ = process.stored
    assert calls + process.lost == 101
    # The first, which the store was asked to take, and the newest.
    assert 6 <= calls <= 8
    assert process.parts == 0


@pytest.mark.parametrize("phase", range(10))
def test_a_write_whose_answer_was_lost_counts_once(
    phase: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written again, which must be before another process merges it."""
    process = Process(monkeypatch)
    process.work(100)
    for second in range(3 * MINUTE):
        process.now = BEGIN + second
        if second % 10 == phase:
            # The first write of the whole window, and of the whole details.
            if second // 10 in {1, 2, 6, 7}:
                process.flush_without_an_answer()
            else:
                process.flush()
        merge_processes(process.store, int(process.now))
    assert process.stored == (100, 100)


def test_names_are_remembered_while_somebody_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name from the midst of a burst keeps a megabyte of its memory from the system."""
    naming = Mock(wraps=name_plain_key)
    monkeypatch.setattr("cache_monitor.worker.batch.name_plain_key", naming)
    process = Process(monkeypatch)
    batch.forget_names()
    process.work(1)
    batch.name_and_hash("user:1", "default")
    process.flush()
    process.now += MINUTE / 2
    process.flush()
    naming.reset_mock()
    batch.name_and_hash("user:1", "default")
    assert not naming.called
    process.now += MINUTE
    # The first one is the last of its bucket, which is forgotten when the store has it.
    process.flush()
    batch.name_and_hash("user:1", "default")
    assert naming.called


class _CulledLate(Recorder):
    """Of a cache that evicts, in another thread, while what was recorded before is drained."""

    culls = 0

    def take(self, most: int) -> list[Recorded]:
        calls = super().take(most)
        if self.culls:
            self.note_culled("default", self.culls)
        return calls


def test_what_comes_in_the_midst_of_a_drain_is_drained_and_waits_for_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process, recorder = Process(monkeypatch), _CulledLate()
    drainer = Drainer(recorder, lambda: process.delivery)
    drainer.drain(10)
    assert not drainer.drain(10)
    recorder.culls = 3
    assert not drainer.has_more()
    assert drainer.drain(10)
    [(_, window)] = process.delivery.aggregator.buckets()
    assert isinstance(window, Window)
    assert window.culled == 3
