"""Who follows the calls one by one after they were counted: a log, a tracer.

They are called from the draining thread, never on the site's path, and only they are late where
they are slow: calls wait for them up to a limit, and are then passed over and counted.
"""

from collections import deque
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from cache_monitor.calls import RawCall, Recorded, whole
from cache_monitor.concurrency import call_in_forked_children, new_lock
from cache_monitor.page_cache.outcomes import PagePass
from cache_monitor.recorder import recorder
from cache_monitor.trace.state import ClassifiedMiss

MOST_WAITING = 50_000
"""Calls that wait for the followers, 15 MB or so."""


class Subscriber(Protocol):
    """Hears of every call, some time after it."""

    def wants(self) -> bool:
        """Whether it wants to hear of calls now; asked for every batch, thus quick."""

    def follow(self, calls: Sequence[RawCall], clock_offset: float) -> None:
        """Take note of ``calls``; ``clock_offset`` makes Unix time of their clock's readings."""

    def learn(self, judged: Sequence[ClassifiedMiss]) -> None:
        """Take note of why lookups missed, in whichever process: each is told in one of them."""

    def settle(self, now: float, missed: int) -> None:
        """Finish what has waited long enough at ``now`` (Unix time), infinite at the end;
        ``missed`` calls were passed over."""


@runtime_checkable
class PageSubscriber(Protocol):
    """A follower that hears of pages as well."""

    def log_pages(self, passes: Sequence[PagePass]) -> None:
        """Take note of what came of passes through Django's page cache."""


class Subscribers:
    """Passes calls on from those who drain to those who follow."""

    def __init__(self) -> None:
        self._subscribers: tuple[Subscriber, ...] = ()
        self._lock = new_lock()
        self.forget()

    def forget(self) -> None:
        """Begin anew in a forked child: the calls that wait are the parent's."""
        self._calls: deque[tuple[Sequence[RawCall], float]] = deque()
        self._judged: list[ClassifiedMiss] = []
        self._passes: deque[PagePass] = deque(maxlen=MOST_WAITING)
        self._waiting = 0
        self._missed = 0

    def add(self, subscriber: Subscriber) -> None:
        """Let ``follower`` hear of the calls from now on. Idempotent."""
        if not any(each is subscriber for each in self._subscribers):
            self._subscribers = (*self._subscribers, subscriber)

    def remove(self, subscriber: Subscriber) -> None:
        """Let ``follower`` hear no more."""
        self._subscribers = tuple(each for each in self._subscribers if each is not subscriber)

    def hear(self, calls: Sequence[Recorded], clock_offset: float) -> None:
        """Put ``calls`` aside. Quick, and never raises: a thread of the site's may do it."""
        if not calls or not any(each.wants() for each in self._subscribers):
            return
        with self._lock:
            if self._waiting + len(calls) > MOST_WAITING:
                self._missed += len(calls)
            else:
                self._waiting += len(calls)
                self._calls.append(([*map(whole, calls)], clock_offset))

    def hear_pages(self, passes: Sequence[PagePass]) -> None:
        """Put ``passes`` aside."""
        if passes and any(each.wants() for each in self._subscribers):
            with self._lock:
                self._passes.extend(passes)

    def learn(self, judged: Sequence[ClassifiedMiss]) -> None:
        """Put reasons of misses aside."""
        if judged and any(each.wants() for each in self._subscribers):
            with self._lock:
                self._judged = [*self._judged[-MOST_WAITING:], *judged]

    def work(self, now: float) -> None:
        """Pass on what was put aside. Only the draining thread does this."""
        if not self._subscribers:
            return
        with self._lock:
            batches, self._calls = self._calls, deque()
            judged, self._judged = self._judged, []
            passes, self._passes = self._passes, deque(maxlen=MOST_WAITING)
            missed, self._missed = self._missed, 0
            self._waiting = 0
        for subscriber in self._subscribers:
            try:
                for calls, clock_offset in batches:
                    subscriber.follow(calls, clock_offset)
                if judged:
                    subscriber.learn(judged)
                if passes and isinstance(subscriber, PageSubscriber):
                    subscriber.log_pages(passes)
                subscriber.settle(now, missed)
            except Exception as error:
                recorder.failed(error)


subscribers = Subscribers()
# What waits in a forked child is the parent's.
call_in_forked_children(subscribers.forget)
