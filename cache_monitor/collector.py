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
from dataclasses import dataclass, field
from multiprocessing.util import Finalize, register_after_fork
from threading import Event, Lock, Thread
from uuid import uuid4

from cache_monitor import scope
from cache_monitor.aggregator import Aggregator, Measure
from cache_monitor.conf import Conf
from cache_monitor.recorder import Recorder
from cache_monitor.stats.encoding import encode
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Row, Store, StoreError

logger = logging.getLogger("cache_monitor")

DRAIN_INTERVAL = 0.5
BATCH = 1000
HELP = 100
"""Calls that a site's thread counts, or drops, where the draining thread falls behind."""
WINDOW_SECONDS = 10
EXIT_PATIENCE = 5.0
"""Seconds that a process may wait at its end for a store that does not answer."""
WINDOWS_KEPT = 1000
"""Windows kept for a store that refuses them; the oldest are given up, and counted."""
_CLOSED_AFTER = 5.0
"""Seconds after a window's end in which late calls still find it."""
_PRUNE_INTERVAL = 3600.0


_Revision = tuple[int, int | None]


def _revision(window: Window) -> _Revision:
    """Changes whenever the window does: its calls, dropped ones included, and its memory."""
    return window.calls + window.dropped, window.memory_bytes


@dataclass(slots=True)
class Pending:
    """What this process has not brought to the store: its rows, and what of them is lost so far.

    ``dropped`` counts the calls that the store refused or that were given up; ``problem`` is the
    sentence that says what is wrong with the store.
    """

    rows: list[Row] = field(default_factory=list)
    dropped: int = 0
    problem: str | None = None


class Collector:
    """One process's draining thread and what it has counted."""

    def __init__(
        self,
        recorder: Recorder,
        *,
        get_conf: Callable[[], Conf],
        open_store: Callable[[], Store],
        measure: Measure,
        look: Callable[[str, Store], dict[str, int]],
        is_testing: Callable[[], bool],
    ) -> None:
        self._recorder = recorder
        self._get_conf = get_conf
        self._open_store = open_store
        self._measure = measure
        self._look = look
        self._is_testing = is_testing
        self._attached = False
        self._in_tests = False
        self._begin()

    def _begin(self) -> None:
        self.process = uuid4().hex
        self._aggregator: Aggregator | None = None
        self._stored: dict[tuple[str, int], _Revision] = {}
        self._given_up = 0
        self.problem: str | None = None
        self._thread: Thread | None = None
        self._starting = Lock()
        self._draining = Lock()
        self._wake = Event()
        self._flush_wanted = False
        self._flushed = Event()
        self._stopping = False
        self._next_flush = 0.0
        self._next_prune = 0.0

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
        self._begin()

    def _stop_with_child(self) -> None:
        Finalize(None, self.stop, exitpriority=0)

    def on_pressure(self) -> None:
        """The buffer is longer than its limit: start the thread, or help it."""
        if self._thread is None or not self._thread.is_alive():
            self._start()
            return
        self._wake.set()
        size = self._get_conf().buffer_size
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
            self._in_tests = self._in_tests or self._is_testing()
            self._recorder.limit = self._get_conf().buffer_size // 2
            self._next_flush = time.monotonic() + self._get_conf().flush_interval
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
        self._flushed.clear()
        self._flush_wanted = True
        self._wake.set()
        return self._flushed.wait(patience) and self.problem is None

    # The thread

    def _run(self) -> None:
        with scope.muted():
            while not self._stopping:
                self._wake.wait(DRAIN_INTERVAL)
                self._wake.clear()
                self._turn()
            self._turn(last=True)

    def _turn(self, last: bool = False) -> None:
        try:
            wanted, self._flush_wanted = self._flush_wanted, False
            self.drain()
            due = time.monotonic() >= self._next_flush
            # Once a test, always a test: the databases come back to their names before the end.
            self._in_tests = self._in_tests or self._is_testing()
            if wanted or ((due or last) and not self._in_tests):
                self._flush_now(with_look=due and not last)
                self._next_flush = time.monotonic() + self._get_conf().flush_interval
            if wanted:
                self._flushed.set()
        except Exception as error:
            # A fault of ours must not end the thread: the buffer would fill for good.
            self._recorder.failed(error)

    def drain(self) -> None:
        """Count everything in the buffer."""
        # Only what is there now: under load the buffer may never be seen empty.
        for _ in range(len(self._recorder.buffer) // BATCH + 1):
            with self._draining:
                self._drain_batch(BATCH)

    def _drain_batch(self, most: int) -> None:
        now = time.time()
        aggregator = self._current_aggregator()
        aggregator.add(self._recorder.take(most), now - time.perf_counter())
        aggregator.add_dropped(self._recorder.take_dropped(), now)

    def _current_aggregator(self) -> Aggregator:
        if self._aggregator is None:
            conf = self._get_conf()
            self._aggregator = Aggregator(
                window_seconds=WINDOW_SECONDS,
                hot_keys=conf.hot_keys,
                key_groups=conf.key_groups,
                measure=self._measure,
            )
        return self._aggregator

    # Bringing it to the store

    def _flush_now(self, with_look: bool) -> None:
        try:
            store = self._open_store()
            if with_look:
                self._note_memory(self._look(self.process, store))
            self._put(store)
            self._prune(store)
        except StoreError as error:
            self._store_failed(str(error))
        except Exception as error:
            self._recorder.failed(error)
            self._store_failed(f"The store failed ({type(error).__name__}): see the log.")
        else:
            self._store_works()

    def _put(self, store: Store) -> None:
        with self._draining:
            changed = [
                (alias, window, _revision(window), self._row(alias, window))
                for alias, window in self._windows()
                if self._stored.get((alias, window.start)) != _revision(window)
            ]
        if changed:
            store.put([row for *_, row in changed], int(time.time()))
        with self._draining:
            for alias, window, revision, _ in changed:
                self._stored[alias, window.start] = revision
            self._forget_closed()

    def _forget_closed(self) -> None:
        now = time.time()
        for alias, window in list(self._windows()):
            name = (alias, window.start)
            closed = window.start + window.seconds + _CLOSED_AFTER < now
            if closed and self._stored.get(name) == _revision(window):
                self._current_aggregator().forget(alias, window)
                del self._stored[name]

    def _prune(self, store: Store) -> None:
        if time.monotonic() >= self._next_prune:
            self._next_prune = time.monotonic() + _PRUNE_INTERVAL
            store.prune(int(time.time() - self._get_conf().retention))

    def _store_works(self) -> None:
        if self.problem is not None:
            logger.info("The cache monitor's store works again.")
            self.problem = None

    def _store_failed(self, problem: str) -> None:
        if problem != self.problem:
            logger.error("%s Until then the statistics wait in memory.", problem)
            self.problem = problem
        with self._draining:
            kept = sorted(self._windows(), key=lambda each: each[1].start)
            for alias, window in kept[: max(0, len(kept) - WINDOWS_KEPT)]:
                self._given_up += window.calls + window.dropped
                self._current_aggregator().forget(alias, window)
                self._stored.pop((alias, window.start), None)

    # Looking at it

    def pending(self) -> Pending:
        """What a report must add to what the store says, as of now."""
        self.drain()
        with self._draining:
            windows = list(self._windows())
            if self.problem is None:
                rows = [self._row(alias, window) for alias, window in windows]
                return Pending(rows, self._given_up)
            refused = sum(
                _revision(window)[0] - self._stored.get((alias, window.start), (0, None))[0]
                for alias, window in windows
            )
            return Pending([], self._given_up + refused, self.problem)

    def _note_memory(self, used: dict[str, int]) -> None:
        with self._draining:
            for alias, size in used.items():
                self._current_aggregator().note_memory(alias, size, time.time())

    def _windows(self) -> list[tuple[str, Window]]:
        return list(self._aggregator.windows()) if self._aggregator is not None else []

    def _row(self, alias: str, window: Window) -> Row:
        return Row("window", self.process, alias, window.start, window.seconds, encode(window))
