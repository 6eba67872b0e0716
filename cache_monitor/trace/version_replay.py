"""Replay of the events of one version of one key: its history, the lives of its entries from a
write to what ended them, and the values that were written anew.

A life is counted only if the order of its events is sure.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from msgspec import structs

from cache_monitor.stats.groups import ChangeStats, End, GroupStats, LifeStats
from cache_monitor.trace import (
    CLEAR,
    COMPUTE,
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
    USE,
    WRITE,
    BulkDelete,
    Event,
    takes,
)
from cache_monitor.trace.miss_reasons import (
    AFTER,
    BEFORE,
    EXPIRY_TOLERANCE,
    HOST_TOLERANCE,
    THERE,
    UNSURE,
    EntryChange,
    VersionHistory,
    change_of,
    relation,
)
from cache_monitor.trace.state import PERHAPS, READ, UNREAD, LastWrite, Life, VersionState, carried

_LEAST_OVERLAP = SECOND // 1000
"""The least time that two computations of a stampede have in common."""
_MOST_DELETES = 16
"""Bulk deletes after a write that are compared: mostly the first took the entry away."""


_ENDS: dict[int, End] = {
    WRITE: "overwritten",
    DELETE: "deleted",
    PATTERN_DELETE: "deleted",
    CLEAR: "cleared",
    MOVE: "version_changed",
}

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


class VersionReplay:
    """Replays the events of one version of a key.

    First all events are added (:meth:`add`, :meth:`add_later`, :meth:`add_bulk_deletes`), then
    :meth:`build_history` orders them.
    """

    history: VersionHistory

    def __init__(self, state: VersionState, tolerance: int) -> None:
        self._state = structs.replace(state)
        self._tolerance = tolerance
        self._widest = max(tolerance, HOST_TOLERANCE)
        self._changes = list(state.changes)
        self._new: list[tuple[EntryChange, str, int]] = []
        """The changes of this replay, each with its alias and weight."""
        self._deletes: list[BulkDelete | Event] = []
        self._later_deletes: list[BulkDelete | Event] = []
        """Bulk deletes, and deletes of this key where it may not have been."""
        self._later: list[EntryChange] = []
        self.lookups: list[Event] = []
        self.changes: list[Event] = []
        self.uses: list[Event] = []

    def events(self) -> Iterator[Event]:
        """All events of this replay."""
        return chain(self.lookups, self.changes, self.uses)

    def add(self, event: Event) -> None:
        """Add an event of this replay."""
        kind = event.call.kind
        if kind == USE:
            self.uses.append(event)
            return
        if kind in (HIT, MISS):
            self.lookups.append(event)
            return
        self.changes.append(event)
        if kind == PATTERN_DELETE:
            self._deletes.append(event)
        elif kind != COMPUTE:
            change = _change(event)
            self._changes.append(change)
            self._new.append((change, event.call.alias, event.weight))

    def add_later(self, event: Event) -> None:
        """Add a change that a later replay will add again."""
        if event.call.kind == PATTERN_DELETE:
            self._later_deletes.append(event)
        else:
            self._later.append(_change(event))

    def add_bulk_deletes(self, now: Iterable[BulkDelete], later: Iterable[BulkDelete]) -> None:
        """Add bulk deletes that may concern this version: those of this replay, and later ones."""
        self._deletes.extend(now)
        self._later_deletes.extend(later)

    def build_history(self, name: str) -> None:
        """Order the changes, and add the unrecorded writes of entries that were found."""
        self._changes.sort()
        deletes = self._effects_of(self._deletes, self._changes, name)
        self._new += [(each, "", 1) for each in deletes]
        self._changes += deletes
        self._changes = _with_write_times(sorted(self._changes))
        changes = sorted(self._changes + self._later)
        later = self._later + self._effects_of(self._later_deletes, changes, name)
        self.history = self._history(later)
        for event in sorted((e for e in self.lookups if e.call.kind == HIT), key=lambda e: e.began):
            if self._contradicts(event):
                found = structs.replace(event, ended=event.began)
                self._changes.append(change_of(found, HIT, UNKNOWN_TIME))
                self.history = self._history(later)

    def count_lives(self, stats_at: LifeStatsAt, covered: int) -> None:
        """Count how the lives of its entries ended, but for one from before ``covered``."""
        life = self._state.life
        if life is not None and life.written < covered:
            life = None
        self._lives = LifeTracker(life, stats_at, self._tolerance)
        self._lives.replay(self._new, [*self.lookups, *self.uses])

    def count_rewrites(self, stats_at: ChangeStatsAt, covered: int) -> None:
        """Count the values that were written anew, and whether they had changed."""
        before = self._state.written
        if before is not None and before.at < covered:
            before = None
        self._state.written = count_rewrites(before, self.changes, stats_at)

    def count_stampedes(self, stats_at: Callable[[str, int], GroupStats | None]) -> None:
        """Count the computations that another one of the same value overlaps, but for the first."""
        computations = [
            (event.began - event.compute_time, event.began, event)
            for event in self.changes
            if event.compute_time
        ]
        computations.sort(key=lambda each: each[:2])
        last = self._state.last_computation
        for began, ended, event in computations:
            if last is not None:
                least = _LEAST_OVERLAP if last[2] == event.host else self._tolerance
                if min(last[1], ended) - max(last[0], began) > max(least, _LEAST_OVERLAP):
                    last = (min(last[0], began), max(last[1], ended), event.host)
                    stats = stats_at(event.call.alias, event.ended)
                    if stats is not None:
                        stats.stampedes += event.weight
                    continue
            last = (began, ended, event.host)
        self._state.last_computation = last

    def life_ended_by(self, miss: Event) -> Life | None:
        """The life that this miss was the first to find ended."""
        return self._lives.ended_by_misses.get((miss.process, miss.order))

    def _history(self, later: list[EntryChange]) -> VersionHistory:
        return VersionHistory([*self._changes, *later], self._state.complete, self._tolerance)

    def _effects_of(
        self, deletes: Sequence[BulkDelete | Event], changes: Sequence[EntryChange], name: str
    ) -> list[EntryChange]:
        """The bulk deletes, as changes of this entry, that came when it may have been there."""
        if not deletes:
            return []
        deletes = sorted(deletes, key=lambda each: each.ended)
        ends = [each.ended for each in deletes]
        longest = max(each.ended - each.began for each in deletes)
        found: set[EntryChange] = set()
        for index, change in enumerate(changes):
            if change.kind in THERE or change.kind == REFUSED:
                first = bisect_left(ends, change.began - self._widest)
                near = deletes[first : first + _MOST_DELETES]
                after = changes[index + 1 :][:_MOST_DELETES]
                effects = [_effect_of(each, name) for each in near]
                found.update(self._first_of(effects, change, after, longest))
        return list(found)

    def _first_of(
        self,
        deletes: Sequence[EntryChange],
        change: EntryChange,
        after: Sequence[EntryChange],
        longest: int,
    ) -> Iterator[EntryChange]:
        """Those of ``deletes`` that may have deleted what ``change`` wrote."""
        sure: EntryChange | None = None
        for delete in deletes:
            if sure is not None and delete.ended - longest > sure.ended + self._widest:
                return
            order = relation(delete, change, self._tolerance)
            if order == BEFORE or any(self._is_between(each, change, delete) for each in after):
                continue
            if sure is None or relation(delete, sure, self._tolerance) == UNSURE:
                yield delete
            if sure is None and order == AFTER and delete.kind != COMPUTE:
                sure = delete

    def _is_between(self, one: EntryChange, change: EntryChange, delete: EntryChange) -> bool:
        tolerance = self._tolerance
        is_after = relation(one, change, tolerance) == AFTER
        return is_after and relation(one, delete, tolerance) == BEFORE

    def _contradicts(self, hit: Event) -> bool:
        """Whether ``hit`` found an entry that should not be there."""
        last, before, is_complete = self.history.positions(hit)
        if not is_complete:
            return False
        if not last:
            return True
        return before > 0 and all(
            each.kind not in THERE or (each.expires >= 0 and each.expires + 2 * SECOND < hit.began)
            for each in last
        )

    def note_read(self, event: Event) -> int | None:
        """The entry was read; returns when the value that was found was written, None if
        unknown."""
        positions, state = self.history.positions(event), self._state
        state.last_read = max(state.last_read, event.ended)
        written = positions.written()
        if written is not None:
            state.found = max(state.found, written)
        elif not positions.is_complete:
            state.perhaps = max(state.perhaps, event.ended)
        else:
            found = (each.written for each in positions.last if each.kind in THERE)
            state.perhaps = max(state.perhaps, *found, 0)
        return written

    def note_hit(self, event: Event) -> None:
        """The entry was there."""
        gone = self._state.gone
        if gone is not None and event.ended > gone[1]:
            self._state.gone = None

    def gone_between(self, lookup: Event) -> tuple[int, int]:
        """Between which times an entry went without a recorded cause: after it was written, and
        before it was first missed."""
        last = self.history.positions(lookup).last
        since = min(each.ended for each in last if each.kind in THERE)
        gone = self._state.gone
        if gone is None or gone[0] < since:
            gone = self._state.gone = lookup.began, lookup.ended
        return since, min(gone[0], lookup.began)

    def state(self, since: int) -> VersionState:
        """The state after the replay; changes older than ``since`` are condensed."""
        state = self._state
        state.changes, state.complete = carried(self._history([]), since)
        state.life = self._lives.life_at(since)
        return state


def _change(event: Event) -> EntryChange:
    kind, timeout = event.call.kind, event.call.timeout
    expires = timeout if timeout in (NEVER, UNKNOWN_TIME) else event.ended + timeout
    return change_of(event, kind, expires, event.ended if kind == WRITE else UNKNOWN_TIME)


def _with_write_times(changes: list[EntryChange]) -> list[EntryChange]:
    """``changes`` in order; a value that was touched is as old as before."""
    written = UNKNOWN_TIME
    for index, change in enumerate(changes):
        if change.kind == TOUCH and change.written == UNKNOWN_TIME and written != UNKNOWN_TIME:
            changes[index] = structs.replace(change, written=written)
        written = changes[index].written if change.kind in THERE else UNKNOWN_TIME
    return changes


def _effect_of(delete: BulkDelete | Event, name: str) -> EntryChange:
    """The delete as a change of the key ``name``; it may not match if the name is unknown."""
    kind = PATTERN_DELETE
    if isinstance(delete, BulkDelete):
        if delete.pattern is None:
            kind = CLEAR
        elif not takes(delete.pattern, name):
            kind = COMPUTE
    return change_of(delete, kind)
