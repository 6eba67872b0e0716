"""What entries take, where a cache has room for bytes and not for so many entries.

Sizes are told in entries of the average size: a cache that holds a thousand entries today has room
for a thousand such, whatever else its server's memory goes to.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

from cache_monitor.trace.demand import Demand


class Held(NamedTuple):
    """What a cache held when somebody looked: its entries, the ``bytes`` that these took, and the
    bytes of an entry of each group, on the average. ``used`` is what its server took for everybody,
    of which ``empty`` even without entries."""

    entries: int
    bytes: int
    groups: Mapping[str, float]
    used: int
    empty: int = 0

    @property
    def mean(self) -> float:
        """Bytes of an entry."""
        return self.bytes / self.entries

    @property
    def _each(self) -> float:
        """What the server takes for an entry of this cache, with all that comes with it."""
        return (self.used - self.empty) / self.entries

    def room(self, limit: float) -> float:
        """The entries for which a server has room that may take ``limit`` bytes."""
        return max(1.0, (limit - self.empty) / self._each)

    def bytes_for(self, room: float) -> int:
        """What a server may take that has room for so many entries."""
        return round(self.empty + room * self._each)


def sized(parts: Sequence[Sequence[Demand]], held: Held) -> list[list[Demand]]:
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
    parts: Sequence[Sequence[Demand]], values: Mapping[Hashable, int], held: Held
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
