"""Whether values had changed when they were written anew, and how many hits of another timeout
would be stale.

The fingerprint of each write tells the values apart. Between two writes that differ the value
changed at an unknown time, each equally likely; between two equal ones it did not. So for each hit
of a simulated timeout there is a probability that the value had changed by then. Nothing is said of
the time after the last write, nor where a fingerprint is missing.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import pairwise
from math import inf, log2
from typing import NamedTuple, cast

from cache_monitor.stats.groups import LEAST as LEAST_REWRITES
from cache_monitor.stats.groups import lasting
from cache_monitor.trace import MISS, NEVER, SECOND, UNKNOWN_TIME, WRITE, Event
from cache_monitor.what_if.reading import Entry
from cache_monitor.what_if.workload import FILLED_WITHIN, SimulatedCall

LEAST_HITS = 100
"""With fewer hits their stale share is unknown."""
_MOSTLY = 0.5
_BUCKETS_PER_DOUBLING = 8
"""Of the time between two writes."""
_SLACK = 1.0
"""Seconds that an entry may be gone before its expiry: memcached's clock ticks in seconds."""


class Rewrites(NamedTuple):
    """The ``rewrites`` of a group's values after their expiry. ``unchanged``: the share of these
    that brought the same value. ``seconds_to_change``: how long a value lasts on average. Both are
    None if unknown, the latter also if no value changed."""

    rewrites: float = 0.0
    unchanged: float | None = None
    seconds_to_change: float | None = None


class _Write(NamedTuple):
    at: float
    ends: float
    fingerprint: int
    weight: float


class Values:
    """The values that the writes among ``events`` tell of."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._writes: defaultdict[Entry, list[_Write]] = defaultdict(list)
        missed: dict[Entry, int] = {}
        for event in sorted(events, key=lambda each: each.began):
            entry, kind = (event.key, event.call.version), event.call.kind
            if kind == MISS:
                missed[entry] = event.began
            elif kind == WRITE:
                # The value is as old as its computation, which began after the miss.
                since = missed.pop(entry, event.began)
                began = since if event.began - since <= FILLED_WITHIN else event.began
                self._writes[entry].append(_write(event, began))
        for writes in self._writes.values():
            writes.sort()
        self._times = {entry: [each.at for each in own] for entry, own in self._writes.items()}

    def change_probability(self, entry: Entry, since: float, at: float) -> float | None:
        """The probability that the value of ``entry`` is another at a time than it was ``since``
        then; None if unknown."""
        before, after = self._between(entry, since), self._between(entry, at)
        if before is None or after is None:
            return None
        if self._index(entry, since) == self._index(entry, at):
            old, new, passed = before
            return 0.0 if old == new else after[2] - passed
        first, second = _probabilities(*before), _probabilities(*after)
        return 1 - sum(share * second.get(value, 0.0) for value, share in first.items())

    def rewrites(self, entries: Iterable[Entry]) -> Rewrites:
        """The rewrites of ``entries``."""
        rewrites = known = unchanged = 0.0
        gaps: defaultdict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
        pairs = (pair for entry in entries for pair in pairwise(self._writes.get(entry, ())))
        for one, other in pairs:
            is_known = bool(one.fingerprint and other.fingerprint)
            is_same = is_known and one.fingerprint == other.fingerprint
            weight = one.weight
            if other.at >= one.ends - _SLACK:
                rewrites += weight
                known += weight * is_known
                unchanged += weight * is_same
            if is_known and other.at > one.at:
                gaps[round(log2(other.at - one.at) * _BUCKETS_PER_DOUBLING)][is_same] += weight
        share = unchanged / known if known >= LEAST_REWRITES else None
        seconds = lasting(
            (2.0 ** (bucket / _BUCKETS_PER_DOUBLING), changed, same)
            for bucket, (changed, same) in gaps.items()
        )
        return Rewrites(rewrites, share, seconds)

    def _index(self, entry: Entry, at: float) -> int:
        return bisect_right(self._times[entry], at)

    def _between(self, entry: Entry, at: float) -> tuple[int, int, float] | None:
        """The values written before and after ``at``, and the share of the time between that had
        passed."""
        if entry not in self._times:
            return None
        index = self._index(entry, at)
        writes = self._writes[entry]
        if not 0 < index < len(writes):
            return None
        before, after = writes[index - 1], writes[index]
        if not (before.fingerprint and after.fingerprint):
            return None
        length = after.at - before.at
        return before.fingerprint, after.fingerprint, (at - before.at) / length if length else 1.0


def _probabilities(old: int, new: int, passed: float) -> dict[int, float]:
    """The probabilities of both values when the share ``passed`` of the time between is over."""
    return {old: 1.0} if old == new else {old: 1 - passed, new: passed}


def _write(event: Event, began: int) -> _Write:
    timeout = event.call.timeout
    ends = inf if timeout in {NEVER, UNKNOWN_TIME} else (event.ended + timeout) / SECOND
    return _Write(began / SECOND, ends, event.fingerprint, float(event.weight))


class _CachedValue(NamedTuple):
    """The value of an entry: since when it is cached, and when that ends."""

    since: float
    ends: float


def stale_share(
    workloads: Iterable[Iterable[SimulatedCall]], values: Values, group: str, factor: float = 1.0
) -> float | None:
    """The share of the hits of ``group`` that would find a changed value, if its timeouts were
    multiplied by ``factor`` and nothing was evicted; None if too little is known. ``workloads``:
    the calls of each process to its own cache, or all calls to one cache."""
    hits = known = stale = 0.0
    for weight, probability in (
        hit for workload in workloads for hit in _hits(workload, values, group, factor)
    ):
        hits += weight
        if probability is not None:
            known += weight
            stale += weight * probability
    return stale / known if known >= max(LEAST_HITS, _MOSTLY * hits) else None


def _hits(
    workload: Iterable[SimulatedCall], values: Values, group: str, factor: float
) -> Iterator[tuple[float, float | None]]:
    """The weight of each hit, and the probability that it finds a changed value."""
    cached: dict[Hashable, _CachedValue] = {}
    for call in workload:
        kind, access = call.kind, call.access
        if kind == "clear":
            cached.clear()
        if call.group != group:
            continue
        known = cached.get(access.key)
        is_there = known is not None and known.ends > access.at
        fresh = _CachedValue(access.at, access.at + access.timeout * factor)
        if kind == "get" and known is not None and is_there:
            entry = cast(Entry, access.key)
            changed = values.change_probability(entry, known.since, access.at)
            yield access.weight * call.times, changed
            cached[access.key] = known._replace(ends=fresh.ends) if call.renews else known
        elif kind == "set" or (kind == "get" and call.fills):
            cached[access.key] = fresh
            yield access.weight * (call.times - 1), 0.0
        elif kind == "touch" and known is not None and is_there:
            cached[access.key] = known._replace(ends=fresh.ends)
        elif kind == "delete":
            cached.pop(access.key, None)


def entries_by_group(workloads: Iterable[Iterable[SimulatedCall]]) -> Mapping[str, list[Entry]]:
    """The entries in ``workloads``, each once, by their group."""
    found: defaultdict[str, dict[Entry, None]] = defaultdict(dict)
    for call in (each for workload in workloads for each in workload):
        found[call.group][cast(Entry, call.access.key)] = None
    return {group: list(entries) for group, entries in found.items()}
