"""The draining thread: takes calls from the recorder, counts them, brings them to the store.

It starts with the first recorded call, in every process by itself: a thread does not survive a
fork, and a process that makes no cache calls needs none. Nothing here runs on the site's path,
but for the relief that a full buffer asks of the thread that filled it.
"""

import atexit
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from math import inf
from multiprocessing.util import register_after_fork
from queue import Empty, SimpleQueue
from threading import Event, Lock, RLock, Thread
from typing import NamedTuple
from uuid import uuid4

from cache_monitor import scope
from cache_monitor.collecting import visits
from cache_monitor.collecting.aggregator import Aggregator
from cache_monitor.collecting.counting import Measure
from cache_monitor.collecting.delivery import Delivery, Pending
from cache_monitor.collecting.endings import (
    join_patiently,
    stop_with_celerys_worker,
    stop_with_child,
)
from cache_monitor.collecting.followers import followers
from cache_monitor.collecting.intake import Intake
from cache_monitor.collecting.misses import Judge
from cache_monitor.collecting.tidying import Tidying
from cache_monitor.conf import Conf
from cache_monitor.forks import call_in_forked_children
from cache_monitor.inspectors.snapshot import Snapshot
from cache_monitor.pages import watch
from cache_monitor.recorder import Recorder
from cache_monitor.stores.base import Store, StoreError
from cache_monitor.stores.surroundings import THREAD_NAME

logger = logging.getLogger("cache_monitor")

DRAIN_INTERVAL = 0.5
BATCH = 10_000
"""Calls that are counted in one go: the more, the more of them are alike."""
HELP = 100
"""Calls that a site's thread counts, or drops, where the draining thread falls behind."""


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
        self._watch: Callable[[Store], None] | None = None
        self._begin()

    def _begin(self) -> None:
        self.process = uuid4().hex
        self._pid = os.getpid()
        self._intake = Intake(self._recorder, self._make_delivery, self._make_judge)
        self.problem: str | None = None
        self._thread: Thread | None = None
        # A signal's handler that makes calls may come while its own thread holds it.
        self._starting = RLock()
        self._draining = Lock()
        # Not an Event: what a signal's handler raises in the midst of ``set`` leaves that locked.
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._flushes_wanted: list[Event] = []
        self._stopping = False
        self._next_flush = 0.0
        self._tidying = Tidying(self._wiring.get_conf, self._recorder.failed)

    # Lifecycle

    def attach(self) -> None:
        """Take over the recorder's calls, now and in forked children. Idempotent."""
        if self._attached:
            return
        self._attached = True
        self._recorder.attach(self.on_pressure)
        call_in_forked_children(self.after_fork)
        atexit.register(self.stop)
        # A child of multiprocessing ends without atexit, but runs finalizers of its own.
        register_after_fork(self, Collector._stop_with_child)

    def watch_with(self, watch: Callable[[Store], None]) -> None:
        """Let ``watch`` look at the store once a minute, in one of the processes."""
        self._watch = watch

    def after_fork(self) -> None:
        """Begin anew in a forked child: what was counted so far is the parent's."""
        self._recorder.after_fork()
        visits.waiting.clear()
        watch.finished.clear()
        followers.forget()
        self._begin()
        stop_with_celerys_worker(self.stop)

    def notice_fork(self) -> None:
        """Begin anew if this is a child that Python was not told of: uWSGI forks in C. Called
        where a request begins, with which what the thread missed in the one before is over."""
        if os.getpid() != self._pid:
            self.after_fork()
        self._intake.begin_request()

    def _stop_with_child(self) -> None:
        stop_with_child(self.stop)

    def on_pressure(self) -> None:
        """The buffer is longer than its limit: start the thread, wake it, or help it."""
        if self._stopping:
            # Nobody will count what is called this late.
            self._recorder.drop(HELP)
            return
        if self._thread is None or not self._thread.is_alive():
            if os.getpid() != self._pid:
                # Forked in C before any call, and no request of Django's has told of it.
                self._begin()
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
        is_mine = False
        try:
            is_mine = self._draining.acquire(blocking=False)
            if is_mine:
                self._intake.take_in(HELP)
        finally:
            if is_mine:
                self._draining.release()

    def _wake_up(self) -> None:
        if self._wake.empty():
            self._wake.put(None)

    def _start(self) -> None:
        with self._starting:
            if self._stopping or (self._thread is not None and self._thread.is_alive()):
                return
            self._in_tests = self._in_tests or self._wiring.is_testing()
            self._recorder.limit = self._wiring.get_conf().buffer_size // 2
            self._next_flush = time.monotonic() + self._wiring.get_conf().flush_interval
            self._thread = Thread(target=self._run, name=THREAD_NAME, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Flush and end the thread; waits for a slow store only so long."""
        self._stopping = True
        if self._thread is not None and self._thread.is_alive():
            self._wake_up()
            join_patiently(self._thread)

    def flush(self, patience: float = 30.0) -> bool:
        """Bring everything recorded so far to the store; False where that did not succeed."""
        if not self._recorder.buffer and self._thread is None:
            return True
        if self._stopping:
            return False
        self._start()
        done = Event()
        self._flushes_wanted.append(done)
        self._wake_up()
        return done.wait(patience) and self.problem is None

    # The thread

    def _run(self) -> None:
        with scope.muted():
            while not self._stopping:
                with suppress(Empty):
                    self._wake.get(timeout=DRAIN_INTERVAL)
                self._turn()
            self._turn(last=True)
            self._wiring.at_end()

    def _turn(self, last: bool = False) -> None:
        try:
            wanted, self._flushes_wanted = self._flushes_wanted, []
            self.drain(last=last)
            followers.work(inf if last else time.time())
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
                self._intake.take_in(BATCH)
                self._intake.count_waiting(time.time())
        if last:
            with self._draining:
                self._intake.count_waiting(inf)
        # Raised by whoever woke the thread; 0 where a fork has just made it that.
        self._recorder.limit = min(self._recorder.limit, self._wiring.get_conf().buffer_size // 2)

    def _make_delivery(self) -> Delivery:
        conf = self._wiring.get_conf()
        aggregator = Aggregator(
            self.process,
            hot_keys=conf.hot_keys,
            key_groups=conf.max_key_groups,
            measure=self._wiring.measure,
        )
        return Delivery(self.process, aggregator)

    def _make_judge(self) -> Judge:
        return self._wiring.make_judge(self.process)

    # Bringing it to the store

    def _flush_now(self, with_look: bool, last: bool) -> None:
        try:
            store = self._wiring.open_store()
            if with_look:
                self._note_memory(self._wiring.look(self.process, store))
            self._deliver(store, last)
            # A process that ends has no time to look around.
            self._tidying.work(store, None if last else self._watch)
        except StoreError as error:
            self._store_failed(str(error))
        except Exception as error:
            self._recorder.failed(error)
            self._store_failed(f"The store failed ({type(error).__name__}): see the log.")
        else:
            self._store_works()

    def _deliver(self, store: Store, last: bool) -> None:
        with self._draining:
            changes = self._intake.delivery.changes(last)
        self._intake.delivery.put(store, changes)
        with self._draining:
            self._intake.delivery.delivered(changes)

    def _note_memory(self, seen: dict[str, Snapshot]) -> None:
        now = time.time()
        with self._draining:
            aggregator = self._intake.delivery.aggregator
            for alias, look in seen.items():
                is_shared = look.scope == "shared"
                if look.bytes is not None:
                    aggregator.note_memory(alias, look.bytes, is_shared, now)
                # The counters of several processes could not be told from one that began anew.
                if look.evictions is not None and is_shared:
                    aggregator.note_evictions(alias, look.evictions, now)

    def _store_works(self) -> None:
        if self.problem is not None:
            logger.info("The cache monitor's store works again.")
            self.problem = None

    def _store_failed(self, problem: str) -> None:
        if problem != self.problem:
            logger.error("%s Until then the statistics wait in memory.", problem)
            self.problem = problem
        with self._draining:
            self._intake.delivery.refused()

    def pending(self) -> Pending:
        """What a report must add to what the store says, as of now."""
        self.drain()
        with self._draining:
            return self._intake.delivery.pending(store_works=self.problem is None)
