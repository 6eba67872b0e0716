"""The most used keys of a cache: a bounded table of them, its columns in a store, and the merge of
many tables.

A batched form of Space-Saving (Metwally, Agrawal, El Abbadi, "Efficient computation of frequent
and top-k elements in data streams", 2005): when the table has grown to twice its capacity, or four
times as many keys wait beside it, the lighter ones go, and ``floor`` becomes the greatest weight
that may have gone with them. A key that enters later may have been here before, so ``floor`` at its
entry is its greatest undercount; keys that never left are counted exactly.

A store has a table column by column. What a column has in common is said once, and a reader goes
over the columns that it needs in a fraction of the time that an object for each key would take.
Columns of numbers stay bytes until then: a report holds hundreds of tables at a time, which would
be thousands of lists and dicts for the garbage collector to go over.

A key that a table does not hold may have been used up to the table's floor. So over all tables a
key was used at most ``sum of all floors + sum of its excesses`` times, where the excess is its
weight less the floor of the table that holds it: the first part is the same for every key, and the
second needs only the tables that hold the key, in whatever order. Only the keys that come out on
top are then looked up in full. The bound is that of mergeable Space-Saving (Agarwal, Cormode,
Huang, Phillips, Wei, Yi, "Mergeable summaries", ACM Transactions on Database Systems, 2013).
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, islice
from typing import Annotated

from msgspec import Meta, Struct, field

from cache_monitor.stats import codec
from cache_monitor.stats.codec import NO_INTS
from cache_monitor.stats.sketches import add_counts
from cache_monitor.stats.window import Count, Duration, Reasons, greater

_WAITING_FOR_EACH = 4
"""Keys that are but a number, for each that the table is to hold."""

Numbers = dict[str, dict[str, int]]
"""By their group, keys that are but a number."""


class KeyStats(Struct, array_like=True, gc=False):
    """What happened to one key since it entered the table."""

    group: str
    lookups: Count = 0
    hits: Count = 0
    misses: Count = 0
    sets: Count = 0
    bytes: Count | None = None
    """Of its values the greatest that was seen."""
    missing: Count = 0
    """How many uses before the key's entry may not be in the counts."""
    produced: Count = 0
    """How many values were seen being produced, in ``produce_seconds`` together."""
    produce_seconds: Duration = 0.0
    reasons: Reasons | None = None
    produce_squares: Duration = 0.0
    """The squares of the seconds that each value took to produce, added up."""

    def weight(self) -> int:
        """The most uses that the key can have had."""
        return self.lookups + self.sets + self.missing

    def count(self, hit: bool | None, wrote: bool, times: int) -> None:
        """Count ``times`` uses; ``hit`` is None where nothing was looked up."""
        if hit is not None:
            self.lookups += times
            if hit:
                self.hits += times
            else:
                self.misses += times
        if wrote:
            self.sets += times

    def add_reasons(self, more: Reasons) -> None:
        if self.reasons is None:
            self.reasons = {}
        add_counts(self.reasons, more)


class HotKeys(Struct, array_like=True):
    """A table of at most twice ``capacity`` keys that holds the most used ones.

    Once ``capacity`` keys are in it, one that was only looked up and never written since is but a
    number, in ``found`` and ``missed`` by its group. Of a million keys most come by once, and go
    again without an object having been made for each.
    """

    capacity: Annotated[int, Meta(ge=1, le=1_000_000)]
    floor: Count = 0
    table: dict[str, KeyStats] = {}
    found: Numbers = {}
    """How often keys were found since the table was trimmed last."""
    missed: Numbers = {}
    """How often they were missed."""
    sizes: dict[str, int] = {}
    """The bytes of their values, where they are known."""
    waiting: int = 0
    """How many keys are in ``found``, and in ``missed``."""

    def entry(self, key: str, group: str) -> KeyStats:
        """The statistics of ``key``, entered now if it is new."""
        stats = self.table.get(key)
        if stats is None and len(self.table) >= 2 * self.capacity:
            self.trim(self.capacity)
            stats = self.table.get(key)
        if stats is None:
            hits, misses = self._take(self.found, group, key), self._take(self.missed, group, key)
            stats = self._enter(self.table, key, group)
            stats.count(True, False, hits)
            stats.count(False, False, misses)
        return stats

    def _take(self, numbers: Numbers, group: str, key: str) -> int:
        times = numbers[group].pop(key, 0) if group in numbers else 0
        self.waiting -= times > 0
        return times

    def count_hits(self, group: str, keys: Iterable[tuple[str, int | None, int]]) -> None:
        """Count keys of ``group`` that were found: for each the key, the bytes of its value where
        they are known, and how many times."""
        room = _WAITING_FOR_EACH * self.capacity
        found = self.found.setdefault(group, {})
        others = self.waiting - len(found)
        for key, size, times in keys:
            stats = self.table.get(key)
            if stats is None and len(self.table) < self.capacity:
                stats = self.entry(key, group)
            if stats is not None:
                stats.lookups += times
                stats.hits += times
                if size is not None:
                    stats.bytes = greater(stats.bytes, size)
                continue
            found[key] = found.get(key, 0) + times
            if size is not None:
                self.sizes[key] = max(size, self.sizes.get(key, 0))
            if others + len(found) >= room:
                self.trim(self.capacity)
                found, others = self.found.setdefault(group, {}), 0
        self.waiting = others + len(found)

    def count_misses(self, group: str, keys: Iterable[tuple[str, int]]) -> None:
        """Count keys of ``group`` that were missed: for each how many times."""
        room = _WAITING_FOR_EACH * self.capacity
        missed = self.missed.setdefault(group, {})
        others = self.waiting - len(missed)
        for key, times in keys:
            stats = self.table.get(key)
            if stats is None and len(self.table) < self.capacity:
                stats = self.entry(key, group)
            if stats is not None:
                stats.lookups += times
                stats.misses += times
                continue
            missed[key] = missed.get(key, 0) + times
            if others + len(missed) >= room:
                self.trim(self.capacity)
                missed, others = self.missed.setdefault(group, {}), 0
        self.waiting = others + len(missed)

    def trim(self, most: int) -> None:
        """Keep the ``most`` heaviest of all keys in the table."""
        kept = self.heaviest(most)
        self.table, self.floor = kept.table, kept.floor
        self.found, self.missed, self.sizes, self.waiting = {}, {}, {}, 0

    def heaviest(self, most: int) -> "HotKeys":
        """The ``most`` heaviest of all keys in a table of their own; others go into its floor."""
        weights = {
            # As KeyStats.weight has it, without a call for each.
            key: stats.lookups + stats.sets + stats.missing
            for key, stats in self.table.items()
        }
        get, floor = weights.get, self.floor
        for numbers in (*self.found.values(), *self.missed.values()):
            weights.update({key: get(key, floor) + times for key, times in numbers.items()})
        if len(weights) > most:
            least, gone = edge(weights.values(), most)
            above = [key for key, weight in weights.items() if weight > least]
            equal = (key for key, weight in weights.items() if weight == least)
            kept = {*above, *islice(equal, most - len(above))}
        else:
            kept, gone = set(weights), 0
        table = {key: stats for key, stats in self.table.items() if key in kept}
        # In their order, so that of equal ones always the same stay.
        for hit, by_group in ((True, self.found), (False, self.missed)):
            for group, counts in by_group.items():
                for key in [key for key in counts if key in kept]:
                    self._enter(table, key, group).count(hit, False, counts[key])
        return HotKeys(self.capacity, max(self.floor, gone), table)

    def _enter(self, table: dict[str, KeyStats], key: str, group: str) -> KeyStats:
        """The statistics of a key that was but a number."""
        stats = table.get(key)
        if stats is None:
            stats = table[key] = KeyStats(group, bytes=self.sizes.get(key), missing=self.floor)
        return stats


def edge(figures: Collection[int], most: int) -> tuple[int, int]:
    """Of more than ``most`` figures the last one that belongs to the ``most`` greatest, and the
    first one that does not."""
    # Most keys are used but a few times: it is quicker to count the figures than to sort them.
    times = Counter(figures)
    seen = 0
    least: int | None = None
    for figure in sorted(times, reverse=True):
        seen += times[figure]
        if least is None and seen >= most:
            least = figure
        if least is not None and seen > most:
            return least, figure
    raise ValueError(f"there are no more than {most} figures")


class SparseCounts(Struct, array_like=True, gc=False):
    """Counts of those few keys that have any, by their places."""

    places: bytes = NO_INTS
    counts: bytes = NO_INTS

    def fits(self, keys: int) -> bool:
        places = codec.length_of(self.places)
        return places == codec.length_of(self.counts) and (
            not places or max(codec.unpack_ints(self.places)) < keys
        )

    def items(self) -> Iterator[tuple[int, int]]:
        return zip(codec.unpack_ints(self.places), codec.unpack_ints(self.counts), strict=True)


class Columns(Struct, array_like=True, gc=False):
    """The figures of :class:`~cache_monitor.stats.hot_keys.KeyStats`, in the order of ``keys``."""

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
    """For each of ``produced``, as are the squares."""
    produce_squares: list[Duration] = []

    def __post_init__(self) -> None:
        """Refuse columns that do not fit together."""
        keys = len(self.keys)
        columns = self.excess, self.lookups, self.misses, self.sets, self.sizes
        lengths = {keys, sum(self.groups.values()), *map(codec.length_of, columns)}
        few = self.produced, *self.reasons.values()
        if (
            len(lengths) > 1
            or not all(each.fits(keys) for each in few)
            or codec.length_of(self.produced.places) != len(self.produce_seconds)
            or len(self.produce_squares) != len(self.produce_seconds)
        ):
            raise ValueError("columns that do not fit together")

    def add_to(self, found: dict[str, KeyStats], places: Iterable[int]) -> None:
        """Add the figures of the keys at ``places`` to ``found``, which may hold those that other
        tables have for these keys, and none of this table's other keys. They are as with a floor of
        0: ``missing`` can be less than nothing."""
        keys, groups, ends = self.keys, list(self.groups), list(accumulate(self.groups.values()))
        columns = self.excess, self.lookups, self.misses, self.sets, self.sizes
        excess, lookups, misses, sets, sizes = map(codec.unpack_ints, columns)
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
        for (place, values), seconds, square in zip(
            self.produced.items(), self.produce_seconds, self.produce_squares, strict=True
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
    return StoredKeys(kept.capacity, kept.floor, _columns(kept.table, kept.floor))


def _columns(table: Mapping[str, KeyStats], floor: int) -> Columns:
    ordered = sorted(table.items(), key=lambda each: each[1].group)
    stats = [each for _, each in ordered]
    return Columns(
        keys=[key for key, _ in ordered],
        groups=Counter(each.group for each in stats),
        # No weight is below the floor but in a table that somebody has tampered with.
        excess=codec.pack_ints([max(0, each.weight() - floor) for each in stats]),
        lookups=codec.pack_ints([each.lookups for each in stats]),
        misses=codec.pack_ints([each.misses for each in stats]),
        sets=codec.pack_ints([each.sets for each in stats]),
        sizes=codec.pack_ints([0 if each.bytes is None else each.bytes + 1 for each in stats]),
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
    return SparseCounts(codec.pack_ints(counts.keys()), codec.pack_ints(counts.values()))


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
        for key, more in zip(columns.keys, codec.unpack_ints(columns.excess), strict=True):
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
