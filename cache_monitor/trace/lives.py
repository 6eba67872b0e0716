"""The lives of a version's entries, from a write to what ended it, and the values written anew.

A life is counted only if the order of its events is sure.
"""

from collections.abc import Callable, Iterable
from typing import Annotated

from msgspec import Meta, Struct

from cache_monitor.stats.groups import ChangeStats, End, LifeStats
from cache_monitor.trace.events import (
    CLEAR,
    DELETE,
    FAILED,
    HIT,
    MISS,
    MOVE,
    NEVER,
    PATTERN_DELETE,
    REFUSED,
    SECOND,
    TOUCH,
    UNKNOWN_TIME,
    WRITE,
    Event,
)
from cache_monitor.trace.miss_reasons import (
    BEFORE,
    EXPIRY_TOLERANCE,
    UNSURE,
    EntryChange,
    relation,
)

UNREAD, READ, PERHAPS = range(3)
_ENDS: dict[int, End] = {
    WRITE: "overwritten",
    DELETE: "deleted",
    PATTERN_DELETE: "deleted",
    CLEAR: "cleared",
    MOVE: "version_changed",
}
_Time = Annotated[int, Meta(ge=0, le=253_000_000_000 * SECOND)]
_Expiry = Annotated[int, Meta(ge=-2, le=253_000_000_000 * SECOND)]


class Life(Struct, array_like=True, gc=False, frozen=True):
    """An entry that is there: when it was written, when it expires, whether it was read since."""

    written: _Time
    expires: _Expiry
    alias: Annotated[str, Meta(max_length=512)]
    weight: Annotated[int, Meta(ge=1, le=2**48)]
    read: Annotated[int, Meta(ge=UNREAD, le=PERHAPS)] = UNREAD

    def is_over(self, at: int) -> bool:
        """Whether it has expired by ``at``."""
        return 0 <= self.expires <= at


LifeStatsAt = Callable[[str, int], LifeStats | None]
"""The statistics for the lives of an alias that end at a time."""
ChangeStatsAt = Callable[[str, int], ChangeStats | None]
"""The statistics for the values of an alias that are written at a time."""


class LifeTracker:
    """Follows the lives of one version of a key. ``ended_by_misses``: the lives that a miss found
    ended, for a reason still to be found, by the miss's process and order."""

    def __init__(self, life: Life | None, stats_at: LifeStatsAt, tolerance: int) -> None:
        self.life = life
        self.ended_by_misses: dict[tuple[int, int], Life] = {}
        self._stats_at = stats_at
        self._tolerance = tolerance
        self._last: EntryChange | None = None
        self._read_until = 0

    def replay(
        self, changes: Iterable[tuple[EntryChange, str, int]], uses: Iterable[Event]
    ) -> None:
        """Replay changes, each with its alias and weight, and lookups and other uses."""
        steps: list[tuple[int, int, tuple[EntryChange, str, int] | Event]] = []
        steps += [(each[0].ended, 0, each) for each in changes]
        steps += [(each.began if each.call.kind == HIT else each.ended, 1, each) for each in uses]
        steps.sort(key=lambda each: each[:2])
        for at, _, step in steps:
            self.expire(at)
            if isinstance(step, Event):
                self._use(step)
            else:
                self._change(*step)

    def expire(self, at: int) -> None:
        """End the life if the entry has expired by ``at``."""
        life = self.life
        if life is not None and life.is_over(at):
            self._end(life, "expired", life.expires)

    def life_at(self, at: int) -> Life | None:
        """The life at a time until which all events were replayed."""
        self.expire(at)
        return self.life

    def _change(self, change: EntryChange, alias: str, weight: int) -> None:
        life, last = self.life, self._last
        is_sure = last is None or relation(last, change, self._tolerance) == BEFORE
        if last is None and life is not None and change.began < life.written:
            is_sure = False  # It comes late: later changes were replayed before.
        self._last = change
        if life is not None and is_sure and change.kind in _ENDS:
            self._end(life, _ENDS[change.kind], change.ended)
        self.life = None
        if change.kind == WRITE and is_sure:
            # A read that went on meanwhile may have found either value.
            read = PERHAPS if self._read_until > change.began else UNREAD
            self.life = Life(change.ended, change.expires, alias, weight, read)
        elif change.kind == TOUCH and life is not None and is_sure:
            self.life = Life(life.written, change.expires, life.alias, life.weight, life.read)

    def _use(self, event: Event) -> None:
        life = self.life
        if event.call.kind != MISS:
            self._read_until = max(self._read_until, event.ended)
        if life is None:
            return
        order = BEFORE if self._last is None else relation(self._last, event, self._tolerance)
        if event.call.kind == MISS and life.is_over(event.ended + EXPIRY_TOLERANCE):
            self._end(life, "expired", min(event.ended, life.expires))
        elif event.call.kind == MISS:
            if order == BEFORE:
                self.ended_by_misses[event.process, event.order] = life
            self.life = None
        elif life.read != READ:
            is_first = life.read == UNREAD and order == BEFORE and event.call.kind == HIT
            stats = self._stats_at(life.alias, event.began) if is_first else None
            if stats is not None:
                stats.read((event.began - life.written) / SECOND, life.weight)
            read = PERHAPS if order == UNSURE else READ
            self.life = Life(life.written, life.expires, life.alias, life.weight, read)

    def _end(self, life: Life, how: End, at: int) -> None:
        self.life = None
        stats = self._stats_at(life.alias, at)
        if stats is not None:
            lasted = (at - life.written) / SECOND
            stats.end(how, lasted, life.weight, life.read == UNREAD)


class LastWrite(Struct, array_like=True, gc=False, frozen=True):
    """The last write: when it was, when it expires, and the fingerprint of its value."""

    at: _Time
    expires: _Expiry
    fingerprint: Annotated[int, Meta(ge=0, le=2**53)]


_NOT_BY_EXPIRY = frozenset({DELETE, PATTERN_DELETE, MOVE, FAILED, REFUSED})
"""A write after these does not come because the entry had expired."""


def count_rewrites(
    last: LastWrite | None, changes: Iterable[Event], stats_at: ChangeStatsAt
) -> LastWrite | None:
    """Count the writes among ``changes`` that came after the entry had expired; returns the last
    write."""
    for event in sorted(changes, key=lambda each: each.ended):
        kind, timeout = event.call.kind, event.call.timeout
        expires = timeout if timeout in {NEVER, UNKNOWN_TIME} else event.ended + timeout
        if kind in _NOT_BY_EXPIRY:
            last = None
        elif kind == TOUCH and last is not None:
            last = LastWrite(last.at, expires, last.fingerprint)
        elif kind == WRITE:
            if last is not None and 0 <= last.expires <= event.began + EXPIRY_TOLERANCE:
                _count_rewrite(last, event, stats_at)
            last = LastWrite(event.ended, expires, event.fingerprint)
    return last


def _count_rewrite(last: LastWrite, event: Event, stats_at: ChangeStatsAt) -> None:
    stats = stats_at(event.call.alias, event.ended)
    if stats is not None and event.began > last.at:
        is_known = bool(last.fingerprint and event.fingerprint)
        is_same = last.fingerprint == event.fingerprint if is_known else None
        stats.add((event.began - last.at) / SECOND, event.weight, is_same)
