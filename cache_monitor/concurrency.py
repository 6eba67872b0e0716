"""Locks, threads and what a forked child has to begin anew: the one list of it.

A child has one thread of its parent's, and a copy of all else: locks that the others held, which
nobody will release, and calls and connections that are the parent's. So every lock of the package
is made here, and whoever keeps something that is a process's own has it begun anew from here.
"""

import _thread
import os
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
_begun: dict[int, int] = {os.getpid(): get_ident()}
"""Which thread has begun anew in which process."""
_forking: set[int] = set()
_importing: set[int] = set()
"""The threads that do so just now."""
_PATIENCE = 1.0
"""Seconds that either waits for the other at most: an import takes a tenth of one, a fork less."""


def new_lock() -> Lock:
    """A lock that is free in every forked child.

    To be held by ``with`` alone, which a signal's handler that raises cannot leave it held by: that
    may come between any call of ``acquire`` and the ``try`` behind it.
    """
    lock = Lock()
    _note(lock)
    return lock


def new_rlock() -> RLock:
    """Likewise, for one that a signal's handler may want while its own thread holds it."""
    lock = RLock()
    _note(lock)
    return lock


def _note(lock: Any) -> None:
    # Taken out again by the set's own method, in one step, when nobody has the lock any more.
    _locks.add(ref(lock, _locks.discard))


class TimedValue(Generic[Value]):
    """A value that is used for some seconds. Whoever asks while it is read waits for it."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._kept: tuple[float, Value] | None = None

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
    """The same by key: the ``most`` values that were asked for last."""

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
        """Forget all values."""
        with self._lock:
            self._values.clear()


def call_in_forked_children(begin_anew: Callable[[], None]) -> None:
    """Let every child of this process call ``begin_anew`` when it begins, with free locks and in
    the order in which this was asked for."""
    _jobs.append(begin_anew)


def begin_anew() -> None:
    """Begin anew in a forked child. Whoever finds that Python was not told of the fork (uWSGI forks
    in C) calls it, and of several threads that do the first one."""
    if _begun.setdefault(os.getpid(), get_ident()) == get_ident():
        _begin()


@contextmanager
def importing() -> Iterator[None]:
    """Import in a thread of the monitor's what few processes need: other threads that fork wait
    till that is done. In a child of theirs nobody would go on with half an import, nor give its
    lock back."""
    me, ends = get_ident(), time.monotonic() + _PATIENCE
    _importing.add(me)
    while _forking and time.monotonic() < ends:
        # Not both wait: who forks comes first.
        _importing.discard(me)
        time.sleep(0.001)  # no lock: a fork would copy it, a signal leave it held
        _importing.add(me)
    try:
        yield
    finally:
        _importing.discard(me)


def _before_fork() -> None:
    me, ends = get_ident(), time.monotonic() + _PATIENCE
    _forking.add(me)
    while _importing - {me} and time.monotonic() < ends:
        time.sleep(0.001)  # no lock: a fork would copy it, a signal leave it held


def _after_fork() -> None:
    _forking.discard(get_ident())


def _begin() -> None:
    _forking.clear()
    _importing.clear()
    _begun[os.getpid()] = get_ident()
    for process in [*_begun]:
        if process != os.getpid():
            # Its number may be given to another one.
            del _begun[process]
    for each in [*_locks]:
        lock = each()
        if lock is not None:
            lock._at_fork_reinit()
    for job in _jobs:
        job()


# A system without forks, such as Windows, has nothing to begin anew.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_begin)


THREAD_NAME = "cache-monitor"
"""The name of the thread that counts and delivers; those of the others begin with it."""


def start(run: Callable[[], None], name: str, failed: Callable[[Exception], None]) -> None:
    """Let ``run`` run in a daemon thread. ``failed`` is told where there is none to be had by then.

    What a signal's handler raises in the midst of ``Thread.start`` leaves locks held that every
    thread needs to begin. Such handlers run in the main thread alone; so that one begins a bare
    thread, which is one step, and that one begins the other.

    Raises ``RuntimeError`` where there are no more threads, as in a program that ends.
    """
    _thread.start_new_thread(_start, (run, name, failed))


def is_too_late(error: Exception) -> bool:
    """Whether none could begin since the program ends, which is nobody's fault."""
    return isinstance(error, RuntimeError) and "shutdown" in str(error)


def _start(run: Callable[[], None], name: str, failed: Callable[[Exception], None]) -> None:
    try:
        Thread(target=run, name=name, daemon=True).start()
    except RuntimeError:
        # There was one more thread to be had and no second one: from Python 3.12 on none begins in
        # a program that ends, which may be what this one was begun for.
        run()
    except Exception as error:
        failed(error)


Item = TypeVar("Item")

STEP_SECONDS = 0.002
"""Of work between two pauses. Only one thread of a process computes at a time, and another that
wants to waits for the end of such a step."""
_BETWEEN = 100
"""Items of a collection between two looks at the clock."""


class OutOfTime(Exception):
    """What was allowed has been used up, or the process ends."""


class Pace:
    """Called now and then by the thread that computes: pauses so that this takes ``share`` of a
    core at most.

    It raises :class:`OutOfTime` after ``seconds`` of computing, or where ``is_over``. A computation
    of other processes takes none of it: it is this thread's time that counts.
    """

    def __init__(self, seconds: float, share: float, is_over: Callable[[], bool]) -> None:
        self._most = seconds
        self._pauses = 1 / share - 1
        self._is_over = is_over
        self._began = self._paused = time.thread_time()

    def __call__(self) -> None:
        """Pause, if it is time to."""
        now = time.thread_time()
        if now - self._paused < STEP_SECONDS:
            return
        if now - self._began > self._most or self._is_over():
            raise OutOfTime
        # Of the thread that computes beside the site, never of one that serves it.
        time.sleep((now - self._paused) * self._pauses)
        self._paused = now

    @property
    def used(self) -> float:
        """Seconds of computing so far."""
        return time.thread_time() - self._began


class Paced(Generic[Item], Collection[Item]):
    """The same items, whoever goes through which keeps to a pace."""

    def __init__(self, items: Collection[Item], pace: Callable[[], None]) -> None:
        self._items = items
        self._pace = pace

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def only(self, wanted: Callable[[Item], bool]) -> "Paced[Item]":
        """Those that are ``wanted``, at the same pace."""
        return Paced([each for each in self if wanted(each)], self._pace)

    def __iter__(self) -> Iterator[Item]:
        for place, item in enumerate(self._items):
            if place % _BETWEEN == 0:
                self._pace()
            yield item
