"""What a site asked of a cache, request by request in the order of time, for other simulators.

Without weights, which these do not know: where a sample of the keys is traced the hottest, which
are traced besides, count like any other key.
"""

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

from cache_monitor.trace.events import (
    DELETE,
    HIT,
    MISS,
    MOVE,
    SECOND,
    SWEEP,
    TOUCH,
    WRITE,
    Event,
    Version,
    level_of,
    moments,
)
from cache_monitor.trace.slices import Stored

LOOK_UP, PUT, RENEW, REMOVE, EMPTY = "get", "set", "touch", "delete", "clear"

_OPERATIONS = {
    HIT: LOOK_UP,
    MISS: LOOK_UP,
    WRITE: PUT,
    TOUCH: RENEW,
    DELETE: REMOVE,
    SWEEP: REMOVE,
    MOVE: REMOVE,
}
_HELD_BACK = 60 * SECOND
"""How long a request waits for others that began before it: an event is kept where it ended."""

Entry = tuple[int, Version]
"""The hash of a key, and its version."""


class Request(NamedTuple):
    """One request. ``at`` is a time in microseconds; ``lasts`` as in
    :class:`~cache_monitor.trace.events.Form`; ``size`` are the bytes of the value about then, 0
    where they are not known."""

    at: int
    operation: str
    entry: Entry
    lasts: int
    process: int
    size: int = 0


class TracePeriod(NamedTuple):
    """From when until when, in microseconds, and the level at which keys are in."""

    since: int
    until: int
    level: int = 0


def lookups_of(part: Stored, period: TracePeriod) -> int:
    """How many lookups there were."""
    return sum(each.operation == LOOK_UP for each in _requests_of(part, period))


def requests(minutes: Iterable[Sequence[Stored]], period: TracePeriod) -> Iterator[Request]:
    """The requests of slices that follow on each other in time, minute after minute."""
    waiting: list[Request] = []
    for parts in minutes:
        waiting += [each for part in parts for each in _requests_of(part, period)]
        waiting.sort(key=_at)
        ready = max(part.start for part in parts) * SECOND - _HELD_BACK
        place = next((at for at, each in enumerate(waiting) if each.at >= ready), len(waiting))
        yield from waiting[:place]
        del waiting[:place]
    yield from waiting


_at = attrgetter("at")


def _requests_of(part: Stored, period: TracePeriod) -> Iterator[Request]:
    for event in part.events(part.traced(), frozenset()):
        operation = _OPERATIONS.get(event.form.kind)
        if operation is not None and level_of(event.key) >= period.level:
            yield from _within(_made_of(event, operation), period)
    for sweep in part.swept():
        if sweep.pattern is None:
            made = Request(sweep.began, EMPTY, (0, ""), 0, sweep.process)
            yield from _within([made], period)


def _made_of(event: Event, operation: str) -> Iterator[Request]:
    entry = event.key, event.form.version
    for at in moments(event):
        yield Request(at, operation, entry, event.form.lasts, event.process, event.size)


def _within(made: Iterable[Request], period: TracePeriod) -> Iterator[Request]:
    return (each for each in made if period.since <= each.at < period.until)
