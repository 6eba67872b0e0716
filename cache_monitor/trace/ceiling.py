"""What no cache can exceed whose entries differ in size.

To find the best for such a cache takes too long. But room that is kept for an entry from one lookup
to the next is room times time, of which a cache has only so much; to give it to the lookups that
want least of it is more than any policy could do (Berger, Beckmann and Harchol-Balter, "Practical
Bounds on Optimal Caching with Variable Object Sizes", 2018).
"""

from collections.abc import Collection, Hashable, Iterator
from math import inf
from typing import NamedTuple

from cache_monitor.trace.demand import EMPTY, LOOK_UP, REMOVE, RENEW, Demand
from cache_monitor.trace.what_if import Count, Outcomes


class _Hit(NamedTuple):
    """A lookup that may hit, where the entry has kept its room so long: ``room`` times time."""

    room: float
    demand: Demand


def ceiling(demands: Collection[Demand], size: float, since: float = -inf) -> Outcomes:
    """What a cache with room for ``size`` hits at most of the lookups from ``since`` on."""
    counts: dict[Hashable, Count] = {}
    possible, ends = [], since
    for hit in _possible(demands, since):
        each = hit.demand
        ends = max(ends, each.access.at)
        count = counts.setdefault(each.access.key, Count(each.access.weight, each.group))
        count.lookups += each.times
        if hit.room < inf:
            possible.append(hit)
        elif each.fills:
            count.hits += each.times - 1
    left = size * (ends - max(since, _began(demands)))
    for room, each in sorted(possible, key=lambda hit: hit.room):
        count = counts[each.access.key]
        count.hits += each.times if left >= 0 else each.times - 1
        left -= room * each.access.weight
    return Outcomes(counts)


def _began(demands: Collection[Demand]) -> float:
    return min((each.access.at for each in demands), default=0.0)


def _possible(demands: Collection[Demand], since: float) -> Iterator[_Hit]:
    """The lookups that count; of those that cannot hit the room is infinite."""
    known: dict[Hashable, tuple[float, float]] = {}
    for each in demands:
        access = each.access
        before, ends = known.get(access.key, (inf, -inf))
        is_there = ends > access.at
        if each.kind == EMPTY:
            known.clear()
        elif each.kind == REMOVE:
            known.pop(access.key, None)
        elif each.kind != RENEW or is_there:
            if each.kind != LOOK_UP or each.fills or is_there:
                known[access.key] = access.at, access.at + access.lasts
            if each.kind == LOOK_UP and each.counted and access.at >= since:
                kept = access.size * (access.at - max(before, since)) if is_there else inf
                yield _Hit(kept, each)
