"""Tables of hot keys as a store keeps them, column by column, and the top keys of many tables.

What a column has in common is said once, and a reader goes over the columns that it needs in a
fraction of the time that an object for each key would take. Columns of numbers stay bytes until
then (see :mod:`cache_monitor.stats.packed_ints`): a report holds hundreds of tables at a time,
which would be thousands of lists and dicts for the garbage collector to go over.

A key that a table does not hold may have been used up to the table's floor. So over all tables a
key was used at most ``sum of all floors + sum of its excesses`` times, where the excess is its
weight less the floor of the table that holds it: the first part is the same for every key, and the
second needs only the tables that hold the key, in whatever order. Only the keys that come out on
top are then looked up in full.

The bound is that of mergeable Space-Saving (Agarwal, Cormode, Huang, Phillips, Wei, Yi,
"Mergeable summaries", ACM Transactions on Database Systems, 2013).
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Annotated

from msgspec import Meta, Struct, field

from cache_monitor.stats import packed_ints
from cache_monitor.stats.packed_ints import NO_INTS
from cache_monitor.stats.top_keys import HotKeys, KeyStats, edge
from cache_monitor.stats.window import Count, Duration, greater


class SparseCounts(Struct, array_like=True, gc=False):
    """Counts of those few keys that have any, by their places."""

    places: bytes = NO_INTS
    counts: bytes = NO_INTS

    def fits(self, keys: int) -> bool:
        """Whether each count is one of ``keys`` keys."""
        places = packed_ints.length_of(self.places)
        return places == packed_ints.length_of(self.counts) and (
            not places or max(packed_ints.unpack_ints(self.places)) < keys
        )

    def items(self) -> Iterator[tuple[int, int]]:
        """The places, and the count at each."""
        return zip(
            packed_ints.unpack_ints(self.places), packed_ints.unpack_ints(self.counts), strict=True
        )


class Columns(Struct, array_like=True, gc=False):
    """The figures of :class:`~cache_monitor.stats.top_keys.KeyStats`, in the order of ``keys``."""

    keys: list[str] = []
    groups: dict[str, Count] = {}
    """How many keys each group has: the keys of the first one come first, and so on."""
    excess: bytes = NO_INTS
    """Their weights less the table's floor: what ranks them."""
    lookups: bytes = NO_INTS
    misses: bytes = NO_INTS
    sets: bytes = NO_INTS
    sizes: bytes = NO_INTS
    """The bytes of their values and one more, 0 where they are not known."""
    reasons: dict[Annotated[str, Meta(max_length=32)], SparseCounts] = {}
    produced: SparseCounts = field(default_factory=SparseCounts)
    produce_seconds: list[Duration] = []
    """For each of ``produced``."""
    produce_squares: list[Duration] = []
    """For each of ``produced``, or of none where the row was written before there were any."""

    def __post_init__(self) -> None:
        """Refuse columns that do not fit together."""
        keys = len(self.keys)
        lengths = {
            keys,
            sum(self.groups.values()),
            packed_ints.length_of(self.excess),
            packed_ints.length_of(self.lookups),
            packed_ints.length_of(self.misses),
            packed_ints.length_of(self.sets),
            packed_ints.length_of(self.sizes),
        }
        few = self.produced, *self.reasons.values()
        if (
            len(lengths) > 1
            or not all(each.fits(keys) for each in few)
            or packed_ints.length_of(self.produced.places) != len(self.produce_seconds)
            or len(self.produce_squares) not in {0, len(self.produce_seconds)}
        ):
            raise ValueError("columns that do not fit together")

    def add_to(self, found: dict[str, KeyStats], places: Iterable[int]) -> None:
        """Add the figures of the keys at ``places`` to ``found``, which may hold those that other
        tables have for these keys, and none of this table's other keys. They are as with a floor of
        0: ``missing`` can be less than nothing."""
        keys, groups, ends = self.keys, list(self.groups), list(accumulate(self.groups.values()))
        excess, lookups = (
            packed_ints.unpack_ints(self.excess),
            packed_ints.unpack_ints(self.lookups),
        )
        misses, sets = packed_ints.unpack_ints(self.misses), packed_ints.unpack_ints(self.sets)
        sizes = packed_ints.unpack_ints(self.sizes)
        for place in places:
            key = keys[place]
            stats = found.get(key)
            if stats is None:
                stats = found[key] = KeyStats(groups[bisect_right(ends, place)])
            looked, missed, wrote = lookups[place], misses[place], sets[place]
            stats.lookups += looked
            stats.misses += missed
            stats.sets += wrote
            stats.missing += excess[place] - looked - wrote
            if looked > missed:
                stats.hits += looked - missed
            if sizes[place]:
                stats.bytes = greater(stats.bytes, sizes[place] - 1)
        self._add_few(found)

    def _add_few(self, found: Mapping[str, KeyStats]) -> None:
        keys = self.keys
        for reason, few in self.reasons.items():
            for place, misses in few.items():
                stats = found.get(keys[place])
                if stats is not None:
                    stats.add_reasons({reason: misses})
        squares = self.produce_squares or [0.0] * len(self.produce_seconds)
        for (place, values), seconds, square in zip(
            self.produced.items(), self.produce_seconds, squares, strict=True
        ):
            stats = found.get(keys[place])
            if stats is not None:
                stats.produced += values
                stats.produce_seconds += seconds
                stats.produce_squares += square


class StoredKeys(Struct, array_like=True, gc=False):
    """A table of hot keys as bytes have it."""

    capacity: Annotated[int, Meta(ge=1, le=1_000_000)]
    floor: Count = 0
    columns: Columns = field(default_factory=Columns)


def pack(keys: HotKeys) -> StoredKeys:
    """The heaviest ``capacity`` of ``keys``; the others go into the floor."""
    kept = keys.heaviest(keys.capacity)
    columns = _columns(kept.table, kept.floor)
    return StoredKeys(kept.capacity, kept.floor, columns=columns)


def unpack(stored: StoredKeys) -> HotKeys:
    """What :func:`pack` made ``stored`` of, as far as it was kept."""
    table: dict[str, KeyStats] = {}
    stored.columns.add_to(table, range(len(stored.columns.keys)))
    for stats in table.values():
        stats.missing = max(0, stats.missing + stored.floor)
    return HotKeys(stored.capacity, stored.floor, table)


def _columns(table: Mapping[str, KeyStats], floor: int) -> Columns:
    ordered = sorted(table.items(), key=lambda each: each[1].group)
    stats = [each for _, each in ordered]
    return Columns(
        keys=[key for key, _ in ordered],
        groups=Counter(each.group for each in stats),
        # No weight is below the floor but in a table that somebody has tampered with.
        excess=packed_ints.pack_ints([max(0, each.weight() - floor) for each in stats]),
        lookups=packed_ints.pack_ints([each.lookups for each in stats]),
        misses=packed_ints.pack_ints([each.misses for each in stats]),
        sets=packed_ints.pack_ints([each.sets for each in stats]),
        sizes=packed_ints.pack_ints(
            [0 if each.bytes is None else each.bytes + 1 for each in stats]
        ),
        reasons=_reasons(stats),
        produced=_few({at: each.produced for at, each in enumerate(stats) if each.produced}),
        produce_seconds=[each.produce_seconds for each in stats if each.produced],
        produce_squares=[each.produce_squares for each in stats if each.produced],
    )


def _reasons(stats: Sequence[KeyStats]) -> dict[str, SparseCounts]:
    found: dict[str, dict[int, int]] = {}
    for at, each in enumerate(stats):
        for reason, misses in (each.reasons or {}).items():
            found.setdefault(reason, {})[at] = misses
    return {reason: _few(misses) for reason, misses in found.items()}


def _few(counts: Mapping[int, int]) -> SparseCounts:
    return SparseCounts(
        packed_ints.pack_ints(counts.keys()), packed_ints.pack_ints(counts.values())
    )


MOST_RANKED = 100_000
"""Keys that are ranked at a time; beyond, the lighter half is forgotten."""


class Ranking:
    """Ranks the keys of all tables that it was shown by the most uses that they can have had."""

    def __init__(self) -> None:
        self.floor = 0
        """The most uses of a key that none of the tables holds."""
        self._excess: dict[str, int] = {}
        self._forgotten = 0
        """The greatest excess of the keys that are not ranked any more."""

    def add(self, stored: StoredKeys) -> None:
        """Take in the keys of another table."""
        self.floor += stored.floor
        excess, forgotten = self._excess, self._forgotten
        columns = stored.columns
        for key, more in zip(columns.keys, packed_ints.unpack_ints(columns.excess), strict=True):
            excess[key] = excess.get(key, forgotten) + more
        if len(excess) > MOST_RANKED:
            self._forget()

    def _forget(self) -> None:
        ordered = sorted(self._excess.items(), key=lambda each: each[1], reverse=True)
        kept, gone = ordered[: MOST_RANKED // 2], ordered[MOST_RANKED // 2 :]
        self._excess = dict(kept)
        self._forgotten = max(self._forgotten, gone[0][1])

    def top(self, most: int) -> tuple[list[str], int]:
        """At most ``most`` of the keys, the most used ones, and the most uses that a key which is
        not among them can have had."""
        excess = self._excess
        if len(excess) <= most:
            return list(excess), self.floor + self._forgotten
        least, gone = edge(excess.values(), most)
        above = [key for key, each in excess.items() if each > least]
        # Of equal ones always the same, whatever the order of the tables.
        equal = sorted([key for key, each in excess.items() if each == least])
        kept = above + equal[: most - len(above)]
        return kept, self.floor + max(gone, self._forgotten)

    def gather(self, tables: Iterable[StoredKeys], keys: Collection[str]) -> dict[str, KeyStats]:
        """The figures of ``keys`` over ``tables``, which are those that were added."""
        wanted = frozenset(keys)
        found: dict[str, KeyStats] = {}
        for stored in tables:
            columns = stored.columns
            places = [at for at, key in enumerate(columns.keys) if key in wanted]
            if places:
                columns.add_to(found, places)
        for stats in found.values():
            stats.missing = max(0, stats.missing + self.floor)
        return found
