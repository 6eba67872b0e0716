"""The changes of one version of one key, and why a lookup of it missed.

A call takes effect somewhere between its beginning and its end, and the clocks of hosts differ. So
of two calls close together either may have come first. The reason of a miss is found among all
changes that may have been the last before it. Changes that left the entry there explain nothing. If
the others agree, that is the reason; if they do not, the reason is unknown.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from cache_monitor.stats.lifetimes import Cause
from cache_monitor.trace.events import (
    CLEAR,
    COMPUTE,
    DELETE,
    FAILED,
    HIT,
    MOVE,
    NEVER,
    REFUSED,
    SECOND,
    SWEEP,
    TOUCH,
    UNTOLD,
    WRITE,
    EvictionReading,
    Reason,
)
from cache_monitor.trace.plan import is_one_server

HOST_TOLERANCE = SECOND // 10_000
"""By how much two processes of one host may differ in their reading of its clock."""
EXPIRY_TOLERANCE = SECOND
"""How long before its expiry an entry may be gone: memcached's clock ticks in whole seconds."""
LONGEST = 60 * SECOND
"""A call of more is taken to have begun so long before its end."""
_MOST_NEAR = 64
"""Events near a miss that are looked at; where there are more the reason is unknown."""

_MOST_RIVALS = 4

GONE = "gone"
"""For a miss of an entry that should be there."""
_REASONS: dict[int, Reason] = {
    DELETE: "deleted",
    SWEEP: "deleted",
    CLEAR: "cleared",
    MOVE: "version_changed",
    FAILED: "unknown",
    COMPUTE: "unknown",
}
THERE = frozenset({WRITE, TOUCH, HIT})
_SWEEPS = frozenset({CLEAR, SWEEP})


class EntryChange(NamedTuple):
    """Something that changed an entry. A ``HIT`` stands for a write that is not on record, but
    must have been: the entry was found. ``written`` is when the value came to be, ``UNTOLD`` where
    that is not known. ``expires`` is a time, ``NEVER`` or ``UNTOLD``."""

    ended: int
    began: int
    kind: int
    expires: int = NEVER
    written: int = UNTOLD
    process: int = 0
    host: int = 0
    order: int = 0


class TracedLookup(NamedTuple):
    """A lookup: of several hits, from the beginning of the first to the end of the last."""

    began: int
    ended: int
    process: int
    host: int
    order: int


BEFORE, UNSURE, AFTER = -1, 0, 1


def relation(one: EntryChange, other: EntryChange | TracedLookup, tolerance: int) -> int:
    """Whether ``one`` took effect before ``other``, after it, or perhaps either."""
    if one.process == other.process and one.process:
        if one.ended <= other.began and one.order <= other.order:
            return BEFORE
        return AFTER if one.began >= other.ended and one.order >= other.order else UNSURE
    if one.host == other.host and one.host:
        tolerance = HOST_TOLERANCE
    if one.ended + tolerance <= other.began:
        return BEFORE
    return AFTER if one.began - tolerance >= other.ended else UNSURE


class Positions(NamedTuple):
    """Which changes may have been the last before a lookup. The first ``before`` of them surely
    were before it: where there are none, it may be that none had taken effect."""

    last: Sequence[EntryChange]
    before: int
    known: bool = True
    """Whether these are all."""

    def written(self) -> int | None:
        """When the value came to be that the lookup found; None where that is not known."""
        if len(self.last) != 1 or not (self.before and self.known):
            return None
        [change] = self.last
        is_there = change.kind in THERE and change.written != UNTOLD
        return change.written if is_there else None


class VersionHistory:
    """The changes of one version, in the order of their ends. ``complete`` says that there were no
    others before; otherwise nothing is known of what was before the first."""

    def __init__(self, changes: Iterable[EntryChange], complete: bool, tolerance: int) -> None:
        self.changes = sorted(changes)
        self.complete = complete
        self._tolerance = tolerance
        self._widest = max(tolerance, HOST_TOLERANCE)
        self._ends = [each.ended for each in self.changes]
        spans = [each.ended - each.began for each in self.changes]
        self._longest = min(max(spans, default=0), LONGEST)

    def latest(self, before: int) -> list[EntryChange]:
        """Of the first ``before`` changes the last one, and those that may have come after it."""
        if not before:
            return []
        last = self.changes[before - 1]
        rivals = [
            each
            for each in self.changes[max(before - _MOST_NEAR, 0) : before - 1]
            if relation(each, last, self._tolerance) == UNSURE
        ]
        return [self._settled(each) for each in (*rivals[-_MOST_RIVALS:], last)]

    def _settled(self, change: EntryChange) -> EntryChange:
        """``change`` in a form that can do without those before it."""
        if change.kind in _SWEEPS and self._reasons_before(change) - {_REASONS[change.kind]}:
            return change._replace(kind=COMPUTE)
        return change

    def insert(self, change: EntryChange) -> None:
        """Put in one more."""
        self.__init__([*self.changes, change], self.complete, self._tolerance)  # type: ignore[misc]

    def positions(self, asked: TracedLookup) -> Positions:
        """Which changes may have been the last before ``asked``."""
        changes, ends = self.changes, self._ends
        first = bisect_left(ends, asked.began - self._widest)
        last = changes[first - 1] if first else None
        unsure: list[EntryChange] = []
        latest = asked.ended + self._widest + self._longest
        for place in range(first, min(first + _MOST_NEAR, len(changes))):
            change = changes[place]
            if change.ended > latest:
                break
            order = relation(change, asked, self._tolerance)
            if order == BEFORE:
                last = change
            elif order == UNSURE:
                unsure.append(change)
        else:
            if first + _MOST_NEAR < len(changes):
                return Positions((), 0, known=False)
        if last is None:
            return Positions(unsure, 0)
        before = [last, *self._rivals(last, asked)]
        return Positions([*before, *unsure], len(before))

    def _rivals(self, last: EntryChange, asked: TracedLookup) -> list[EntryChange]:
        """The changes that may in fact have come after ``last``, all of them before ``asked``."""
        found = []
        place = bisect_left(self._ends, last.began - self._widest)
        for change in self.changes[place : place + _MOST_NEAR]:
            if change.ended > asked.began + self._widest:
                break
            if (
                change is not last
                and relation(change, last, self._tolerance) == UNSURE
                and relation(change, asked, self._tolerance) == BEFORE
            ):
                found.append(change)
        return found

    def reasons(self, asked: TracedLookup) -> set[str]:
        """The reasons that ``asked`` may have missed for: ``GONE`` where the entry should be
        there, "never_set" where there is nothing on record."""
        last, before, known = self.positions(asked)
        sure = before > 0
        if not known:
            return {"unknown"}
        found = {reason_of(change, asked) for change in last}
        if not sure:
            found.add("never_set" if self.complete else "unknown")
        elif len(found) > 1 and GONE in {reason_of(change, asked) for change in last[:before]}:
            # It may have gone long before what was at the same time as the lookup.
            found.add("unknown")
        for change in last:
            if change.kind in _SWEEPS:
                found |= self._reasons_before(change)
        return found

    def _reasons_before(self, sweep: EntryChange) -> set[str]:
        """The reasons for which an entry may have been missing already when ``sweep`` came."""
        if not sweep.process:
            return set()  # settled before it was carried on
        asked = TracedLookup(sweep.began, sweep.ended, sweep.process, sweep.host, sweep.order)
        last, before, _ = self.positions(asked)
        found = {
            reason_of(change, asked)
            for change in last
            if change != sweep and change.kind not in THERE
        }
        for change in last:
            if change.kind in _SWEEPS and change < sweep:
                found |= self._reasons_before(change)
        if not before:
            found.add("never_set" if self.complete else "unknown")
        return found

    def there(self, asked: TracedLookup) -> bool | None:
        """Whether the entry was there at the time of ``asked``; None: perhaps."""
        last, sure, known = self.positions(asked)
        found = {_is_there(change, asked.ended) for change in last}
        if not sure:
            found.add(False if self.complete else None)
        return found.pop() if known and len(found) == 1 else None


def reason_of(change: EntryChange, asked: TracedLookup) -> str:
    """Why ``asked`` missed, if ``change`` was the last before it."""
    if change.kind not in THERE and change.kind != REFUSED:
        return _REASONS.get(change.kind, "unknown")
    if change.expires == UNTOLD:
        return "unknown"
    is_over = change.expires != NEVER and change.expires - EXPIRY_TOLERANCE <= asked.ended
    if change.kind == REFUSED:
        return "unknown" if is_over else "lost"  # by then it would have gone anyway
    return "expired" if is_over else GONE


def agreed(reasons: set[str]) -> str:
    """The one of ``reasons`` that a miss had: what explains it, if that is one thing."""
    explained = reasons - {GONE}
    if not explained:
        return GONE
    return explained.pop() if len(explained) == 1 else "unknown"


def _is_there(change: EntryChange, at: int) -> bool | None:
    if change.kind not in THERE:
        return None if change.kind in {FAILED, COMPUTE, REFUSED} else False
    if change.expires == UNTOLD:
        return None
    return change.expires == NEVER or change.expires > at


def why_gone(since: int, until: int, readings: Sequence[EvictionReading]) -> Reason | None:
    """Why an entry that was there at ``since`` was not at ``until``, without a cause on record;
    None where a later reading is to tell. ``readings`` are ascending.

    Evicted takes evidence: a counter that rose meanwhile, or a backend that was full. That it was
    not is evidence too. Without either it is unknown.
    """
    if any(each.full and since <= each.at <= until for each in readings):
        return "evicted"
    found = _between(since, until, readings)
    if found is None:
        return None
    between, is_whole = found
    is_either = any(each.behind for each in between) and _rose(between)
    if is_either or not is_one_server(readings):
        return "unknown"
    is_full = any(each.full for each in between)
    if len({each.boot for each in between} - {""}) > 1:
        # It went down meanwhile, and what it held with it.
        return "unknown" if is_full or _rose(between) else "lost"
    is_counted = all(each.evictions is not None for each in between)
    if (is_counted and _rose(between)) or is_full:
        return "evicted"
    is_told = is_counted or all(each.full is False for each in between)
    return "lost" if is_told and (is_whole or between[-1].evictions == 0) else "unknown"


class LossCause(NamedTuple):
    """What took an entry away that was lost, and when that was first seen."""

    what: Cause
    at: int


def cause_of(since: int, until: int, readings: Sequence[EvictionReading]) -> LossCause | None:
    """What took an entry away that was lost between two moments: the backend began anew, or reads
    went to a replica that lagged. None where neither is known, or either may have been it."""
    between, _ = _between(since, until, readings) or ((), False)
    anew = (
        each.at for one, each in pairwise(between) if one.boot and each.boot not in {"", one.boot}
    )
    lagged = (each.at for each in between if each.behind)
    restarted_at, lagged_at = next(anew, None), next(lagged, None)
    if lagged_at is None:
        return None if restarted_at is None else LossCause("restart", restarted_at)
    return LossCause("replica", lagged_at) if restarted_at is None else None


def _between(
    since: int, until: int, readings: Sequence[EvictionReading]
) -> tuple[Sequence[EvictionReading], bool] | None:
    """The readings from one moment to the other, and whether there is one from before; None where
    there is none yet from after."""
    after = next((place for place, each in enumerate(readings) if each.at >= until), None)
    if after is None:
        return None
    first = next((place for place in range(after, -1, -1) if readings[place].at <= since), None)
    if first is not None:
        return readings[first : after + 1], True
    return [each for each in readings[: after + 1] if each.at >= since] or [readings[after]], False


def _rose(readings: Sequence[EvictionReading]) -> bool:
    """Whether a counter rose from one reading to the next, or from its start."""
    return any(
        (one.evictions or 0 if one.boot == other.boot else 0) < (other.evictions or 0)
        for one, other in pairwise(readings)
    )
