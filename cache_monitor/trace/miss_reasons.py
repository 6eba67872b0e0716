"""The reasons of misses: their words, and how they are found in the changes of a key's version.

A call takes effect somewhere between its beginning and its end, and the clocks of hosts differ. So
of two calls close together either may have come first. The reason of a miss is found among all
changes that may have been the last before it. Changes that left the entry there explain nothing. If
the others agree, that is the reason; if they do not, the reason is unknown.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from msgspec import Struct, structs

from cache_monitor.stats.groups import Cause
from cache_monitor.trace import (
    CLEAR,
    COMPUTE,
    DELETE,
    FAILED,
    HIT,
    MOVE,
    NEVER,
    PATTERN_DELETE,
    REFUSED,
    SECOND,
    TOUCH,
    UNKNOWN_TIME,
    WRITE,
    BulkDelete,
    Event,
    EvictionReading,
    is_one_server,
)

Reason = Literal[
    "never_set",
    "expired",
    "evicted",
    "lost",
    "deleted",
    "cleared",
    "version_changed",
    "unknown",
]
"""``evicted``: gone without a cause on record, and the backend evicted meanwhile. ``lost``: the
same, and the backend evicted nothing. ``unknown``: the record does not reach."""
REASONS: tuple[str, ...] = tuple(each for each in get_args(Reason) if each != "unknown")
"""The reasons that a miss can be found to have."""
REASON_WORDS: Mapping[str, Promise] = {
    "never_set": _("never set"),
    "expired": _("expired"),
    "evicted": _("evicted"),
    "lost": _("lost"),
    "deleted": _("deleted"),
    "cleared": _("cleared"),
    "version_changed": _("version changed"),
    "unknown": _("unknown"),
}
"""The words for the reasons on screens."""

HOST_TOLERANCE = SECOND // 10_000
"""The greatest difference between the clocks that two processes of one host read."""
EXPIRY_TOLERANCE = SECOND
"""How long before its expiry an entry may be gone: memcached's clock ticks in whole seconds."""
LONGEST = 60 * SECOND
"""A longer call counts as if it had begun this long before its end."""
_MOST_NEAR = 64
"""Changes near a miss that are compared; with more of them the reason is unknown."""
_MOST_RIVALS = 4

GONE = "gone"
"""The reason, for now, of a miss of an entry that should be there."""
_REASONS: dict[int, Reason] = {
    DELETE: "deleted",
    PATTERN_DELETE: "deleted",
    CLEAR: "cleared",
    MOVE: "version_changed",
    FAILED: "unknown",
    COMPUTE: "unknown",
}
THERE = frozenset({WRITE, TOUCH, HIT})
_BULK_DELETES = frozenset({CLEAR, PATTERN_DELETE})


class EntryChange(Struct, array_like=True, order=True, frozen=True, gc=False):
    """A change of an entry. A ``HIT`` stands for a write that is not recorded: the entry was found.
    ``expires`` is a time, ``NEVER`` or ``UNKNOWN_TIME``; ``written`` is when the value was made, or
    ``UNKNOWN_TIME``."""

    ended: int
    began: int
    kind: int
    expires: int = NEVER
    written: int = UNKNOWN_TIME
    process: int = 0
    host: int = 0
    order: int = 0


def change_of(
    call: Event | BulkDelete, kind: int, expires: int = NEVER, written: int = UNKNOWN_TIME
) -> EntryChange:
    """The change that a call made."""
    began, ended = call.began, call.ended
    return EntryChange(ended, began, kind, expires, written, call.process, call.host, call.order)


BEFORE, UNSURE, AFTER = -1, 0, 1


def relation(one: EntryChange, other: EntryChange | Event, tolerance: int) -> int:
    """Whether ``one`` took effect before ``other``, after it, or either is possible."""
    if one.process == other.process and one.process:
        if one.ended == other.ended and one.order != other.order:
            return BEFORE if one.order < other.order else AFTER  # one call did both
        if one.ended <= other.began and one.order <= other.order:
            return BEFORE
        return AFTER if one.began >= other.ended and one.order >= other.order else UNSURE
    if one.host == other.host and one.host:
        tolerance = HOST_TOLERANCE
    if one.ended + tolerance <= other.began:
        return BEFORE
    return AFTER if one.began - tolerance >= other.ended else UNSURE


class Positions(NamedTuple):
    """The changes that may have been the last before a lookup. The first ``before`` of them were
    surely before it; if that is 0, perhaps no change had taken effect."""

    last: Sequence[EntryChange]
    before: int
    is_complete: bool = True
    """Whether there are no others."""

    def written(self) -> int | None:
        """When the value was made that the lookup found; None if unknown."""
        if len(self.last) != 1 or not (self.before and self.is_complete):
            return None
        [change] = self.last
        is_there = change.kind in THERE and change.written != UNKNOWN_TIME
        return change.written if is_there else None


class VersionHistory:
    """The changes of one version, in the order of their ends. ``complete``: there were no others
    before the first."""

    def __init__(self, changes: Iterable[EntryChange], complete: bool, tolerance: int) -> None:
        self.changes = sorted(changes)
        self.complete = complete
        self._tolerance = tolerance
        self._widest = max(tolerance, HOST_TOLERANCE)
        self._ends = [each.ended for each in self.changes]
        spans = [each.ended - each.began for each in self.changes]
        self._longest = min(max(spans, default=0), LONGEST)

    def latest(self, before: int) -> list[EntryChange]:
        """Of the first ``before`` changes: the last, and those that may have come after it."""
        if not before:
            return []
        last = self.changes[before - 1]
        rivals = [
            each
            for each in self.changes[max(before - _MOST_NEAR, 0) : before - 1]
            if relation(each, last, self._tolerance) == UNSURE
        ]
        return [self._self_contained(each) for each in (*rivals[-_MOST_RIVALS:], last)]

    def _self_contained(self, change: EntryChange) -> EntryChange:
        """``change`` as it has to be if those before it are dropped."""
        if change.kind in _BULK_DELETES and self._reasons_before(change) - {_REASONS[change.kind]}:
            return structs.replace(change, kind=COMPUTE)
        return change

    def positions(self, lookup: EntryChange | Event) -> Positions:
        """The changes that may have been the last before ``lookup``."""
        changes, ends = self.changes, self._ends
        first = bisect_left(ends, lookup.began - self._widest)
        last = changes[first - 1] if first else None
        unsure: list[EntryChange] = []
        latest = lookup.ended + self._widest + self._longest
        for index in range(first, min(first + _MOST_NEAR, len(changes))):
            change = changes[index]
            if change.ended > latest:
                break
            order = relation(change, lookup, self._tolerance)
            if order == BEFORE:
                last = change
            elif order == UNSURE:
                unsure.append(change)
        else:
            if first + _MOST_NEAR < len(changes):
                return Positions((), 0, is_complete=False)
        if last is None:
            return Positions(unsure, 0)
        before = [last, *self._rivals(last, lookup)]
        return Positions([*before, *unsure], len(before))

    def _rivals(self, last: EntryChange, lookup: EntryChange | Event) -> list[EntryChange]:
        """The changes before ``lookup`` that may have come after ``last``."""
        found = []
        index = bisect_left(self._ends, last.began - self._widest)
        for change in self.changes[index : index + _MOST_NEAR]:
            if change.ended > lookup.began + self._widest:
                break
            if (
                change is not last
                and relation(change, last, self._tolerance) == UNSURE
                and relation(change, lookup, self._tolerance) == BEFORE
            ):
                found.append(change)
        return found

    def reasons(self, lookup: Event) -> set[str]:
        """The possible reasons of a miss: ``GONE`` if the entry should be there, "never_set" if
        nothing is on record."""
        last, before, is_complete = self.positions(lookup)
        sure = before > 0
        if not is_complete:
            return {"unknown"}
        found = {reason_of(change, lookup) for change in last}
        if not sure:
            found.add("never_set" if self.complete else "unknown")
        elif len(found) > 1 and GONE in {reason_of(change, lookup) for change in last[:before]}:
            # The entry may have gone long before the change that is as late as the lookup.
            found.add("unknown")
        for change in last:
            if change.kind in _BULK_DELETES:
                found |= self._reasons_before(change)
        return found

    def _reasons_before(self, delete: EntryChange) -> set[str]:
        """The possible reasons why the entry was already missing when ``delete`` came."""
        if not delete.process:
            return set()  # it was made self-contained when it was carried on
        last, before, _ = self.positions(delete)
        found = {
            reason_of(change, delete)
            for change in last
            if change != delete and change.kind not in THERE
        }
        for change in last:
            if change.kind in _BULK_DELETES and change < delete:
                found |= self._reasons_before(change)
        if not before:
            found.add("never_set" if self.complete else "unknown")
        return found

    def is_there(self, lookup: Event) -> bool | None:
        """Whether the entry was there at the time of ``lookup``; None if unknown."""
        last, sure, is_complete = self.positions(lookup)
        found = {_is_there(change, lookup.ended) for change in last}
        if not sure:
            found.add(False if self.complete else None)
        return found.pop() if is_complete and len(found) == 1 else None


def reason_of(change: EntryChange, lookup: EntryChange | Event) -> str:
    """Why ``lookup`` missed if ``change`` was the last before it."""
    if change.kind not in THERE and change.kind != REFUSED:
        return _REASONS.get(change.kind, "unknown")
    if change.expires == UNKNOWN_TIME:
        return "unknown"
    is_over = change.expires != NEVER and change.expires - EXPIRY_TOLERANCE <= lookup.ended
    if change.kind == REFUSED:
        return "unknown" if is_over else "lost"  # by then it would have gone anyway
    return "expired" if is_over else GONE


def agreed_reason(reasons: set[str]) -> str:
    """The one reason that explains the miss; "unknown" if there are several."""
    explained = reasons - {GONE}
    if not explained:
        return GONE
    return explained.pop() if len(explained) == 1 else "unknown"


def _is_there(change: EntryChange, at: int) -> bool | None:
    if change.kind not in THERE:
        return None if change.kind in {FAILED, COMPUTE, REFUSED} else False
    if change.expires == UNKNOWN_TIME:
        return None
    return change.expires == NEVER or change.expires > at


def why_gone(since: int, until: int, readings: Sequence[EvictionReading]) -> Reason | None:
    """Why an entry that was there at ``since`` had gone at ``until``, without a recorded cause;
    None if that takes a later reading. ``readings`` are ascending.

    "evicted" needs evidence: a counter that rose meanwhile, or a full backend. So does "lost": that
    nothing was evicted. Otherwise it is "unknown".
    """
    found = _readings_between(since, until, readings)
    if found is None:
        # What takes its place anew may have lost its entries: a later reading will say so.
        is_full = any(each.full and since <= each.at <= until for each in readings)
        return "evicted" if is_full and not any(each.boot for each in readings) else None
    between, is_whole = found
    is_either = any(each.behind for each in between) and _rose(between)
    if is_either or not is_one_server(readings):
        return "unknown"
    is_full = any(each.full for each in between)
    if len({each.boot for each in between} - {""}) > 1:
        # The server restarted and lost its entries.
        return "unknown" if is_full or _rose(between) else "lost"
    is_counted = all(each.evictions is not None for each in between)
    if (is_counted and _rose(between)) or is_full:
        return "evicted"
    is_known = is_counted and not _was_reset(between)
    is_known = is_known or all(each.full is False for each in between)
    return "lost" if is_known and (is_whole or between[-1].evictions == 0) else "unknown"


class LossCause(NamedTuple):
    """What took a lost entry away, and when that was first seen."""

    cause: Cause
    at: int


def loss_cause(since: int, until: int, readings: Sequence[EvictionReading]) -> LossCause | None:
    """What took a lost entry away between two times: a restart of the backend, or reads from a
    replica that lagged. None if neither is known, or both are possible."""
    between, _ = _readings_between(since, until, readings) or ((), False)
    restarts = (
        each.at for one, each in pairwise(between) if one.boot and each.boot not in {"", one.boot}
    )
    lagged = (each.at for each in between if each.behind)
    restarted_at, lagged_at = next(restarts, None), next(lagged, None)
    if lagged_at is None:
        return None if restarted_at is None else LossCause("restart", restarted_at)
    return LossCause("replica", lagged_at) if restarted_at is None else None


def _readings_between(
    since: int, until: int, readings: Sequence[EvictionReading]
) -> tuple[Sequence[EvictionReading], bool] | None:
    """The readings between two times, and whether the first is from before ``since``; None if none
    is from after ``until`` yet."""
    after = next((index for index, each in enumerate(readings) if each.at >= until), None)
    if after is None:
        return None
    first = next((index for index in range(after, -1, -1) if readings[index].at <= since), None)
    if first is not None:
        return readings[first : after + 1], True
    return [each for each in readings[: after + 1] if each.at >= since] or [readings[after]], False


def _was_reset(readings: Sequence[EvictionReading]) -> bool:
    """Whether a counter fell, as by CONFIG RESETSTAT: what it had counted by then is unknown."""
    return any((other.evictions or 0) < (one.evictions or 0) for one, other in pairwise(readings))


def _rose(readings: Sequence[EvictionReading]) -> bool:
    """Whether a counter rose from one reading to the next, or from its start."""
    return any(
        (one.evictions or 0 if one.boot == other.boot else 0) < (other.evictions or 0)
        for one, other in pairwise(readings)
    )
