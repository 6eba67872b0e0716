"""The draining thread of each process: it takes calls from the recorder, counts and flushes them.

It starts with the first recorded call: a thread does not survive a fork, and a process that makes
no cache calls needs none. Nothing here runs on the site's path, but for the relief that a full
buffer asks of the thread that filled it.
"""

import atexit
import os
import time
from collections import deque
from contextlib import suppress
from math import inf
from queue import Empty, SimpleQueue
from threading import get_ident
from time import thread_time
from typing import NamedTuple
from uuid import uuid4

from cache_monitor import concurrency, context
from cache_monitor.calls import Recorder
from cache_monitor.instrument import pages
from cache_monitor.listeners import subscribers
from cache_monitor.stacks import RawStack, take_stack
from cache_monitor.stores.base import Store, StoreBusyError, StoreError
from cache_monitor.worker import requests
from cache_monitor.worker.aggregator import Aggregator
from cache_monitor.worker.jobs import BackgroundJobs, Hooks, Wiring
from cache_monitor.worker.pipeline import Drainer, Flusher, StoreWriter
from cache_monitor.worker.shutdown import (
    ServerShutdown,
    stop_with_celerys_worker,
    stop_with_children_of_multiprocessing,
    termination_deferred,
)

DRAIN_INTERVAL = 0.5
BATCH = 10_000
"""Calls that are counted in one go: the more, the more of them are alike."""
PACED_BATCH = 500
"""The fewest of a batch."""
BATCH_SECONDS = 0.004
"""CPU time that a batch may take where there is time to pause afterwards: so long the threads of
the site have to wait for their turn."""
HELP = 100
"""Calls that a site's thread counts, or drops, where the draining thread falls behind."""
HELP_PAUSE = 0.01
"""Seconds that the draining thread leaves them for it. A thread waits up to 0.005 s for the
interpreter."""
PATIENCE = 10.0
"""Seconds that a report waits for a flush; then it is made without."""
END_PATIENCE = 5.0
"""Seconds that a process may wait at its end for a store that does not answer."""
END_DEADLINE = 20.0
"""Seconds that it may wait at its end as long as it counts, or as others write to the store; most
give a process 30 to end."""
_IDLE = 0.05
"""Seconds of CPU time in ``END_PATIENCE`` that are no work, but a look whether a lock is free."""


_TOO_SLOW = "The store has not taken what this process recorded within %(seconds)s seconds."


class FlushResult(NamedTuple):
    """Whether the store has all that this process has recorded, or else what is wrong with it, if
    that is known; ``missing`` are the calls that it lacks: given up, or refused so far."""

    is_flushed: bool
    problem: str | None
    missing: int


class _PacedBatch:
    """How many calls to count before a pause: as many as took :data:`BATCH_SECONDS` in the batch
    before. A thousand hits of a few keys take as long as a hundred misses."""

    def __init__(self) -> None:
        self.size = PACED_BATCH

    def adjust(self, counted: int, seconds: float) -> None:
        """Note what counting a whole batch took. It grows by steps: the next may be dearer."""
        fitting = round(counted * BATCH_SECONDS / seconds) if seconds > 0 else BATCH
        self.size = min(max(fitting, PACED_BATCH), 2 * self.size, BATCH)


class BackgroundWorker:
    """One process's draining thread and what it has counted."""

    def __init__(self, recorder: Recorder, wiring: Wiring) -> None:
        self._recorder = recorder
        self._wiring = wiring
        self._attached = False
        self._in_tests = False
        self._stops_with_children = False
        self.hooks = Hooks()
        # A signal's handler that makes calls may come while its own thread holds it.
        self._starting = concurrency.new_rlock()
        self._draining = concurrency.new_lock()
        self._server = ServerShutdown(self.end)
        self._begin()

    def _begin(self) -> None:
        self.process = uuid4().hex
        self._recorder.reported_at = 0.0
        self._pid = os.getpid()
        self._batch = _PacedBatch()
        self._drainer = Drainer(self._recorder, self._make_flusher)
        self._writer = StoreWriter(
            lambda: self._drainer.flusher, self._draining, self._recorder.failed
        )
        self.jobs = BackgroundJobs(
            self.process,
            self._wiring,
            self.hooks,
            self._recorder,
            self._drainer,
            self._writer,
        )
        self._busy_with = ""
        self._is_running = False
        self._thread: int | None = None
        self._over: SimpleQueue[None] = SimpleQueue()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._is_awaited = False
        self._asked: deque[SimpleQueue[FlushResult]] = deque()
        self._stopping = False
        self._next_flush = 0.0

    @property
    def problem(self) -> str | None:
        """What is wrong with the store; None if nothing is known to be."""
        return self._writer.problem

    # Lifecycle

    def attach(self) -> None:
        """Take over the recorder's calls, now and in forked children. Idempotent."""
        if self._attached:
            return
        self._attached = True
        self._recorder.attach(self.on_pressure, _stack_outside_of_requests)
        concurrency.call_in_forked_children(self.after_fork)
        atexit.register(self.stop)
        self._stop_with_children()

    def after_fork(self) -> None:
        """Begin anew in a forked child: what was counted so far is the parent's."""
        self._recorder.after_fork()
        requests.waiting.clear()
        pages.finished.clear()
        subscribers.reset()
        self.jobs.is_ending = True
        self._writer.is_parents = True
        self._begin()
        stop_with_celerys_worker(self.stop)
        self._stop_with_children()

    def notice_fork(self) -> None:
        """Begin anew if this is a child that Python was not told of: uWSGI forks in C. Called
        where a request begins, with which what the thread missed in the one before is over."""
        if os.getpid() != self._pid:
            concurrency.reset_after_fork()
        self._server.watch()
        self._drainer.begin_request()

    def _stop_with_children(self) -> None:
        self._stops_with_children = (
            self._stops_with_children or stop_with_children_of_multiprocessing(self, self.stop)
        )

    def on_pressure(self) -> None:
        """The buffer is longer than its limit: start the thread, wake it, or help it."""
        if self._stopping:
            # Nobody will count what is called this late.
            self._recorder.drop(HELP)
            return
        if not self._is_running:
            if os.getpid() != self._pid:
                # A child forked in C before any call: those in the buffer are its own.
                calls = [*self._recorder.buffer]
                concurrency.reset_after_fork()
                self._recorder.buffer.extend(calls)
            self._start()
            return
        self._wake_up()
        size = self._wiring.get_conf().buffer_size
        # Once woken the thread needs no further calls, until it falls behind.
        self._recorder.limit = size
        if len(self._recorder.buffer) > size:
            self._help()
            if len(self._recorder.buffer) > 2 * size:
                self._recorder.drop(HELP)

    def _help(self) -> None:
        # To ask before is not to be sure, and whoever is late waits for a batch to be counted. But
        # who asks by ``acquire`` may be left with the lock by a signal's handler; and a destructor
        # that calls in the midst of this finds the lock taken, and leaves.
        if not self._draining.locked():
            with self._draining:
                self._drain(HELP)

    def _wake_up(self) -> None:
        if self._wake.empty():
            self._wake.put(None)

    def _start(self) -> None:
        with self._starting:
            if self._stopping or self._is_running:
                return
            concurrency.follow_patches()
            self._over, self._wake = SimpleQueue(), SimpleQueue()
            self._in_tests = self._in_tests or self._wiring.is_testing()
            self._recorder.limit = self._wake_at()
            self._next_flush = time.monotonic() + self._wiring.get_conf().flush_interval
            self._is_running = True
            try:
                concurrency.start(self._run, concurrency.THREAD_NAME, self._has_not_started)
            except RuntimeError as error:
                self._has_not_started(error)

    def _has_not_started(self, error: Exception) -> None:
        """There are no more threads to be had: the next call tries again."""
        self._is_running = False
        self._recorder.limit = 0
        if not concurrency.is_too_late(error):
            self._recorder.failed(error)
            self._recorder.faults.log()

    def stop(self) -> None:
        """Flush and end the thread; waits for a slow store only so long."""
        self._stopping = True
        self.jobs.end()
        if self._is_running:
            with termination_deferred():
                self._wake_up()
                self._wait_for_last_turn()
        self._recorder.faults.log()

    def _wait_for_last_turn(self) -> None:
        """Wait for the thread as long as it works, for on a busy machine the counting of a full
        buffer takes its time, or as the store is busy with what others write: many processes may
        end at once."""
        ends, worked = time.monotonic() + END_DEADLINE, inf
        while self._is_running and (worked > _IDLE or self._writer.is_busy):
            if time.monotonic() >= ends:
                break
            before = time.process_time()
            with suppress(Empty):
                self._over.get(timeout=END_PATIENCE)
            worked = time.process_time() - before

    def end(self) -> None:
        """As :meth:`stop`, where the process may yet live on: what is called later is counted as
        another process's would be."""
        self.stop()
        if not self._is_running:
            self._begin()
            self._recorder.limit = 0

    def flush(self, patience: float = 30.0) -> bool:
        """Bring everything recorded so far to the store; False where that did not succeed."""
        return self.request_flush(patience).is_flushed

    def request_flush(self, patience: float = PATIENCE) -> FlushResult:
        """Bring everything recorded so far to the store; how far that came in ``patience`` seconds.
        Where the store has all of it, nobody is asked and nothing is written."""
        # In this order: what was taken meanwhile has not been written.
        has_more = self._drainer.has_more() or self.jobs.has_found()
        if not has_more and self._writer.has_all and not self._stopping:
            return FlushResult(True, None, self._writer.missing)
        if not self._stopping:
            self._start()
        if not self._is_running or self._stopping or self._thread == get_ident():
            return FlushResult(False, self.problem, self._writer.missing)
        # Not an Event: what a signal's handler raises in the midst of waiting leaves one locked.
        answers: SimpleQueue[FlushResult] = SimpleQueue()
        self._asked.append(answers)
        self._wake_up()
        try:
            return answers.get(timeout=patience)
        except Empty:
            problem = self.problem or _TOO_SLOW % {"seconds": f"{patience:g}"}
            return FlushResult(False, problem, self._writer.missing)

    # The thread

    def _run(self) -> None:
        self._thread = get_ident()
        # Made anew where a process begins anew. gevent's threads survive a fork: the parent's has
        # nothing to do with what the child counts.
        over = self._over
        try:
            with context.muted():
                while not self._stopping and self._over is over:
                    with suppress(Empty):
                        self._wake.get(timeout=DRAIN_INTERVAL)
                    if self._over is over:
                        self._turn()
                if self._over is over:
                    self._last_turn()
                    self._wiring.at_end()
        finally:
            if self._over is over:
                self._is_running = False
                if not self._stopping:
                    # Something from outside has ended it: the next call starts another.
                    self._recorder.limit = 0
            over.put(None)

    def _last_turn(self) -> None:
        """Bring everything to the store, and try again while others keep it: there is no next
        time."""
        ends = time.monotonic() + END_DEADLINE
        self._turn(last=True)
        while self._writer.is_busy and time.monotonic() < ends:
            self._turn(last=True)
        if self._writer.is_busy:
            self._writer.note_failure(self._busy_with)

    def _turn(self, last: bool = False) -> None:
        over = self._over
        asked = [self._asked.popleft() for _ in range(len(self._asked))]
        self._is_awaited = bool(asked) or last
        is_flushed = False
        begun = time.time()
        try:
            self._server.watch()
            self.drain()
            if self._over is not over:
                return  # a greenlet, in a child that was forked during a pause
            subscribers.notify()
            due = time.monotonic() >= self._next_flush
            # Once a test, always a test: the databases come back to their names before the end.
            self._in_tests = self._in_tests or self._wiring.is_testing()
            if asked or ((due or last) and not self._in_tests):
                is_flushed = self._flush(begun, due, last)
                if due:
                    # Not put off by reports: scans and roll-ups are done when a flush is due.
                    self._next_flush = time.monotonic() + self._wiring.get_conf().flush_interval
        except Exception as error:
            # A fault of ours must not end the thread: the buffer would fill for good.
            self._recorder.failed(error)
        for answers in asked:
            answers.put(FlushResult(is_flushed, self.problem, self._writer.missing))
        # Here, where no lock is held: whoever logs waits for locks of the site's.
        self._recorder.faults.log()

    def drain(self) -> None:
        """Count everything in the buffer, with pauses for the threads of the site."""
        # Only what is there now: under load the buffer may never be seen empty.
        left = len(self._recorder.buffer)
        pace = concurrency.Pace(is_urgent=self._is_urgent)
        while True:
            is_urgent = self._is_urgent()
            most = BATCH if is_urgent else self._batch.size
            with self._draining:
                began = thread_time()
                self._drain(most)
            if not is_urgent and most <= left:
                self._batch.adjust(most, thread_time() - began)
            if len(self._recorder.buffer) > self._wiring.get_conf().buffer_size:
                self._let_site_help()
            left -= most
            if left <= 0:
                break
            pace()
        with self._draining:
            self._drainer.note_views()
            if self.jobs.has_found():
                self._writer.taken += 1
                self.jobs.note_found(self._drainer.flusher)
            wanted = self._drainer.flusher.aggregator.callers.wanted
        # The limit was raised by whoever woke the thread; 0 where a fork has just made it that.
        self._recorder.want_stacks(wanted, self._wake_at())

    def _let_site_help(self) -> None:
        """Leave the lock to a site's thread that finds the buffer too long. Otherwise it would meet
        the lock free only by chance, and the buffer would grow to twice its limit."""
        # At the end nobody helps, and time is short.
        if not self._stopping:
            time.sleep(HELP_PAUSE)

    def _is_urgent(self) -> bool:
        """Whether to count without pauses: the process ends, a report waits, or the buffer fills
        faster than it is emptied."""
        is_filling = len(self._recorder.buffer) > self._wake_at()
        return self._stopping or self._is_awaited or bool(self._asked) or is_filling

    def _wake_at(self) -> int:
        """How many calls in the buffer wake the thread. Fewer would cost more CPU time: what
        another core has just made is in that one's cache, and has to come over."""
        return self._wiring.get_conf().buffer_size // 2

    def _drain(self, most: int) -> None:
        """Count at most so many calls. The caller holds the lock."""
        before, self._writer.taken = self._writer.taken, self._writer.taken + 1
        if not self._drainer.drain(most):
            self._writer.taken = before

    def _make_flusher(self) -> Flusher:
        conf = self._wiring.get_conf()
        aggregator = Aggregator(
            self.process,
            hot_keys=conf.hot_keys,
            key_groups=conf.max_key_groups,
            measure=self._wiring.measure,
        )
        return Flusher(self.process, aggregator, self._wiring.make_tracer(self.process))

    def _flush(self, begun: float, due: bool, last: bool) -> bool:
        """Write to the store what this process has until ``begun``; whether the store took it."""
        writer = self._writer
        writer.is_busy = False
        try:
            store = self._wiring.open_store()
            self._write(store, begun, last)
            if last:
                self.jobs.finish(store)
            elif due:
                self.jobs.start(store)
        except StoreError as error:
            writer.is_busy = isinstance(error, StoreBusyError)
            self._busy_with = str(error)
            # At the end it is tried again: nothing is to be said of what passes meanwhile.
            if not (last and writer.is_busy):
                writer.note_failure(str(error))
        except Exception as error:
            self._recorder.failed(error)
            writer.note_failure(f"The store failed ({type(error).__name__}): see the log.")
        else:
            writer.note_success()
            return True
        return False

    def _write(self, store: Store, begun: float, last: bool) -> None:
        if last:
            self.jobs.read_evictions()
            self.drain()
        if not self.jobs.has_plans:
            # A new process of a busy site must not begin with all keys.
            self.jobs.follow_plans(store)
        self._writer.write(store, last, concurrency.Pace(is_urgent=self._is_urgent))
        self._recorder.process = self._drainer.flusher.tracer.slices.process
        self._recorder.reported_at = begun


def _stack_outside_of_requests(skipped: int) -> RawStack | None:
    """The stack from the frame on that is ``skipped`` calls outside of this one; None in a request,
    whose view will be known."""
    outer = context.current()
    return take_stack(skipped + 1) if outer is None or not outer.listeners else None
