"""Jobs beside the draining thread: scans, maintenance of the store, predictions.

Each has a thread of its own: what hangs there keeps nothing from being counted and flushed.
"""

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import NamedTuple

from cache_monitor import concurrency, context
from cache_monitor.calls import Recorder
from cache_monitor.concurrency import Pace, no_pause
from cache_monitor.conf import Conf
from cache_monitor.keys.grouping import learned
from cache_monitor.listeners import subscribers
from cache_monitor.scan.backends import eviction_reading
from cache_monitor.scan.recorded import Reporter
from cache_monitor.scan.snapshot import Snapshot
from cache_monitor.stores import rows
from cache_monitor.stores.base import Store, StoreError
from cache_monitor.stores.rows import TraceSettings, settled
from cache_monitor.trace import EvictionReading
from cache_monitor.worker import rollup
from cache_monitor.worker.counting import Measure
from cache_monitor.worker.pipeline import Drainer, Flusher, StoreWriter
from cache_monitor.worker.rollup import merge_processes, roll_up
from cache_monitor.worker.trace_writer import Tracer

Job = Callable[[], None]


class BackgroundJob:
    """Does one job at a time in a thread, which starts with the first one.

    ``failed`` is called with exceptions; ``at_end`` when the thread ends, to close what it opened.
    """

    def __init__(
        self, name: str, failed: Callable[[Exception], None], at_end: Callable[[], None]
    ) -> None:
        self._name = f"{concurrency.THREAD_NAME}-{name}"
        self._failed = failed
        self._at_end = at_end
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._is_running = False
        self._has_ended = False
        self.is_busy = False

    def do(self, job: Job) -> bool:
        """Start ``job``; returns False if another one is running, after :meth:`end`, or if no
        thread can be started. Only for the draining thread."""
        if self.is_busy or self._has_ended:
            return False
        self.is_busy = True
        if not self._is_running:
            # Of the kind that threads wait for by now: see ``concurrency.follow_patches``.
            self._jobs = SimpleQueue()
        self._jobs.put(job)
        if not self._is_running:
            self._is_running = True
            try:
                concurrency.start(self._run, self._name, self._failed)
            except RuntimeError as error:
                self._is_running = self.is_busy = False
                self._jobs.get()
                if not concurrency.is_too_late(error):
                    self._failed(error)
                return False
        return True

    def end(self) -> None:
        """Let the thread end after its job, without waiting for it."""
        self._has_ended = True
        self._jobs.put(None)

    def _run(self) -> None:
        try:
            with context.muted():
                while (job := self._jobs.get()) is not None:
                    self._do(job)
        finally:
            self._at_end()

    def _do(self, job: Job) -> None:
        try:
            job()
        except Exception as error:
            self._failed(error)
        except BaseException:
            # From outside, and the end of this thread: the next job starts another.
            self._is_running = False
            raise
        finally:
            self.is_busy = False


MERGE_INTERVAL = 10
TRACE_INTERVAL = 20
INTERVAL = 60
_GOES_ON_FOR = 2 * INTERVAL
"""Seconds for which maintenance goes on after the rows of the last calls have settled. An idle site
writes nothing: what ages meanwhile waits for the next calls."""


class Maintenance:
    """The upkeep of the store, in whichever process comes first: merge, roll up, prune, replay the
    trace (``roll_trace``), renew predictions (``predict``). ``failed`` is called with faults of
    ours."""

    def __init__(
        self,
        get_conf: Callable[[], Conf],
        failed: Callable[[Exception], None],
        roll_trace: Callable[[Store, int], None],
        predict: Callable[[Store], None],
    ) -> None:
        self._get_conf = get_conf
        self._failed = failed
        self._roll_trace = roll_trace
        self._predict = predict
        self._tracing = _LeaderLock("trace", TRACE_INTERVAL)
        self._merging = _LeaderLock("merge", MERGE_INTERVAL)
        self._upkeep = _LeaderLock("tidy", INTERVAL)
        self._predicting = _LeaderLock("what if", INTERVAL)

    def work(
        self,
        store: Store,
        watch: Callable[[Store], None] | None,
        idle_for: float = 0.0,
        pace: Callable[[], None] = no_pause,
    ) -> None:
        """Do what is due, and then let ``watch`` look for findings; nothing if this process has
        made no calls for long (``idle_for`` seconds). Merging and rolling up keep to ``pace``. A
        fault of ours in one job does not keep
        others from being done. Raises :class:`StoreError`."""
        now = int(time.time())
        conf = self._get_conf()
        ready = settled(conf.flush_interval)
        if idle_for > ready + _GOES_ON_FOR:
            return
        if self._merging.take(store, now):
            self._do(lambda: merge_processes(store, now, ready, pace))
        if self._tracing.take(store, now):
            self._do(lambda: self._roll_trace(store, now))
        if self._upkeep.take(store, now):
            self._do(lambda: roll_up(store, now, ready, pace))
            self._do(lambda: store.prune(int(now - conf.retention)))
            if watch is not None:
                self._do(lambda: watch(store))
        if self._predicting.take(store, now):
            self._do(lambda: self._predict(store))

    def _do(self, job: Callable[[], object]) -> None:
        try:
            job()
        except StoreError:
            raise
        except Exception as error:
            self._failed(error)


class _LeaderLock:
    """Chooses the process that does a job every ``interval`` seconds."""

    def __init__(self, job: str, interval: int) -> None:
        self._job = job
        self._interval = interval
        self._next = 0.0

    def take(self, store: Store, now: int) -> bool:
        """Whether this process does the job now. Otherwise it asks again after ``interval``."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + self._interval
        return store.lock(self._job, self._interval, now)


class Wiring(NamedTuple):
    """What the worker and its jobs are joined to.

    ``scan`` scans the caches that are due: for a process and its store, which made calls until a
    Unix time, and whose calls the store has as the reporter says. ``is_testing``: whether Django's
    test runner is at work. ``read_evictions`` asks the server of an alias. ``at_end`` closes what a
    thread of the monitor's has opened.
    """

    get_conf: Callable[[], Conf]
    open_store: Callable[[], Store]
    measure: Measure
    scan: Callable[[str, Store, float, Reporter], dict[str, Snapshot]]
    is_testing: Callable[[], bool]
    make_tracer: Callable[[str], Tracer]
    trace_settings: Callable[[], TraceSettings]
    read_evictions: Callable[[str], EvictionReading | None]
    at_end: Callable[[], None]


class Hooks:
    """What the reading side does now and then, in one process for all. ``watch`` looks for new
    findings in a store; ``predict`` renews its predictions until the function that it is given says
    that the process ends."""

    watch: Callable[[Store], None] | None = None
    predict: Callable[[Store, Callable[[], bool]], None] | None = None


class BackgroundJobs:
    """The jobs of one process. The drainer is used with the writer's lock held."""

    def __init__(
        self,
        process: str,
        wiring: Wiring,
        hooks: Hooks,
        recorder: Recorder,
        drainer: Drainer,
        writer: StoreWriter,
    ) -> None:
        self.has_plans = False
        self.is_ending = False
        self._process = process
        self._wiring = wiring
        self._hooks = hooks
        self._recorder = recorder
        self._drainer = drainer
        self._writer = writer
        failed, at_end = recorder.failed, wiring.at_end
        self._scans = BackgroundJob("scan", failed, at_end)
        self._upkeep = BackgroundJob("tidy", failed, at_end)
        self._predictions = BackgroundJob("what-if", failed, at_end)
        self._maintenance = Maintenance(wiring.get_conf, failed, self.roll_trace, self._predict)
        self._snapshots: deque[dict[str, Snapshot]] = deque()
        self._readings: deque[tuple[str, EvictionReading]] = deque()

    @property
    def is_busy(self) -> bool:
        """Whether a scan or the maintenance is running."""
        return self._scans.is_busy or self._upkeep.is_busy

    def start(self, store: Store) -> None:
        """Start what is due with a flush, unless it is still running."""
        self._scans.do(partial(self._guarded, partial(self._scan, store)))
        self._upkeep.do(partial(self._guarded, partial(self._maintain, store, self._hooks.watch)))

    def finish(self, store: Store) -> None:
        """Do what is left when the process ends: no time for findings."""
        self._guarded(partial(_share_groups, store))
        if not self._upkeep.is_busy:
            self._guarded(partial(self._maintain, store, None))

    def end(self) -> None:
        """Let the threads end after their jobs, without waiting for them."""
        self.is_ending = True
        for each in (self._scans, self._upkeep, self._predictions):
            each.end()

    def follow_plans(self, store: Store) -> None:
        plans = rows.plans(store)
        with self._writer.lock:
            self._drainer.flusher.tracer.follow(plans)
        self.has_plans = True

    def read_evictions(self) -> None:
        """Ask servers that may have evicted what was missed."""
        with self._writer.lock:
            missed = self._drainer.flusher.tracer.take_missed()
        for alias in missed:
            reading = self._wiring.read_evictions(alias)
            if reading is not None:
                self._readings.append((alias, reading))

    def roll_trace(self, store: Store, now: int) -> None:
        """Replay the trace, and pass the reasons of misses on."""
        conf = self._wiring.trace_settings()
        subscribers.add_reasons(rollup.roll_trace(store, now, conf, self._pace()))

    def has_found(self) -> bool:
        """Whether there is anything for :meth:`note_found`."""
        return bool(self._snapshots or self._readings)

    def note_found(self, flusher: Flusher) -> None:
        """Note what scans and servers said of memory and evictions. The caller holds the lock."""
        while self._snapshots:
            _note_memory(self._snapshots.popleft(), flusher)
        while self._readings:
            flusher.tracer.note_reading(*self._readings.popleft())

    def _guarded(self, job: Job) -> None:
        try:
            job()
        except StoreError as error:
            # Where the process ends its store may be gone with it: another process does the job.
            if not self.is_ending:
                self._writer.note_failure(str(error))

    def _scan(self, store: Store) -> None:
        self.read_evictions()
        self.follow_plans(store)
        _share_groups(store)
        reporter = Reporter(self._recorder.process, self._recorder.reported_at)
        found = self._wiring.scan(self._process, store, self._drainer.active_at, reporter)
        self._snapshots.append(found)

    def _maintain(self, store: Store, watch: Callable[[Store], None] | None) -> None:
        idle_for = time.time() - self._drainer.active_at
        self._maintenance.work(store, watch, idle_for, self._pace())

    def _pace(self) -> Pace:
        """That of this thread: without pauses when the process ends."""
        return Pace(is_urgent=lambda: self.is_ending)

    def _predict(self, store: Store) -> None:
        predict = self._hooks.predict
        if predict is not None and not self.is_ending:
            job = partial(predict, store, lambda: self.is_ending)
            self._predictions.do(partial(self._guarded, job))


def _note_memory(snapshots: dict[str, Snapshot], flusher: Flusher) -> None:
    now = time.time()
    for alias, snapshot in snapshots.items():
        is_shared = snapshot.scope == "shared"
        if is_shared and (reading := eviction_reading(snapshot)) is not None:
            flusher.tracer.note_reading(alias, reading)
        if snapshot.bytes is not None:
            flusher.aggregator.note_memory(alias, snapshot.bytes, is_shared, now)
        # The counters of several processes could not be told from one that began anew.
        if snapshot.evictions is not None and is_shared:
            flusher.aggregator.note_evictions(alias, snapshot.evictions, now)


def _share_groups(store: Store) -> None:
    """Learn the groups of keys that other processes have learned, and store ours for them."""
    learned.learn(rows.share_groups(store, learned.folding.templates, int(time.time())))
