"""Subscribers are called with each recorded call after it was counted: the call log, OpenTelemetry.

They are called in the draining thread, never on the site's path. If one is slow, calls wait up to a
limit; further calls are dropped and counted.
"""

from collections import deque
from collections.abc import Sequence

from cache_monitor.calls import RawCall, Recorded, whole
from cache_monitor.concurrency import call_in_forked_children, new_lock
from cache_monitor.page_cache.outcomes import PagePass
from cache_monitor.recorder import recorder
from cache_monitor.trace.state import ClassifiedMiss

MOST_WAITING = 50_000
"""Calls that wait for the subscribers: some 15 MB."""


class Subscriber:
    """Overrides the methods for what it wants to know."""

    def is_active(self) -> bool:
        """Whether it wants anything now; asked for every batch, so it must be quick."""
        return True

    def on_calls(self, calls: Sequence[RawCall], clock_offset: float) -> None:
        """Called with the calls in order; ``clock_offset`` added to their times gives Unix time."""

    def on_reasons(self, misses: Sequence[ClassifiedMiss]) -> None:
        """Called with classified misses of all processes, each in one process."""

    def on_pages(self, passes: Sequence[PagePass]) -> None:
        """Called with passes through Django's page cache."""

    def on_dropped(self, number: int) -> None:
        """Called with the number of calls that were dropped."""


class Subscribers:
    """Keeps calls from the threads that count them until the draining thread passes them on."""

    def __init__(self) -> None:
        self._subscribers: tuple[Subscriber, ...] = ()
        self._lock = new_lock()
        self.reset()

    def reset(self) -> None:
        """Drop what waits: in a forked child it is the parent's."""
        self._calls: deque[tuple[Sequence[RawCall], float]] = deque()
        self._misses: list[ClassifiedMiss] = []
        self._passes: deque[PagePass] = deque(maxlen=MOST_WAITING)
        self._waiting = 0
        self._dropped = 0

    def add(self, subscriber: Subscriber) -> None:
        """Add a subscriber, if it is not there yet."""
        if not any(each is subscriber for each in self._subscribers):
            self._subscribers = (*self._subscribers, subscriber)

    def remove(self, subscriber: Subscriber) -> None:
        self._subscribers = tuple(each for each in self._subscribers if each is not subscriber)

    def _is_any_active(self) -> bool:
        return any(each.is_active() for each in self._subscribers)

    def add_calls(self, calls: Sequence[Recorded], clock_offset: float) -> None:
        """Keep ``calls``. Quick, and never raises: a thread of the site's may call it."""
        if not calls or not self._is_any_active():
            return
        with self._lock:
            if self._waiting + len(calls) > MOST_WAITING:
                self._dropped += len(calls)
            else:
                self._waiting += len(calls)
                self._calls.append(([*map(whole, calls)], clock_offset))

    def add_pages(self, passes: Sequence[PagePass]) -> None:
        if passes and self._is_any_active():
            with self._lock:
                self._passes.extend(passes)

    def add_reasons(self, misses: Sequence[ClassifiedMiss]) -> None:
        if misses and self._is_any_active():
            with self._lock:
                self._misses = [*self._misses[-MOST_WAITING:], *misses]

    def notify(self) -> None:
        """Call the subscribers with all that waits. Only for the draining thread."""
        if not self._subscribers:
            return
        with self._lock:
            batches, self._calls = self._calls, deque()
            misses, self._misses = self._misses, []
            passes, self._passes = self._passes, deque(maxlen=MOST_WAITING)
            dropped, self._dropped = self._dropped, 0
            self._waiting = 0
        for subscriber in self._subscribers:
            try:
                for calls, clock_offset in batches:
                    subscriber.on_calls(calls, clock_offset)
                if misses:
                    subscriber.on_reasons(misses)
                if passes:
                    subscriber.on_pages(passes)
                if dropped:
                    subscriber.on_dropped(dropped)
            except Exception as error:
                recorder.failed(error)


subscribers = Subscribers()
call_in_forked_children(subscribers.reset)
