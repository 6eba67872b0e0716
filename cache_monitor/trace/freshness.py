"""Whether values had changed when they were written anew, and what other timeouts would serve.

Each write of an entry tells by its fingerprint what the value was then. Between two writes that
differ it changed at a moment that nobody knows, each as likely as any other; between two that are
the same it is taken not to have changed. So of a hit with another timeout it can be told how likely
the value that it finds had changed by then. What is after the last write, and where a fingerprint
is missing, is not judged.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import pairwise
from math import log2
from typing import NamedTuple

from cache_monitor.stats.lifetimes import LEAST as LEAST_REWRITES
from cache_monitor.stats.lifetimes import lasting
from cache_monitor.trace.events import MISS, NEVER, SECOND, UNTOLD, WRITE, Event
from cache_monitor.trace.workload import EMPTY, FILLED_WITHIN, LOOK_UP, PUT, REMOVE, RENEW, Demand

LEAST_HITS = 100
"""Hits of which the share that was stale is told."""
_MOSTLY = 0.5
_A_DOUBLING = 8
"""Classes of the time between two writes, for each doubling of it."""
_SLACK = 1.0
"""Seconds that an entry may be gone before its expiry: memcached's clock ticks in seconds."""

Entry = tuple[int, Hashable]


class Rewrites(NamedTuple):
    """What is known of a group's values. Of ``rewrites``, those that came when the entry had
    expired, the ``unchanged`` share brought what had been there; ``seconds_to_change`` is how long
    a value lasts on the average. None where that is not known, or where nothing ever changed."""

    rewrites: float = 0.0
    unchanged: float | None = None
    seconds_to_change: float | None = None


class _Written(NamedTuple):
    at: float
    ends: float
    print: int
    weight: float


class Values:
    """The values of a cache, or of the caches of all processes, by the ``events`` of its trace."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._written: defaultdict[Entry, list[_Written]] = defaultdict(list)
        missed: dict[Entry, int] = {}
        for event in sorted(events, key=lambda each: each.began):
            entry, kind = (event.key, event.form.version), event.form.kind
            if kind == MISS:
                missed[entry] = event.began
            elif kind == WRITE:
                # The value is as old as its computing, which began after the miss.
                since = missed.pop(entry, event.began)
                began = since if event.began - since <= FILLED_WITHIN else event.began
                self._written[entry].append(_written(event, began))
        for writes in self._written.values():
            writes.sort()
        self._times = {entry: [each.at for each in those] for entry, those in self._written.items()}

    def changed(self, entry: Entry, since: float, at: float) -> float | None:
        """How likely the value of ``entry`` is another ``at`` one time than it was ``since``
        another; None where that is not known."""
        before, after = self._between(entry, since), self._between(entry, at)
        if before is None or after is None:
            return None
        (old, new, passed), (old_after, new_after, passed_after) = before, after
        if self._place(entry, since) == self._place(entry, at):
            return 0.0 if old == new else passed_after - passed
        first = {old: 1.0} if old == new else {old: 1 - passed, new: passed}
        second = (
            {old_after: 1.0}
            if old_after == new_after
            else {old_after: 1 - passed_after, new_after: passed_after}
        )
        return 1 - sum(share * second.get(value, 0.0) for value, share in first.items())

    def rewrites(self, of: Iterable[Entry]) -> Rewrites:
        """What is known of the values of the entries ``of``."""
        rewrites = judged = unchanged = 0.0
        gaps: defaultdict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for one, other in (pair for entry in of for pair in self._pairs(entry)):
            is_known = bool(one.print and other.print)
            is_same = is_known and one.print == other.print
            weight = one.weight
            if other.at >= one.ends - _SLACK:
                rewrites += weight
                judged += weight * is_known
                unchanged += weight * is_same
            if is_known and other.at > one.at:
                gaps[round(log2(other.at - one.at) * _A_DOUBLING)][is_same] += weight
        share = unchanged / judged if judged >= LEAST_REWRITES else None
        pairs = ((2.0 ** (at / _A_DOUBLING), *counts) for at, counts in gaps.items())
        return Rewrites(rewrites, share, lasting((each[0], each[1], each[2]) for each in pairs))

    def _pairs(self, entry: Entry) -> Iterator[tuple[_Written, _Written]]:
        writes = self._written.get(entry, [])
        return pairwise(writes)

    def _place(self, entry: Entry, at: float) -> int:
        return bisect_right(self._times[entry], at)

    def _between(self, entry: Entry, at: float) -> tuple[int, int, float] | None:
        """The values written before and after ``at``, and how much of the time between them had
        passed."""
        if entry not in self._times:
            return None
        place = self._place(entry, at)
        writes = self._written[entry]
        if not 0 < place < len(writes):
            return None
        before, after = writes[place - 1], writes[place]
        if not (before.print and after.print):
            return None
        length = after.at - before.at
        return before.print, after.print, (at - before.at) / length if length else 1.0


def _written(event: Event, began: int) -> _Written:
    lasts = event.form.lasts
    ends = float("inf") if lasts in {NEVER, UNTOLD} else (event.ended + lasts) / SECOND
    return _Written(began / SECOND, ends, event.print, float(event.weight))


class _Cached(NamedTuple):
    """What a cache has of an entry: since when, and until when."""

    since: float
    ends: float


class _Count:
    def __init__(self) -> None:
        self.hits = self.judged = self.stale = 0.0

    def add(self, weight: float, changed: float | None) -> None:
        self.hits += weight
        if changed is not None:
            self.judged += weight
            self.stale += weight * changed

    def share(self) -> float | None:
        is_enough = self.judged >= max(LEAST_HITS, _MOSTLY * self.hits)
        return self.stale / self.judged if is_enough else None


def stale_share(
    parts: Iterable[Iterable[Demand]], values: Values, group: str, factor: float = 1.0
) -> float | None:
    """The share of the hits of ``group`` that would serve a value which has changed since, were
    its timeouts multiplied by ``factor`` and nothing evicted; ``parts`` is what each process asked
    of a cache of its own, or all of one. None where too little is known."""
    count = _Count()
    for part in parts:
        _count_stale(part, values, group, factor, count)
    return count.share()


def _count_stale(
    part: Iterable[Demand], values: Values, group: str, factor: float, count: _Count
) -> None:
    held: dict[Hashable, _Cached] = {}
    for each in part:
        kind, access = each.kind, each.access
        if kind == EMPTY:
            held.clear()
        if each.group != group:
            continue
        known = held.get(access.key)
        is_there = known is not None and known.ends > access.at
        fresh = _Cached(access.at, access.at + access.lasts * factor)
        if kind == LOOK_UP and known is not None and is_there:
            changed = values.changed(access.key, known.since, access.at)  # type: ignore[arg-type]  # demands are made of entries
            count.add(access.weight * each.times, changed)
        elif kind == PUT or (kind == LOOK_UP and each.fills):
            held[access.key] = fresh
            count.add(access.weight * (each.times - 1), 0.0)
        elif kind == RENEW and known is not None and is_there:
            held[access.key] = known._replace(ends=fresh.ends)
        elif kind == REMOVE:
            held.pop(access.key, None)


def entries_by_group(parts: Iterable[Iterable[Demand]]) -> Mapping[str, list[Entry]]:
    """The entries that were asked for, each once, by their group."""
    found: defaultdict[str, dict[Entry, None]] = defaultdict(dict)
    for each in (demand for part in parts for demand in part):
        found[each.group][each.access.key] = None  # type: ignore[index]  # as above
    return {group: list(entries) for group, entries in found.items()}
