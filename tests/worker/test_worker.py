"""The draining thread: it counts what is recorded, and never stands in the site's way."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest
from django.core.cache import CacheHandler, caches
from django.test import override_settings

from cache_monitor import concurrency
from cache_monitor.calls import Call, Recorder, Source
from cache_monitor.concurrency import Pace
from cache_monitor.conf import Conf
from cache_monitor.listeners import Subscriber, subscribers
from cache_monitor.scan.base import Scope
from cache_monitor.scan.snapshot import Snapshot
from cache_monitor.stats.codec import decode
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Row, StoreBusyError, StoreError
from cache_monitor.stores.memory import MemoryStore
from cache_monitor.stores.rows import TraceSettings
from cache_monitor.trace import HIT, MISS, WRITE, TraceLimits
from cache_monitor.trace.codec import decode_slices
from cache_monitor.worker import wiring
from cache_monitor.worker.jobs import Maintenance, Wiring
from cache_monitor.worker.trace_events import CacheIdentity
from cache_monitor.worker.trace_writer import Tracer
from cache_monitor.worker.worker import (
    BATCH,
    BATCH_SECONDS,
    HELP,
    PACED_BATCH,
    BackgroundWorker,
    FlushResult,
)
from tests.anew import begin_anew
from tests.stored import read_details
from tests.waiting import until

GET, SET = Source("default", "get"), Source("default", "set")
FACTS = CacheIdentity("shared", default_timeout=300.0, version="1")
TRACING = TraceSettings(TraceLimits(), 0.05, 30, 100)
BUFFER = 1000


class _Site:
    """A collector with a store and a recorder of its own."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.store = MemoryStore()
        self.refuses: str | None = None
        self.is_busy_for = 0
        self.is_testing = False
        self.ends = 0
        self.seen: dict[str, Snapshot] = {}
        self.conf = Conf(buffer_size=BUFFER, flush_interval=3600.0)
        self.background_worker = BackgroundWorker(
            self.recorder,
            Wiring(
                get_conf=lambda: self.conf,
                open_store=self._open_store,
                measure=lambda *_: None,
                scan=lambda *_: self.seen,
                is_testing=lambda: self.is_testing,
                make_tracer=lambda process: Tracer(process, 1, lambda _: FACTS),
                trace_settings=lambda: TRACING,
                read_evictions=lambda _: None,
                at_end=self._end,
            ),
        )
        self.recorder.attach(self.background_worker.on_pressure)

    def _open_store(self) -> MemoryStore:
        if self.refuses is not None:
            raise StoreError(self.refuses)
        if self.is_busy_for:
            self.is_busy_for -= 1
            raise StoreBusyError("Another process writes.")
        return self.store

    def _end(self) -> None:
        self.ends += 1

    def call(self, source: Source = GET, key: str = "a", **extra: Any) -> None:
        """Make a call as the hot path does."""
        self.recorder.append(Call(source, time.perf_counter(), 0.0, key, **extra))
        if len(self.recorder.buffer) > self.recorder.limit:
            self.recorder.relieve()

    def rows(self, kind: Any = "window") -> list[Row]:
        return list(self.store.read(kind, 0, 2**40, None))

    def calls(self) -> int:
        return sum(decode(row.payload, Window).calls for row in self.rows())


@pytest.fixture
def site() -> Iterator[_Site]:
    made = _Site()
    yield made
    made.background_worker.stop()


def test_the_first_call_starts_the_thread_and_a_flush_brings_it_to_the_store(site: _Site) -> None:
    assert not site.background_worker._is_running
    site.call(outcome=True)
    assert site.background_worker.flush()
    assert site.calls() == 1


def test_a_flush_of_nothing_starts_nothing(site: _Site) -> None:
    assert site.background_worker.flush()
    assert not site.background_worker._is_running


def test_the_end_flushes_and_gives_back_what_the_thread_holds(site: _Site) -> None:
    site.call(outcome=True)
    site.background_worker.stop()
    assert (site.calls(), site.ends) == (1, 1)
    assert not site.background_worker.flush()


def test_at_its_end_a_process_waits_for_others_that_write(site: _Site) -> None:
    site.call(outcome=True)
    site.is_busy_for = 3
    site.background_worker.stop()
    assert (site.calls(), site.is_busy_for) == (1, 0)


def test_what_a_look_has_seen_of_memory_and_evictions_reaches_the_store(site: _Site) -> None:
    """Of a cache that could not be gone through too, whose server still told its counter."""

    def seen(scope: Scope, size: int | None, evictions: int | None) -> Snapshot:
        return Snapshot(alias="", measured_at=0.0, scope=scope, bytes=size, evictions=evictions)

    site.conf = Conf(buffer_size=BUFFER, flush_interval=0.0)
    site.seen = {
        "default": seen("shared", 500, 7),
        "closed": seen("shared", None, 0),
        "own": seen("per process", 300, 7),
        "silent": seen("shared", 200, None),
    }
    site.call()
    assert site.background_worker.flush()
    # What is seen beside the counting is in the next turns.
    until(lambda: site.background_worker.flush() and len(site.rows()) == len(site.seen))
    windows = {row.alias: decode(row.payload, Window) for row in site.rows()}
    assert {
        alias: (window.memory_bytes, window.evictions) for alias, window in windows.items()
    } == {"default": (500, 7), "closed": (None, 0), "own": (None, None), "silent": (200, None)}
    assert {alias: [*window.own_memory.values()] for alias, window in windows.items()} == {
        "default": [],
        "closed": [],
        "own": [300],
        "silent": [],
    }


def test_what_a_store_refuses_waits_for_it(site: _Site, caplog: pytest.LogCaptureFixture) -> None:
    site.refuses = "It is down."
    site.call(outcome=True)
    assert not site.background_worker.flush()
    assert not site.background_worker.flush()
    problem = site.background_worker.problem
    assert problem == "It is down."
    assert site.background_worker.request_flush() == FlushResult(False, "It is down.", 1)
    site.refuses = None
    assert site.background_worker.flush()
    assert site.background_worker.problem is None
    assert site.calls() == 1
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_forked_child_begins_anew(site: _Site) -> None:
    site.call(outcome=True)
    process = site.background_worker.process
    site.background_worker.stop()
    site.background_worker.after_fork()
    assert site.background_worker.process != process
    site.call(outcome=True)
    assert site.background_worker.flush()
    assert sorted({row.process for row in site.rows()}) == sorted(
        {process, site.background_worker.process}
    )


def test_a_thread_that_survives_a_fork_ends_and_counts_nothing(site: _Site) -> None:
    """As gevent's do, whose threads are greenlets."""
    site.call(outcome=True)
    assert site.background_worker.flush()
    over = site.background_worker._over
    site.background_worker.after_fork()
    over.get()
    assert not site.background_worker._is_running
    site.call(outcome=True)
    assert site.background_worker._is_running
    assert site.background_worker.flush()
    assert site.calls() == 2


def test_a_full_buffer_wakes_the_thread_once_and_not_with_every_call(
    site: _Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.call(outcome=True)
    site.background_worker.flush()
    asked = []
    with site.background_worker._draining:
        monkeypatch.setattr(
            site.background_worker, "_wake_up", lambda: asked.append(len(site.recorder.buffer))
        )
        for _ in range(BUFFER // 2 + 100):
            site.call(outcome=True)
        assert asked == [BUFFER // 2 + 1]
        assert site.recorder.limit == BUFFER
    monkeypatch.undo()
    assert site.background_worker.flush()
    assert site.recorder.limit == BUFFER // 2


class _Pauses:
    """What the worker has left to count where it may pause, and what comes up then."""

    def __init__(self, site: _Site, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: list[int] = []
        self.then: Callable[[], None] = lambda: None
        pauses = self

        class Counted(Pace):
            def __call__(self) -> None:
                assert not site.background_worker._draining.locked()
                assert not self._is_urgent()
                pauses.left.append(len(site.recorder.buffer))
                pauses.then()

        monkeypatch.setattr(concurrency, "Pace", Counted)
        # Each batch takes what one may.
        clock = itertools.count(0.0, BATCH_SECONDS)
        monkeypatch.setattr("cache_monitor.worker.worker.thread_time", lambda: next(clock))
        site.conf = Conf(buffer_size=20_000, flush_interval=3600.0)
        for _ in range(4 * PACED_BATCH):
            site.recorder.append(Call(GET, time.perf_counter(), 0.0, "a", True))


def test_calls_are_counted_in_small_batches_with_pauses_and_without_a_lock(
    site: _Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread that wants to compute waits until this one pauses."""
    pauses = _Pauses(site, monkeypatch)
    site.background_worker.drain()
    assert pauses.left == [3 * PACED_BATCH, 2 * PACED_BATCH, PACED_BATCH]
    assert not site.recorder.buffer


def test_a_batch_is_as_long_as_the_cost_of_the_last_one_lets_it_be(
    site: _Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More calls are more alike, so long as none waits for them longer than it should."""
    pauses = _Pauses(site, monkeypatch)
    microseconds = [0.1]
    spent = [0.0]
    drain = site.background_worker._drainer.drain

    def counted(most: int) -> bool:
        spent[0] += microseconds[0] * most / 1e6
        return drain(most)

    monkeypatch.setattr(site.background_worker._drainer, "drain", counted)
    monkeypatch.setattr("cache_monitor.worker.worker.thread_time", lambda: spent[0])
    sizes = []
    for cost in (0.1, 1.0, 1000.0):
        microseconds[0] = cost
        pauses.left.clear()
        site.recorder.buffer.extend([Call(GET, time.perf_counter(), 0.0, "a", True)] * 60_000)
        site.conf = Conf(buffer_size=1_000_000, flush_interval=3600.0)
        began = len(site.recorder.buffer)
        site.background_worker.drain()
        left = [began, *pauses.left]
        sizes.append([one - other for one, other in itertools.pairwise(left)])
    cheap, dear, dearest = sizes
    assert cheap[:5] == [500, 1000, 2000, 4000, 8000]
    assert set(cheap[5:]) == {BATCH}
    assert dear[:1] == [BATCH]
    assert set(dear[1:]) == {4000}
    assert dearest[:1] == [4000]
    assert set(dearest[1:]) == {PACED_BATCH}


def test_nobody_waits_for_pauses(site: _Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a report, nor the end of the process, nor calls that would find no room."""
    worker = site.background_worker

    def ask() -> None:
        worker._asked.append(SimpleQueue())

    pauses = _Pauses(site, monkeypatch)
    ask()
    worker._turn()
    assert not pauses.left
    pauses = _Pauses(site, monkeypatch)
    pauses.then = ask
    worker._turn()
    # A report that is asked for in the first pause.
    assert pauses.left == [3 * PACED_BATCH]
    worker._asked.clear()
    pauses = _Pauses(site, monkeypatch)
    site.conf = Conf(buffer_size=2 * PACED_BATCH, flush_interval=3600.0)
    worker._turn()
    assert not pauses.left
    pauses = _Pauses(site, monkeypatch)
    worker._turn(last=True)
    assert not pauses.left
    assert not worker.jobs._pace()._is_urgent()
    worker.stop()
    assert worker.jobs._pace()._is_urgent()


def test_where_the_thread_falls_behind_the_site_helps(
    site: _Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.call(outcome=True)
    site.background_worker.flush()
    monkeypatch.setattr(site.background_worker, "_turn", lambda last=False: None)
    for _ in range(BUFFER * 3):
        site.call(outcome=True)
    assert len(site.recorder.buffer) <= BUFFER
    monkeypatch.undo()
    assert site.background_worker.flush()
    assert site.calls() == BUFFER * 3 + 1


def test_between_batches_the_site_can_help_while_the_buffer_is_too_long(
    site: _Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.call(outcome=True)
    site.background_worker.flush()
    lengths: list[int] = []

    def call() -> None:
        lengths.append(len(site.recorder.buffer))
        site.call(outcome=True)
        lengths.append(len(site.recorder.buffer))

    with monkeypatch.context() as context:
        context.setattr(site.background_worker, "_turn", lambda last=False: None)
        context.setattr(site.background_worker, "_let_site_help", call)
        context.setattr("cache_monitor.worker.worker.BATCH", HELP)
        waiting = [Call(GET, time.perf_counter(), 0.0, "a", True)] * (BUFFER + 4 * HELP)
        site.recorder.buffer.extend(waiting)
        site.background_worker.drain()
    # Two batches, after each of which a call counts as much again; a third one needs no help.
    assert [length - BUFFER for length in lengths] == [3 * HELP, 2 * HELP + 1, HELP + 1, 2]
    assert site.background_worker.flush()
    assert site.calls() == len(waiting) + 3


def test_what_nobody_can_count_is_dropped_and_counted(site: _Site) -> None:
    site.call(outcome=True)
    site.background_worker.flush()
    with site.background_worker._draining:
        for _ in range(BUFFER * 4):
            site.call(outcome=True)
            assert len(site.recorder.buffer) <= 2 * BUFFER + 1
    assert site.background_worker.flush()
    windows = [decode(row.payload, Window) for row in site.rows()]
    dropped = sum(window.dropped for window in windows)
    assert dropped >= 2 * BUFFER - HELP
    assert sum(window.calls for window in windows) == BUFFER * 4 + 1


def test_under_djangos_test_runner_nothing_is_flushed_unasked(site: _Site) -> None:
    site.is_testing = True
    site.conf = Conf(buffer_size=BUFFER, flush_interval=0.1)
    site.call(outcome=True)
    site.background_worker.stop()
    assert site.calls() == 0


def test_a_fault_in_the_thread_does_not_end_it(
    site: _Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as context:
        context.setattr(site.background_worker, "drain", _fail)
        site.call(outcome=True)
        until(lambda: bool(caplog.records))
    assert site.background_worker.flush()
    assert site.calls() == 1


# pytest warns of what Python itself passes over.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_ends_the_thread_from_outside_is_made_good_by_the_next_call(
    site: _Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: SimpleQueue[threading.Thread] = SimpleQueue()

    def leave() -> None:
        left.put(threading.current_thread())
        raise SystemExit  # as a timeout of gevent's or eventlet's, no Exception

    with monkeypatch.context() as patch:
        patch.setattr(site.background_worker, "drain", leave)
        site.call(outcome=True)
        left.get(timeout=60).join(60)
    site.call(outcome=True)
    assert site.background_worker._is_running
    assert site.background_worker.flush()
    assert site.calls() == 2


def _fail(*_: object, **__: object) -> None:
    raise ZeroDivisionError


# What it makes of the calls beside counting them


def _group(site: _Site, name: str = "a") -> Any:
    assert site.background_worker.flush()
    [row] = site.rows("details")
    return read_details(row.payload).groups[name]


def test_a_value_is_seen_being_produced_over_several_batches(site: _Site) -> None:
    site.call(outcome=False, context=7)
    assert site.background_worker.flush()
    site.call(SET, context=7)
    site.call(SET, context=7)
    group = _group(site)
    assert group.produced == 1
    assert group.produce_seconds > 0


def test_a_request_does_not_produce_what_the_one_before_missed(site: _Site) -> None:
    from threading import get_ident

    site.call(outcome=False, context=get_ident())
    site.background_worker.notice_fork()
    site.call(SET, context=get_ident())
    site.call(outcome=False, key="b", context=get_ident())
    site.call(SET, key="b", context=get_ident())
    assert _group(site, "a").produced == 0
    assert _group(site, "b").produced == 1


def test_calls_are_traced_beside_the_counting(site: _Site) -> None:
    site.call(SET, timeout=300)
    site.call(outcome=True)
    site.call(key="b", outcome=False)
    assert site.background_worker.flush()
    [row] = site.rows("trace")
    [part] = decode_slices(row.payload)
    kinds = [event.call.kind for event in part.decode_events(part.decode_keys(), frozenset())]
    assert sorted(kinds) == sorted([WRITE, HIT, MISS])
    assert (row.alias, part.ended) == ("shared", False)
    site.background_worker.stop()
    [row] = site.rows("trace")
    [part] = decode_slices(row.payload)
    assert (part.final, part.ended) == (True, True)


def test_a_child_that_python_was_not_told_of_passes_on_no_calls_of_its_parents(
    site: _Site,
) -> None:
    subscriber = _Subscriber()
    subscribers.add(subscriber)
    try:
        subscribers.add_calls([Call(GET, 1.0, 0.1, "a", True)], 0.0)
        site.background_worker.after_fork()
        subscribers.notify()
    finally:
        subscribers.remove(subscriber)
    assert subscriber.calls == []


class _Subscriber(Subscriber):
    """Keeps the calls."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def on_calls(self, calls: Any, clock_offset: float) -> None:
        self.calls += calls


# What may go wrong around it


def test_a_look_that_never_returns_keeps_nothing_from_the_store(site: _Site) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hang(*_: object) -> dict[str, Snapshot]:
        begun.set()
        go_on.wait(60)
        return {}

    site.background_worker.jobs._wiring = site.background_worker._wiring._replace(scan=hang)
    site.conf = Conf(buffer_size=BUFFER, flush_interval=0.0)
    site.call()
    assert site.background_worker.flush()
    assert begun.wait(60)
    for made in range(2, 5):
        site.call()
        assert site.background_worker.flush()
        assert site.calls() == made
    assert site.background_worker.request_flush() == FlushResult(True, None, 0)
    go_on.set()


def test_what_is_done_beside_says_nothing_of_a_store_that_is_gone_with_the_process(
    site: _Site, caplog: pytest.LogCaptureFixture
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def lose(*_: object) -> dict[str, Snapshot]:
        begun.set()
        go_on.wait(60)
        raise StoreError("There is no such file.")

    site.background_worker.jobs._wiring = site.background_worker._wiring._replace(scan=lose)
    site.conf = Conf(buffer_size=BUFFER, flush_interval=0.0)
    site.call()
    assert site.background_worker.flush()
    assert begun.wait(60)
    site.background_worker.stop()
    go_on.set()
    until(lambda: not site.background_worker.jobs.is_busy)
    assert caplog.messages == []


def test_a_flush_that_fails_comes_back_at_once(
    site: _Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.call()
    assert site.background_worker.flush()
    asked: list[float] = []
    monkeypatch.setattr(site.background_worker, "drain", _fail)
    site.call()
    # Longer than any test may take: it does not wait that long.
    asked.append(site.background_worker.flush(patience=3600))
    assert asked == [False]


def test_a_report_does_not_wait_for_a_thread_that_hangs(
    site: _Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.call()
    assert site.background_worker.flush()
    site.call()
    with site.background_worker._draining:
        result = site.background_worker.request_flush(patience=0.01)
    assert (result.is_flushed, result.missing) == (False, 0)
    assert "within 0.01 seconds" in (result.problem or "")


def test_where_the_store_has_all_nobody_is_asked_and_nothing_written(
    site: _Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.call()
    assert site.background_worker.flush()
    with monkeypatch.context() as context:
        context.setattr(site.background_worker, "_wake_up", _fail)
        context.setattr(site.store, "put", _fail)
        assert site.background_worker.request_flush() == FlushResult(True, None, 0)
    site.call()
    assert site.background_worker.request_flush() == FlushResult(True, None, 0)
    assert site.calls() == 2


def test_what_is_counted_while_the_store_writes_is_flushed_next(
    site: _Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a thread of the site's helps to count."""
    put = site.store.put

    def busy(rows: Any, now: int) -> None:
        monkeypatch.undo()
        site.call()
        site.background_worker.drain()
        put(rows, now)

    monkeypatch.setattr(site.store, "put", busy)
    site.call()
    assert site.background_worker.flush()
    assert site.calls() == 1
    assert site.background_worker.flush()
    assert site.calls() == 2


def test_reports_do_not_put_off_what_is_done_with_the_flush_that_is_due(site: _Site) -> None:
    site.call()
    due = site.background_worker._next_flush
    assert site.background_worker.request_flush().is_flushed
    assert site.background_worker._next_flush == due


def test_a_report_asked_for_where_no_thread_can_be_had_does_not_wait(
    site: _Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("cache_monitor.concurrency._thread.start_new_thread", refuse)
    site.call()
    # Longer than any test may take.
    assert not site.background_worker.request_flush(patience=3600).is_flushed


def test_a_thread_that_cannot_begin_is_tried_again(
    site: _Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as context:
        context.setattr("cache_monitor.concurrency._thread.start_new_thread", refuse)
        site.call()
        assert site.recorder.limit == 0
    assert "can't start new thread" in caplog.text
    site.call()
    assert site.background_worker.flush()
    assert site.calls() == 2


def test_a_program_that_ends_has_a_thread_if_it_has_begun_to_begin(
    site: _Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """From Python 3.12 on no thread begins where the interpreter shuts down."""

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr("cache_monitor.concurrency.Thread", refuse)
    site.call()
    site.background_worker.stop()
    assert site.calls() == 1
    site.background_worker.after_fork()
    monkeypatch.setattr("cache_monitor.concurrency._thread.start_new_thread", refuse)
    site.call()
    site.background_worker.stop()
    assert not site.background_worker._is_running
    assert not caplog.records


def test_who_made_no_calls_since_writes_nothing(
    site: _Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.conf = Conf(buffer_size=BUFFER, flush_interval=0.0)
    site.call()
    assert site.background_worker.flush()
    until(lambda: not site.background_worker.jobs.is_busy)
    site.background_worker._drainer.active_at -= 3600
    site.background_worker.jobs._maintenance = Maintenance(
        lambda: site.conf,
        site.recorder.failed,
        site.background_worker.jobs.roll_trace,
        site.background_worker.jobs._predict,
    )
    asked: list[str] = []

    def refuse(*_: object) -> bool:
        asked.append("lock")
        return False

    monkeypatch.setattr(site.store, "lock", refuse)
    monkeypatch.setattr(site.store, "put", lambda rows, now: asked.append("put"))
    for _ in range(3):
        assert site.background_worker.flush()
        until(lambda: not site.background_worker.jobs.is_busy)
    assert asked == []


def test_the_monitors_threads_never_ask_for_caches_under_djangos_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A signal's handler may have left it held by the thread that it interrupted."""
    asked: list[str] = []
    original = CacheHandler.__getitem__

    def getitem(self: CacheHandler, alias: str) -> Any:
        asked.append(threading.current_thread().name)
        return original(self, alias)

    monkeypatch.setattr(CacheHandler, "__getitem__", getitem)
    with override_settings(
        CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
        CACHE_MONITOR={"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}},
    ):
        begin_anew()
        cache = caches["default"]
        cache.set("a", 1)
        cache.get("a")
        cache.get("b")
        assert wiring.background_worker.flush()
        monkeypatch.setattr(wiring.background_worker, "_next_flush", 0.0)
        assert wiring.background_worker.flush()
        until(
            lambda: (
                wiring.background_worker.jobs.has_found()
                or not wiring.background_worker.jobs._scans.is_busy
            )
        )
        begin_anew()
    assert set(asked) == {threading.current_thread().name}
