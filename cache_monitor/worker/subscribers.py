"""Subscribers are called with each recorded call after it was counted: the call log, OpenTelemetry.

They are called in the draining thread, never on the site's path. If one is slow, calls wait up to a
limit; further calls are dropped and counted.
"""

from collections import deque
from collections.abc import Callable, Sequence

from cache_monitor.calls import RawCall, Recorded, recorder, whole
from cache_monitor.concurrency import new_lock
from cache_monitor.page_cache import PagePass
from cache_monitor.trace.state import ClassifiedMiss

MOST_WAITING = 50_000
"""Calls, passes and misses that wait for the subscribers: some 15 MB."""


class Subscriber:
    """Overrides the methods for what it wants to know."""

    def on_calls(self, calls: Sequence[RawCall], clock_offset: float) -> None:
        """Called with the calls in order; ``clock_offset`` added to their times gives Unix time."""

    def on_reasons(self, misses: Sequence[ClassifiedMiss]) -> None:
        """Called with classified misses of all processes, each in one process."""

    def on_pages(self, passes: Sequence[PagePass]) -> None:
        """Called with passes through Django's page cache."""

    def on_dropped(self, number: int) -> None:
        """Called with the number of calls that were dropped."""


_Event = Callable[[Subscriber], None]


class Subscribers:
    """Keeps calls from the threads that count them until the draining thread passes them on."""

    def __init__(self) -> None:
        self._subscribers: dict[Subscriber, Callable[[], bool]] = {}
        self._lock = new_lock()
        self.reset()

    def reset(self) -> None:
        """Drop what waits: in a forked child it is the parent's."""
        self._events: deque[_Event] = deque()
        self._waiting = self._dropped = 0

    def add(self, subscriber: Subscriber, is_active: Callable[[], bool] = lambda: True) -> None:
        """Add a subscriber, if it is not there yet. ``is_active`` says whether it wants anything
        now; asked for every batch, so it must be quick."""
        self._subscribers = {**self._subscribers, subscriber: is_active}

    def remove(self, subscriber: Subscriber) -> None:
        self._subscribers = {each: f for each, f in self._subscribers.items() if each != subscriber}

    def _active(self) -> list[Subscriber]:
        return [each for each, is_active in self._subscribers.items() if is_active()]

    def add_calls(self, calls: Sequence[Recorded], clock_offset: float) -> None:
        """Keep ``calls``. Quick, and never raises: a thread of the site's may call it."""
        if calls and self._active():
            kept = [*map(whole, calls)]
            if not self._keep(len(calls), lambda each: each.on_calls(kept, clock_offset)):
                with self._lock:
                    self._dropped += len(calls)

    def add_pages(self, passes: Sequence[PagePass]) -> None:
        if passes and self._active():
            self._keep(len(passes), lambda each: each.on_pages(passes))

    def add_reasons(self, misses: Sequence[ClassifiedMiss]) -> None:
        if misses and self._active():
            self._keep(len(misses), lambda each: each.on_reasons(misses))

    def _keep(self, number: int, event: _Event) -> bool:
        with self._lock:
            has_room = self._waiting + number <= MOST_WAITING
            if has_room:
                self._waiting += number
                self._events.append(event)
        return has_room

    def notify(self) -> None:
        """Call the subscribers with all that waits. Only for the draining thread."""
        active = self._active()
        with self._lock:
            events, dropped = self._events, self._dropped
            self.reset()
        for subscriber in active:
            try:
                for event in events:
                    event(subscriber)
                if dropped:
                    subscriber.on_dropped(dropped)
            except Exception as error:
                recorder.failed(error)


subscribers = Subscribers()
