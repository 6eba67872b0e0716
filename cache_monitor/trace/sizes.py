"""What entries take, and what no cache can exceed whose entries differ in size.

Sizes are told in entries of the average size: a cache that holds a thousand entries today has room
for a thousand such, whatever else its server's memory goes to.

To find the best for such a cache takes too long. But room that is kept for an entry from one lookup
to the next is room times time, of which a cache has only so much; to give it to the lookups that
want least of it is more than any policy could do (Berger, Beckmann and Harchol-Balter, "Practical
Bounds on Optimal Caching with Variable Object Sizes", 2018).
"""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from math import inf
from typing import NamedTuple

from cache_monitor.trace.demand import EMPTY, LOOK_UP, REMOVE, RENEW, Demand
from cache_monitor.trace.models.recency import Slabs
from cache_monitor.trace.what_if import Count, Outcomes


class MeasuredContents(NamedTuple):
    """What a cache held when somebody looked: its entries, the ``bytes`` that these took, and the
    bytes of an entry of each group, on the average. ``used`` is what its server took for everybody,
    of which ``empty`` even without entries; ``share`` of what entries took was this cache's."""

    entries: int
    bytes: int
    groups: Mapping[str, float]
    used: int
    empty: int = 0
    share: float = 1.0

    @property
    def mean(self) -> float:
        """Bytes of an entry."""
        return self.bytes / self.entries

    @property
    def _each(self) -> float:
        """What the server takes for an entry of this cache, with all that comes with it."""
        return (self.used - self.empty) / self.entries

    @property
    def slabs(self) -> Slabs:
        """The same for memcached."""
        return Slabs(self.mean, self.share * self._each)

    def room(self, limit: float) -> float:
        """The entries for which a server has room that may take ``limit`` bytes."""
        return max(1.0, (limit - self.empty) / self._each)

    def bytes_for(self, room: float) -> int:
        """What a server may take that has room for so many entries."""
        return round(self.empty + room * self._each)


def sized(parts: Sequence[Sequence[Demand]], held: MeasuredContents) -> list[list[Demand]]:
    """``parts``, where each entry takes what it takes: its value's bytes as far as they were seen,
    and what the backend needs beside that."""
    values = _values(parts)
    beside = _beside(parts, values, held)
    found = []
    for part in parts:
        sized_part = []
        for each in part:
            value = values.get(each.access.key)
            if value is None:
                took = held.groups.get(each.group, held.mean)
            else:
                took = max(1.0, value + beside[each.group])
            access = each.access._replace(size=took / held.mean)
            sized_part.append(each._replace(access=access))
        found.append(sized_part)
    return found


def _values(parts: Sequence[Sequence[Demand]]) -> dict[Hashable, int]:
    """The bytes of the values, by their entries."""
    return {each.access.key: each.bytes for part in parts for each in part if each.bytes}


def _beside(
    parts: Sequence[Sequence[Demand]], values: Mapping[Hashable, int], held: MeasuredContents
) -> Mapping[str, float]:
    """What an entry takes beside its value, by group: what it takes, less its value's bytes."""
    group_of = {each.access.key: each for part in parts for each in part}
    sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for entry, value in values.items():
        each = group_of[entry]
        for name in (each.group, ""):
            sums[name][0] += each.access.weight * value
            sums[name][1] += each.access.weight
    total, weight = sums[""]
    usual = held.mean - total / weight if weight else 0.0
    return defaultdict(
        lambda: usual,
        {
            name: held.groups[name] - total / weight
            for name, (total, weight) in sums.items()
            if name in held.groups
        },
    )


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
