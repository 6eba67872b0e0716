"""The draining thread: takes calls from the recorder, counts them, brings them to the store.

It starts with the first recorded call, in every process by itself: a thread does not survive a
fork, and a process that makes no cache calls needs none. Nothing here runs on the site's path,
but for the relief that a full buffer asks of the thread that filled it.
"""

import atexit
import logging
import os
import sys
import time
from collections.abc import Callable
from math import inf
from multiprocessing.util import Finalize, register_after_fork
from threading import Event, Lock, Thread
from typing import NamedTuple
from uuid import uuid4

from cache_monitor import scope, visits
from cache_monitor.aggregator import Aggregator, Measure
from cache_monitor.calls import RawCall
from cache_monitor.conf import Conf
from cache_monitor.delivery import Delivery, Pending
from cache_monitor.inspectors.snapshot import Snapshot
from cache_monitor.misses import Judge
from cache_monitor.recorder import Recorder
from cache_monitor.rollup import roll_up
from cache_monitor.stores.base import Store, StoreError

logger = logging.getLogger("cache_monitor")

DRAIN_INTERVAL = 0.5
BATCH = 10_000
"""Calls that are counted in one go: the more, the more of them are alike."""
HELP = 100
"""Calls that a site's thread counts, or drops, where the draining thread falls behind."""
EXIT_PATIENCE = 5.0
"""Seconds that a process may wait at its end for a store that does not answer."""
TIDY_INTERVAL = 60.0


class Wiring(NamedTuple):
    """What the collector is joined to.

    ``look`` looks into the caches that are due, for a process and a store. ``is_testing`` tells
    whether Django's test runner is at work. ``make_judge`` makes the judge of a process's misses.
    ``at_end`` gives back what the draining thread holds.
    """

    get_conf: Callable[[], Conf]
    open_store: Callable[[], Store]
    measure: Measure
    look: Callable[[str, Store], dict[str, Snapshot]]
    is_testing: Callable[[], bool]
    make_judge: Callable[[str], Judge]
    at_end: Callable[[], None]


class Collector:
    """One process's draining thread and what it has counted."""

    def __init__(self, recorder: Recorder, wiring: Wiring) -> None:
        self._recorder = recorder
        self._wiring = wiring
        self._attached = False
        self._in_tests = False
        self._begin()

    def _begin(self) -> None:
        self.process = uuid4().hex
        self._pid = os.getpid()
        self._made: Delivery | None = None
        self._judge: Judge | None = None
        self.problem: str | None = None
        self._thread: Thread | None = None
        self._starting = Lock()
        self._draining = Lock()
        self._wake = Event()
        self._flushes_wanted: list[Event] = []
        self._stopping = False
        self._next_flush = 0.0
        self._next_tidy = 0.0

    # Lifecycle

    def attach(self) -> None:
        """Take over the recorder's calls, now and in forked children. Idempotent."""
        if self._attached:
            return
        self._attached = True
        self._recorder.attach(self.on_pressure)
        os.register_at_fork(after_in_child=self.after_fork)
        atexit.register(self.stop)
        # A child of multiprocessing ends without atexit, but runs finalizers of its own.
        register_after_fork(self, Collector._stop_with_child)

    def after_fork(self) -> None:
        """Begin anew in a forked child: what was counted so far is the parent's."""
        self._recorder.after_fork()
        visits.waiting.clear()
        self._begin()
        self._stop_with_celerys_worker()

    def notice_fork(self) -> None:
        """Begin anew if this is a child that Python was not told of: uWSGI forks in C."""
        if os.getpid() != self._pid:
            self.after_fork()

    def _stop_with_child(self) -> None:
        Finalize(None, self.stop, exitpriority=0)

    def _stop_with_celerys_worker(self) -> None:
        """A child of Celery's prefork pool ends by ``os._exit`` and runs no finalizer; it sends a
        signal. Asked for after the fork, when whoever uses Celery has imported it."""
        signals = sys.modules.get("celery.signals")
        if signals is not None:
            signals.worker_process_shutdown.connect(
                self._stop_with_signal, weak=False, dispatch_uid="cache_monitor"
            )

    def _stop_with_signal(self, **_: object) -> None:
        self.stop()

    def on_pressure(self) -> None:
        """The buffer is longer than its limit: start the thread, or help it."""
        if self._stopping:
            # Nobody will count what is called this late.
            self._recorder.drop(HELP)
            return
        if self._thread is None or not self._thread.is_alive():
            self._start()
            return
        self._wake.set()
        size = self._wiring.get_conf().buffer_size
        if len(self._recorder.buffer) > size:
            if self._draining.acquire(blocking=False):
                try:
                    self._drain_batch(HELP)
                finally:
                    self._draining.release()
            if len(self._recorder.buffer) > 2 * size:
                self._recorder.drop(HELP)

    def _start(self) -> None:
        with self._starting:
            if self._stopping or (self._thread is not None and self._thread.is_alive()):
                return
            self._in_tests = self._in_tests or self._wiring.is_testing()
            self._recorder.limit = self._wiring.get_conf().buffer_size // 2
            self._next_flush = time.monotonic() + self._wiring.get_conf().flush_interval
            self._thread = Thread(target=self._run, name="cache-monitor", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Flush and end the thread; waits for a slow store only so long."""
        self._stopping = True
        if self._thread is not None and self._thread.is_alive():
            self._wake.set()
            self._thread.join(EXIT_PATIENCE)

    def flush(self, patience: float = 30.0) -> bool:
        """Bring everything recorded so far to the store; False where that did not succeed."""
        if not self._recorder.buffer and self._thread is None:
            return True
        if self._stopping:
            return False
        self._start()
        done = Event()
        self._flushes_wanted.append(done)
        self._wake.set()
        return done.wait(patience) and self.problem is None

    # The thread

    def _run(self) -> None:
        with scope.muted():
            while not self._stopping:
                self._wake.wait(DRAIN_INTERVAL)
                self._wake.clear()
                self._turn()
            self._turn(last=True)
            self._wiring.at_end()

    def _turn(self, last: bool = False) -> None:
        try:
            wanted, self._flushes_wanted = self._flushes_wanted, []
            self.drain(last=last)
            due = time.monotonic() >= self._next_flush
            # Once a test, always a test: the databases come back to their names before the end.
            self._in_tests = self._in_tests or self._wiring.is_testing()
            if wanted or ((due or last) and not self._in_tests):
                self._flush_now(with_look=due and not last, last=last)
                self._next_flush = time.monotonic() + self._wiring.get_conf().flush_interval
            for done in wanted:
                done.set()
        except Exception as error:
            # A fault of ours must not end the thread: the buffer would fill for good.
            self._recorder.failed(error)

    def drain(self, last: bool = False) -> None:
        """Count everything in the buffer, and the reasons of earlier misses; of all of them if
        this is the ``last`` time."""
        # Only what is there now: under load the buffer may never be seen empty.
        for _ in range(len(self._recorder.buffer) // BATCH + 1):
            with self._draining:
                self._drain_batch(BATCH)
                self._count_reasons(time.time())
        if last:
            with self._draining:
                self._count_reasons(inf)

    def _drain_batch(self, most: int) -> None:
        now = time.time()
        aggregator = self._delivery.aggregator
        clock_offset = _clock_offset()
        calls = self._recorder.take(most)
        aggregator.add(calls, clock_offset)
        self._hear(calls, clock_offset)
        aggregator.add_dropped(self._recorder.take_dropped(), now)
        for visit in visits.take():
            aggregator.add_visit(visit, now)

    def _hear(self, calls: list[RawCall], clock_offset: float) -> None:
        """Let the judge know of ``calls``. His faults must not stop the counting."""
        if not calls:
            return
        try:
            if self._judge is None:
                self._judge = self._wiring.make_judge(self.process)
            self._judge.hear(calls, clock_offset)
        except Exception as error:
            self._recorder.failed(error)

    def _count_reasons(self, now: float) -> None:
        if self._judge is None:
            return
        try:
            self._delivery.aggregator.add_judged(self._judge.judged(now))
        except Exception as error:
            self._recorder.failed(error)

    @property
    def _delivery(self) -> Delivery:
        """Made when first asked for: the settings may not be there before."""
        if self._made is None:
            conf = self._wiring.get_conf()
            aggregator = Aggregator(
                self.process,
                hot_keys=conf.hot_keys,
                key_groups=conf.key_groups,
                measure=self._wiring.measure,
            )
            self._made = Delivery(self.process, aggregator)
        return self._made

    # Bringing it to the store

    def _flush_now(self, with_look: bool, last: bool) -> None:
        try:
            store = self._wiring.open_store()
            if with_look:
                self._note_memory(self._wiring.look(self.process, store))
            self._deliver(store, last)
            self._tidy(store)
        except StoreError as error:
            self._store_failed(str(error))
        except Exception as error:
            self._recorder.failed(error)
            self._store_failed(f"The store failed ({type(error).__name__}): see the log.")
        else:
            self._store_works()

    def _deliver(self, store: Store, last: bool) -> None:
        with self._draining:
            changes = self._delivery.changes(last)
        self._delivery.put(store, changes)
        with self._draining:
            self._delivery.delivered(changes)

    def _tidy(self, store: Store) -> None:
        """Roll up and prune, now and then, in whichever process comes first."""
        if time.monotonic() < self._next_tidy:
            return
        self._next_tidy = time.monotonic() + TIDY_INTERVAL
        now = int(time.time())
        if store.lock("tidy", int(TIDY_INTERVAL), now):
            roll_up(store, now)
            store.prune(int(now - self._wiring.get_conf().retention))

    def _note_memory(self, seen: dict[str, Snapshot]) -> None:
        now = time.time()
        with self._draining:
            for alias, look in seen.items():
                if look.bytes is not None:
                    is_shared = look.scope == "shared"
                    self._delivery.aggregator.note_memory(alias, look.bytes, is_shared, now)

    def _store_works(self) -> None:
        if self.problem is not None:
            logger.info("The cache monitor's store works again.")
            self.problem = None

    def _store_failed(self, problem: str) -> None:
        if problem != self.problem:
            logger.error("%s Until then the statistics wait in memory.", problem)
            self.problem = problem
        with self._draining:
            self._delivery.refused()

    def pending(self) -> Pending:
        """What a report must add to what the store says, as of now."""
        self.drain()
        with self._draining:
            return self._delivery.pending(store_works=self.problem is None)


def _clock_offset() -> float:
    """What makes Unix time of the readings of ``time.perf_counter``.

    A thread that is interrupted between the two clocks gets too little. Of events some
    microseconds apart the order tells why a get missed, so it is tried more than once.
    """
    return max(time.time() - time.perf_counter() for _ in range(3))
