"""What a site asked of a cache, taken from the trace, whatever the cache answered.

For our own simulations (:func:`demands`): a lookup that missed and the write that filled it are one
thing, since another cache might have hit and the write would not have been made. A lookup that hit
might miss, and would be filled if others of its group were. What the site writes, deletes and
clears without a miss before it, it does anyway.

For other simulators (:func:`requests`): one request after the other, without weights, which these
do not know. If a sample of the keys is traced, the hottest, which are traced besides, count like
any other key.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from operator import attrgetter
from typing import NamedTuple

from cache_monitor.trace.codec import Stored
from cache_monitor.trace.events import (
    CLEAR,
    DELETE,
    HIT,
    MISS,
    MOVE,
    NEVER,
    SECOND,
    SWEEP,
    TOUCH,
    UNTOLD,
    WRITE,
    Event,
    Version,
    level_of,
    moments,
)
from cache_monitor.trace.models.base import Access

FILLED_WITHIN = 60 * SECOND
"""A write so long after a miss is not taken for its filling any more."""
_A_WHILE = SECOND // 20
"""How long a run of hits is at least in which others may have come between."""
_MOSTLY = 0.5
_REMOVING = frozenset({DELETE, SWEEP, MOVE})
"""A ``SWEEP`` of one key is its delete where the backend does not say whether it was there."""


class Demand(NamedTuple):
    """One thing that the site wanted. ``fills`` is whether it writes the key where a lookup misses;
    ``group`` is the group of the key. ``times`` are lookups within a moment. What is not
    ``counted`` found an entry of which nothing was seen before: whether another cache would have
    had it, nobody knows; or it was asked of another alias. ``bytes`` are the value's, 0 where
    nobody knows."""

    kind: str
    access: Access
    fills: bool = False
    group: str = ""
    times: int = 1
    counted: bool = True
    bytes: int = 0


class _AnsweredLookup(NamedTuple):
    """A lookup as it was: whether it hit, and, once it is known, how long its filling lasted."""

    place: int
    at: int


def demands(events: Iterable[Event], group_of: dict[int, str], alias: str = "") -> list[Demand]:
    """What the site asked, in the order of time. ``group_of`` has the groups by keys' hashes. Only
    lookups through ``alias`` count, if one is given."""
    return _Reading(group_of, alias).read(sorted(events, key=lambda each: each.began))


class _Reading:
    """What is known so far while events are read."""

    def __init__(self, group_of: dict[int, str], alias: str) -> None:
        self._group_of = group_of
        self._alias = alias
        self._made: list[Demand] = []
        self._missed: dict[tuple[int, object], _AnsweredLookup] = {}
        self._lasts: dict[tuple[int, object], float] = {}
        self._usual: dict[str, float] = {}
        self._moved: tuple[int, int] | None = None
        """The key that has just got another version, which is told of next."""
        self._filled: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        self._seen: set[tuple[int, object]] = set()

    def read(self, events: Sequence[Event]) -> list[Demand]:
        """Read all ``events``."""
        for event in events:
            self._take(event)
        return list(self._finished())

    def _take(self, event: Event) -> None:
        entry, kind = (event.key, event.form.version), event.form.kind
        if kind == HIT:
            self._hit(event, entry)
        elif kind == MISS:
            self._missed[entry] = _AnsweredLookup(len(self._made), event.began)
            self._note(LOOK_UP, event, entry, event.began)
        elif kind == WRITE:
            self._write(event, entry)
        elif kind == CLEAR:
            self._note(EMPTY, event, entry, event.began)
        else:
            self._change(event, entry)

    def _hit(self, event: Event, entry: tuple[int, object]) -> None:
        """Of a run of hits it is known when the first was and the last."""
        is_run = event.times > 1 and event.ended - event.began >= _A_WHILE
        first = event._replace(times=event.times - 1) if is_run else event
        self._note(LOOK_UP, first, entry, event.began, was_hit=True)
        if is_run:
            self._note(LOOK_UP, event._replace(times=1), entry, event.ended, was_hit=True)

    def _change(self, event: Event, entry: tuple[int, object]) -> None:
        kind = event.form.kind
        if kind == TOUCH:
            is_moved = self._moved == (event.key, event.began)
            self._note(PUT if is_moved else RENEW, event, entry, event.began, _lasts(event))
        elif kind in _REMOVING:
            if kind == MOVE:
                self._moved = event.key, event.began
            self._note(REMOVE, event, entry, event.began)

    def _write(self, event: Event, entry: tuple[int, object]) -> None:
        lasts = _lasts(event)
        missed = self._missed.pop(entry, None)
        self._lasts[entry] = lasts
        group = self._group_of.get(event.key, "")
        self._usual.setdefault(group, lasts)
        if missed is not None and event.began - missed.at <= FILLED_WITHIN:
            asked = self._made[missed.place]
            filled = asked.access._replace(lasts=lasts)
            size = event.size or asked.bytes
            self._made[missed.place] = asked._replace(access=filled, fills=True, bytes=size)
            self._filled[group][1] += 1
        else:
            self._note(PUT, event, entry, event.began, lasts)

    def _note(
        self,
        kind: str,
        event: Event,
        entry: tuple[int, object],
        at: int,
        lasts: float | None = None,
        *,
        was_hit: bool = False,
    ) -> None:
        group = self._group_of.get(event.key, "")
        if kind == LOOK_UP and not was_hit:
            self._filled[group][0] += 1
        known = self._lasts.get(entry, -1.0) if lasts is None else lasts
        access = Access(entry, at / SECOND, known, 1.0, float(event.weight))
        is_meant = not self._alias or event.form.alias == self._alias
        is_known = is_meant and (not was_hit or entry in self._seen)
        self._seen.add(entry)
        # Of a hit it is decided at the end whether a miss would be filled.
        times = event.times if was_hit else 1
        self._made.append(Demand(kind, access, was_hit, group, times, is_known, event.size))

    def _finished(self) -> Iterator[Demand]:
        fills = {
            group: misses == 0 or filled / misses >= _MOSTLY
            for group, (misses, filled) in self._filled.items()
        }
        # Between the hits of a run there may have been others.
        for each in sorted(self._made, key=lambda made: made.access.at):
            access = each.access
            if access.lasts < 0:
                access = access._replace(lasts=self._usual.get(each.group, inf))
            yield each._replace(access=access, fills=each.fills and fills.get(each.group, True))


def _lasts(event: Event) -> float:
    lasts = event.form.lasts
    return inf if lasts in {NEVER, UNTOLD} else lasts / SECOND


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
