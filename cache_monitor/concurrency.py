"""Locks, threads, values with a time limit, and the pace of background computation, in a process
that may fork.

A forked child has one thread of its parent, and a copy of everything else: locks that other threads
held, which nobody will release, and the parent's calls and connections. So every lock of the
package is made here, and all state that belongs to one process registers here to be reset.
"""

import _thread
import os
import queue
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from threading import Lock, RLock, Thread, get_ident
from typing import Any, Generic, TypeVar
from weakref import ref

Value = TypeVar("Value")

_locks: set["ref[Any]"] = set()
_jobs: list[Callable[[], None]] = []
_reset_by: dict[int, int] = {os.getpid(): get_ident()}
"""The thread that has reset the state of each process."""
_forking: set[int] = set()
_importing: set[int] = set()
"""The threads that fork or import now."""
_MOST_WAITING = 1.0
"""Seconds that a fork and an import wait for each other: an import takes a tenth, a fork less."""


def new_lock() -> Lock:
    """A lock that is free in every forked child.

    Use ``with`` only: a signal's handler may raise between a call of ``acquire`` and the ``try``
    after it, and the lock would stay taken.
    """
    lock = Lock()
    _note(lock)
    return lock


def new_rlock() -> RLock:
    """A lock that is free in every forked child, and that a signal's handler may take while its
    own thread has it."""
    lock = RLock()
    _note(lock)
    return lock


def _note(lock: Any) -> None:
    # The set's own method removes it in one step when the lock is gone.
    _locks.add(ref(lock, _locks.discard))


def _of_threads() -> dict[str, Any]:
    """What this package imports by name of the modules that make and join threads."""
    names = {threading: ("Lock", "RLock", "Thread", "get_ident", "local"), queue: ("SimpleQueue",)}
    return {name: getattr(module, name) for module in names for name in names[module]}


_imported = _of_threads()


def follow_patches() -> None:
    """Import anew what gevent or eventlet has replaced of Python's threads since this package was
    imported, as gunicorn's workers do after ``--preload``. A thread of the monitor's is then one
    of theirs, and where it waited as Python's do, nothing else of its process would run."""
    now = _of_threads()
    if now == _imported:
        return
    imported, package = dict(_imported), __name__.partition(".")[0]
    _imported.update(now)
    for path, module in [*sys.modules.items()]:
        if path.partition(".")[0] == package:
            for name, each in imported.items():
                if vars(module).get(name) is each:
                    setattr(module, name, now[name])


class TimedValue(Generic[Value]):
    """A value that is used for some seconds. Other threads wait while one reads it."""

    def __init__(self) -> None:
        self._made: dict[int, Lock] = {}
        self._kept: tuple[float, Value] | None = None

    @property
    def _lock(self) -> Lock:
        # Made when it is first needed, after :func:`follow_patches`: greenlets read under it.
        return self._made[0] if self._made else self._made.setdefault(0, new_lock())

    def get(self, read: Callable[[], Value], seconds: float) -> Value:
        """The value, at most ``seconds`` old; else what ``read`` returns. Raises what ``read``
        raises; then the next use reads again."""
        with self._lock:
            if self._kept is None or time.monotonic() >= self._kept[0] + seconds:
                value = read()
                # After reading, which may take longer than the value is good for.
                self._kept = time.monotonic(), value
            return self._kept[1]


class TimedValues(Generic[Value]):
    """Such values by key: the ``most`` that were used last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = new_lock()
        self._values: OrderedDict[Hashable, TimedValue[Value]] = OrderedDict()

    def get(self, key: Hashable, read: Callable[[], Value], seconds: float) -> Value:
        """The value of ``key``, at most ``seconds`` old; see :meth:`TimedValue.get`."""
        with self._lock:
            value = self._values.setdefault(key, TimedValue())
            self._values.move_to_end(key)
            while len(self._values) > self._most:
                self._values.popitem(last=False)
        return value.get(read, seconds)

    def clear(self) -> None:
        with self._lock:
            self._values.clear()


def call_in_forked_children(reset: Callable[[], None]) -> None:
    """Let every child of this process call ``reset`` when it begins: with free locks, and in the
    order of the calls of this function."""
    _jobs.append(reset)


def reset_after_fork() -> None:
    """Reset the state in a child of which Python does not know: uWSGI forks in C. Of several
    threads that call it the first one does it."""
    if _reset_by.setdefault(os.getpid(), get_ident()) == get_ident():
        _reset()


@contextmanager
def importing() -> Iterator[None]:
    """Keep other threads from forking while this one imports: in the child nobody would complete
    the import, or release its lock."""
    me, ends = get_ident(), time.monotonic() + _MOST_WAITING
    _importing.add(me)
    while _forking and time.monotonic() < ends:
        # A fork comes first, so that not both wait.
        _importing.discard(me)
        time.sleep(0.001)  # no lock: a fork would copy it, a signal leave it held
        _importing.add(me)
    try:
        yield
    finally:
        _importing.discard(me)


def _before_fork() -> None:
    me, ends = get_ident(), time.monotonic() + _MOST_WAITING
    _forking.add(me)
    while _importing - {me} and time.monotonic() < ends:
        time.sleep(0.001)  # no lock: a fork would copy it, a signal leave it held


def _after_fork() -> None:
    _forking.discard(get_ident())


def _reset() -> None:
    _forking.clear()
    _importing.clear()
    _reset_by[os.getpid()] = get_ident()
    for process in [*_reset_by]:
        if process != os.getpid():
            # Another process may get its number.
            del _reset_by[process]
    for each in [*_locks]:
        lock = each()
        if lock is not None:
            lock._at_fork_reinit()
    for job in _jobs:
        job()


# Windows has no forks.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_reset)


THREAD_NAME = "cache-monitor"
"""The name of the worker's thread; the names of the monitor's other threads begin with it."""


def start(run: Callable[[], None], name: str, failed: Callable[[Exception], None]) -> None:
    """Run ``run`` in a daemon thread. ``failed`` gets the error where that fails later.

    A signal's handler that raises within ``Thread.start`` leaves locks taken that every new thread
    needs. Handlers run in the main thread only. So this thread starts a bare one in a single step,
    and that one starts the other.

    Raises ``RuntimeError`` where no thread can start, as in a program that ends.
    """
    _thread.start_new_thread(_start, (run, name, failed))


def is_too_late(error: Exception) -> bool:
    """Whether no thread could start because the program ends."""
    return isinstance(error, RuntimeError) and "shutdown" in str(error)


def _start(run: Callable[[], None], name: str, failed: Callable[[Exception], None]) -> None:
    try:
        Thread(target=run, name=name, daemon=True).start()
    except RuntimeError:
        # The program ends, where Python 3.12 and later start no thread: this one does the work.
        run()
    except Exception as error:
        failed(error)


Item = TypeVar("Item")

STEP_SECONDS = 0.002
"""Of computing between two pauses. Only one thread of a process computes at a time; another one
waits for the end of such a step."""
_ITEMS_A_CHECK = 100
"""Items of a collection between two readings of the clock."""


class OutOfTime(Exception):
    """The allowed time has been used, or the process ends."""


CPU_SHARE = 0.5
"""Of a core that background work takes: the threads of the site compute in between."""


class Pace:
    """Called often by a background computation: pauses, so that the thread uses at most ``share``
    of a core. It does not pause while the work ``is_urgent``. Call it without holding a lock."""

    def __init__(
        self, share: float = CPU_SHARE, is_urgent: Callable[[], bool] = lambda: False
    ) -> None:
        self._pauses = 1 / share - 1
        self._is_urgent = is_urgent
        self._paused = time.thread_time()

    def __call__(self) -> None:
        """Pause, if it is time to."""
        used = time.thread_time() - self._paused
        if used < STEP_SECONDS:
            return
        self._check()
        if not self._is_urgent():
            time.sleep(used * self._pauses)  # the site's threads compute meanwhile
        # A greenlet's thread computes for others meanwhile.
        self._paused = time.thread_time()

    def _check(self) -> None:
        """Raises :class:`OutOfTime` where the computation must end."""


class BoundedPace(Pace):
    """Such a pace, which raises :class:`OutOfTime` after ``seconds`` of this thread's CPU time, or
    where ``is_over``."""

    def __init__(self, seconds: float, share: float, is_over: Callable[[], bool]) -> None:
        super().__init__(share)
        self._most = seconds
        self._is_over = is_over
        self._began = time.thread_time()

    def _check(self) -> None:
        if self.used > self._most or self._is_over():
            raise OutOfTime

    @property
    def used(self) -> float:
        return time.thread_time() - self._began


def no_pause() -> None:
    """The pace of a computation for which somebody waits."""


class Paced(Generic[Item], Collection[Item]):
    """The same items; iterating over them keeps to a pace, which is asked before every
    ``step``-th."""

    def __init__(
        self, items: Collection[Item], pace: Callable[[], None], step: int = _ITEMS_A_CHECK
    ) -> None:
        self._items = items
        self._pace = pace
        self._step = step

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def only(self, wanted: Callable[[Item], bool]) -> "Paced[Item]":
        """The ``wanted`` items, at the same pace."""
        return Paced([each for each in self if wanted(each)], self._pace, self._step)

    def __iter__(self) -> Iterator[Item]:
        for place, item in enumerate(self._items):
            if place % self._step == 0:
                self._pace()
            yield item
