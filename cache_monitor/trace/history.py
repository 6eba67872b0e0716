"""What happened to one version of one key, and why a lookup of it missed.

Calls have a beginning and an end, and take effect somewhere between the two; the clocks of
different hosts differ. So of two calls that are closer together than that either may have come
first. A miss is judged by every event that may have been the last one before it. Those that leave
the entry there explain nothing; where the others agree, that is the reason, and where they do not,
it is unknown.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

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
    Reason,
)

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


class Change(NamedTuple):
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


class Asked(NamedTuple):
    """A lookup: of several hits, from the beginning of the first to the end of the last."""

    began: int
    ended: int
    process: int
    host: int
    order: int


BEFORE, UNSURE, AFTER = -1, 0, 1


def relation(one: Change, other: Change | Asked, tolerance: int) -> int:
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

    last: Sequence[Change]
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


class History:
    """The changes of one version, in the order of their ends. ``complete`` says that there were no
    others before; otherwise nothing is known of what was before the first."""

    def __init__(self, changes: Iterable[Change], complete: bool, tolerance: int) -> None:
        self.changes = sorted(changes)
        self.complete = complete
        self._tolerance = tolerance
        self._widest = max(tolerance, HOST_TOLERANCE)
        self._ends = [each.ended for each in self.changes]
        spans = [each.ended - each.began for each in self.changes]
        self._longest = min(max(spans, default=0), LONGEST)

    def latest(self, before: int) -> list[Change]:
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

    def _settled(self, change: Change) -> Change:
        """``change`` in a form that can do without those before it."""
        if change.kind in _SWEEPS and self._reasons_before(change) - {_REASONS[change.kind]}:
            return change._replace(kind=COMPUTE)
        return change

    def insert(self, change: Change) -> None:
        """Put in one more."""
        self.__init__([*self.changes, change], self.complete, self._tolerance)  # type: ignore[misc]

    def positions(self, asked: Asked) -> Positions:
        """Which changes may have been the last before ``asked``."""
        changes, ends = self.changes, self._ends
        first = bisect_left(ends, asked.began - self._widest)
        last = changes[first - 1] if first else None
        unsure: list[Change] = []
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

    def _rivals(self, last: Change, asked: Asked) -> list[Change]:
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

    def reasons(self, asked: Asked) -> set[str]:
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

    def _reasons_before(self, sweep: Change) -> set[str]:
        """The reasons for which an entry may have been missing already when ``sweep`` came."""
        if not sweep.process:
            return set()  # settled before it was carried on
        asked = Asked(sweep.began, sweep.ended, sweep.process, sweep.host, sweep.order)
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

    def there(self, asked: Asked) -> bool | None:
        """Whether the entry was there at the time of ``asked``; None: perhaps."""
        last, sure, known = self.positions(asked)
        found = {_is_there(change, asked.ended) for change in last}
        if not sure:
            found.add(False if self.complete else None)
        return found.pop() if known and len(found) == 1 else None


def reason_of(change: Change, asked: Asked) -> str:
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


def _is_there(change: Change, at: int) -> bool | None:
    if change.kind not in THERE:
        return None if change.kind in {FAILED, COMPUTE, REFUSED} else False
    if change.expires == UNTOLD:
        return None
    return change.expires == NEVER or change.expires > at
