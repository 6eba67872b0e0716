"""What a site asked of a cache in a period, taken from the trace, whatever the cache answered.

A lookup that missed and the write that filled it are one thing, since another cache might have hit
and the write would not have been made. A lookup that hit might miss, and would be filled as often
as other misses of its group are. What the site writes without having missed it, as a job does, it
writes anyway; so it deletes and clears.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from math import inf, log
from random import Random
from typing import NamedTuple, cast

from msgspec import structs

from cache_monitor.trace import (
    CLEAR,
    HIT,
    MISS,
    MOVE,
    NEVER,
    SECOND,
    TOUCH,
    UNKNOWN_TIME,
    WRITE,
    Event,
)
from cache_monitor.what_if.reading import KINDS, CallKind, Entry, entry_of
from cache_monitor.what_if.simulated_caches import Access

FILLED_WITHIN = 60 * SECOND
"""A later write of a key that was missed does not count as filling the miss."""
_RUN = SECOND // 20
"""The least length of a run of hits in which other calls may have come between."""
_LATE = 0.2
"""A write is late from this share of the time on for which its entry was not used before the miss:
who computes a value is mostly faster."""
_NEARLY_ALL = 0.9
_MANY = 2**40
_NEVER_FILLED = 5
"""An entry that was missed so often, and never filled, will not be."""


class SimulatedCall(NamedTuple):
    """A call as a simulation makes it. ``fills``: the site writes the key if the lookup misses, the
    seconds of ``delay`` later. ``renews``: it touches the key if the lookup hits.

    ``times``: lookups within a moment. ``counted``: whether it counts; not if the entry that a
    lookup found was never seen before, since another cache may not have had it, nor if it was made
    through another alias. ``bytes`` are the value's, 0 if unknown. ``hit``: whether the site's
    lookup hit.
    """

    kind: CallKind
    access: Access
    fills: bool = False
    group: str = ""
    times: int = 1
    counted: bool = True
    bytes: int = 0
    hit: bool = False
    delay: float = 0.0
    renews: bool = False


def simulated_calls(
    events: Iterable[Event], group_of: dict[int, str], alias: str = ""
) -> list[SimulatedCall]:
    """The calls of the site in the order of time. ``group_of``: the groups by the hashes of keys.
    If ``alias`` is given, only lookups through it count."""
    builder = _WorkloadBuilder(group_of, alias)
    for event in sorted(events, key=lambda each: each.began):
        builder.add(event)
    return list(builder.calls())


class _PastMiss(NamedTuple):
    """A lookup that missed: the number of its call, when it began and ended, and how long before
    that the entry was last used; 0 if it never was."""

    number: int
    began: int
    ended: int
    unused: int


class _Fill(NamedTuple):
    """A write that fills a miss, by the time that the value took to compute: so one thread did
    both. The numbers of both calls."""

    miss: int
    write: int


class _Misses:
    """How many misses of an entry, or of a group, were ``filled`` by a write, and how many were
    not."""

    __slots__ = ("filled", "unfilled")

    def __init__(self) -> None:
        self.filled = 0
        self.unfilled = 0

    def add(self, other: "_Misses") -> None:
        """Add the misses of an entry to those of its group."""
        self.filled += other.filled
        self.unfilled += other.unfilled

    @property
    def number(self) -> int:
        return self.filled + self.unfilled


class _GroupUse:
    """How the entries of a group are written and renewed."""

    def __init__(self) -> None:
        self.timeout: float | None = None
        """Of the first write."""
        self.fills: list[_Fill] = []
        self.late = 0
        """Fills that came late after their miss, as it is if the two have nothing to do with one
        another."""
        self.unasked = 0
        """Writes that no miss has led to."""
        self.delay = 0.0
        """Of all fills, from the miss to the write, in seconds."""
        self.hits = 0
        self.renewals: list[int] = []
        """The numbers of the calls that touch an entry just after it was found."""
        self.misses = _Misses()

    @property
    def is_written_anyway(self) -> bool:
        """Whether the writes of the group come at their own times, as those of a job, also if a
        thread that looks its entries up makes them: then many writes come without a miss, or many
        misses stay without a write, and a miss tells nothing of when the next write comes."""
        independent = self.unasked + self.misses.unfilled
        return 2 * self.late > len(self.fills) and 2 * independent >= len(self.fills)

    @property
    def usual_delay(self) -> float:
        """The average seconds from a miss to the write that fills it."""
        return self.delay / self.misses.filled if self.misses.filled else 0.0

    @property
    def is_renewed(self) -> bool:
        """Whether who finds an entry touches it."""
        return bool(self.hits) and len(self.renewals) >= _NEARLY_ALL * self.hits


class _WorkloadBuilder:
    """Makes calls of events."""

    def __init__(self, group_of: dict[int, str], alias: str) -> None:
        self._group_of = group_of
        self._alias = alias
        self._calls: list[SimulatedCall] = []
        self._missed: dict[Entry, list[_PastMiss]] = {}
        """The misses since the last write."""
        self._timeouts: dict[Entry, float] = {}
        self._groups: defaultdict[str, _GroupUse] = defaultdict(_GroupUse)
        self._moved: tuple[int, int] | None = None
        """The key that was just moved to another version: its next event is a ``TOUCH`` of that."""
        self._misses: defaultdict[Entry, _Misses] = defaultdict(_Misses)
        self._latest: dict[Entry, Event] = {}
        """The latest event of each entry that was seen."""
        self._random = Random(0)  # noqa: S311 - no secret, and the same each time

    def add(self, event: Event) -> None:
        """Add the next event."""
        kind, entry = event.call.kind, entry_of(event)
        if kind == HIT:
            self._add_hits(event)
        elif kind == MISS:
            before = self._latest.get(entry)
            unused = 0 if before is None else event.began - before.ended
            miss = _PastMiss(len(self._calls), event.began, event.ended, unused)
            self._missed.setdefault(entry, []).append(miss)
            self._append("get", event, event.began)
        elif kind == WRITE:
            self._add_write(event)
        elif kind == CLEAR:
            self._append("clear", event, event.began)
        elif kind == TOUCH:
            self._add_touch(event)
        elif kind in KINDS:
            if kind == MOVE:
                self._moved = event.key, event.began
            self._append("delete", event, event.began)
        self._latest[entry] = event

    def _group(self, entry: Entry) -> _GroupUse:
        return self._groups[self._group_of.get(entry[0], "")]

    def _add_hits(self, event: Event) -> None:
        """Of a run of hits the times of the first and of the last are known."""
        self._group(entry_of(event)).hits += event.times
        is_run = event.times > 1 and event.ended - event.began >= _RUN
        first = structs.replace(event, times=event.times - 1) if is_run else event
        self._append("get", first, event.began, was_hit=True)
        self._latest[entry_of(event)] = event
        if is_run:
            self._append("get", structs.replace(event, times=1), event.ended, was_hit=True)

    def _add_touch(self, event: Event) -> None:
        is_moved = self._moved == (event.key, event.began)
        before = self._latest.get(entry_of(event))
        if not is_moved and before is not None and before.call.kind == HIT:
            self._group(entry_of(event)).renewals.append(len(self._calls))
        self._append("set" if is_moved else "touch", event, event.began, _timeout(event))

    def _add_write(self, event: Event) -> None:
        entry, timeout = entry_of(event), _timeout(event)
        misses = self._missed.pop(entry, [])
        self._timeouts[entry] = timeout
        group = self._group(entry)
        if group.timeout is None:
            group.timeout = timeout
        if misses and _is_filling(event, misses[-1]):
            self._fill(event, misses)
        else:
            own = self._misses[entry]
            own.unfilled += len(misses)
            if event.compute_time and own.unfilled:
                # One of several that computed it: another miss was filled first.
                own.unfilled -= 1
                own.filled += 1
            group.unasked += not event.compute_time
            self._append("set", event, event.began, timeout)

    def _fill(self, write: Event, misses: Sequence[_PastMiss]) -> None:
        """Let the last miss be filled; others may have been while the value was computed."""
        entry, miss = entry_of(write), misses[-1]
        group, own = self._group(entry), self._misses[entry]
        call = self._calls[miss.number]
        access = call.access._replace(timeout=_timeout(write))
        delay = (write.ended - miss.began) / SECOND
        self._calls[miss.number] = call._replace(
            access=access, fills=True, bytes=write.size or call.bytes, delay=delay
        )
        group.delay += delay
        own.filled += 1
        own.unfilled += sum(
            each.ended < write.began - write.compute_time - _RUN for each in misses[:-1]
        )
        if write.began > miss.ended:
            group.fills.append(_Fill(miss.number, len(self._calls)))
            self._append("set", write, write.began, _timeout(write))
            group.late += 0 < _LATE * miss.unused < write.began - miss.ended

    def _append(
        self,
        kind: CallKind,
        event: Event,
        at: int,
        timeout: float | None = None,
        *,
        was_hit: bool = False,
    ) -> None:
        entry, group = entry_of(event), self._group_of.get(event.key, "")
        known = self._timeouts.get(entry, -1.0) if timeout is None else timeout
        access = Access(entry, at / SECOND, known, 1.0, float(event.weight))
        is_own = not self._alias or event.call.alias == self._alias
        counted = is_own and (not was_hit or entry in self._latest)
        # Whether a hit would be filled if it missed is decided at the end.
        times = event.times if was_hit else 1
        self._calls.append(
            SimulatedCall(kind, access, was_hit, group, times, counted, event.size, was_hit)
        )

    def calls(self) -> Iterator[SimulatedCall]:
        """The calls, when all events were added."""
        self._count_misses()
        unneeded: set[int] = set()
        for group in self._groups.values():
            if group.is_written_anyway:
                self._write_anyway(group)
            else:
                unneeded.update(each.write for each in group.fills)
            if group.is_renewed:
                unneeded.update(group.renewals)
        found = [
            decided
            for number, each in enumerate(self._calls)
            if number not in unneeded
            for decided in self._decided(each)
        ]
        # Other calls may have come between the hits of a run.
        return iter(sorted(found, key=lambda call: call.access.at))

    def _count_misses(self) -> None:
        """Count the misses of each group. Those of entries that are never there tell nothing."""
        for entry, misses in self._missed.items():
            self._misses[entry].unfilled += len(misses)
        for entry, own in self._misses.items():
            if entry in self._timeouts:
                self._group(entry).misses.add(own)

    def _write_anyway(self, group: _GroupUse) -> None:
        """Make the writes that seemed to fill misses whatever the lookups find."""
        for each in group.fills:
            call = self._calls[each.miss]
            self._calls[each.miss] = call._replace(fills=False)
            for misses in (self._misses[cast("Entry", call.access.key)], group.misses):
                misses.filled -= 1
                misses.unfilled += 1

    def _decided(self, call: SimulatedCall) -> Iterator[SimulatedCall]:
        """The call with what is known of its group: which of the lookups that hit would be filled
        if they missed, whether they touch the entry, and the timeout of an entry that was never
        written."""
        group = self._groups[call.group]
        if call.access.timeout < 0:
            usual = inf if group.timeout is None else group.timeout
            call = call._replace(access=call.access._replace(timeout=usual))
        if call.kind == "get":
            call = call._replace(renews=group.is_renewed)
        if not call.hit:
            yield call
            return
        share = self._filled_share(call.access.key, group)
        before = min(self._lookups_before_fill(share), call.times)
        if before:
            yield call._replace(times=before, fills=False)
        if before < call.times:
            yield call._replace(times=call.times - before, delay=group.usual_delay)

    def _lookups_before_fill(self, share: float) -> int:
        """How many lookups miss before one is filled, if this ``share`` of them is: by lot."""
        if share >= 1:
            return 0
        lot = 1 - self._random.random()
        return int(log(lot) / log(1 - share)) if share > 0 else _MANY

    def _filled_share(self, entry: Hashable, group: _GroupUse) -> float:
        """The share of the misses of an entry that are filled, which is about that of its group;
        all where nothing is known."""
        own = self._misses.get(cast("Entry", entry))
        if own is not None and own.number >= _NEVER_FILLED and not own.filled:
            return 0.0
        return group.misses.filled / group.misses.number if group.misses.number else 1.0


def _is_filling(write: Event, miss: _PastMiss) -> bool:
    """Whether whoever missed the entry wrote it: the time that its value took to compute is known,
    or one call did both. A job writes at its own times, whatever lookups missed."""
    is_soon = write.began - miss.began <= FILLED_WITHIN
    return is_soon and (write.compute_time > 0 or write.began <= miss.ended)


def _timeout(event: Event) -> float:
    """The timeout of a write, in seconds."""
    timeout = event.call.timeout
    return inf if timeout in {NEVER, UNKNOWN_TIME} else timeout / SECOND
