"""Tables of hot keys as a store keeps them: column by column.

What a column has in common is said once, and a reader goes over the columns that it needs in a
fraction of the time that an object for each key would take. Columns of numbers stay bytes until
then (see :mod:`cache_monitor.stats.numbers`): a report holds hundreds of tables at a time, which
would be thousands of lists and dicts for the garbage collector to go over.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Annotated

from msgspec import Meta, Struct, field

from cache_monitor.stats import numbers
from cache_monitor.stats.formerly import ListedKeys
from cache_monitor.stats.hotkeys import HotKeys, KeyStats
from cache_monitor.stats.numbers import NONE
from cache_monitor.stats.window import Count, Duration, greater


class Few(Struct, array_like=True, gc=False):
    """Counts of those few keys that have any, by their places."""

    places: bytes = NONE
    counts: bytes = NONE

    def fits(self, keys: int) -> bool:
        """Whether each count is one of ``keys`` keys."""
        places = numbers.length(self.places)
        return places == numbers.length(self.counts) and (
            not places or max(numbers.unpack(self.places)) < keys
        )

    def items(self) -> Iterator[tuple[int, int]]:
        """The places, and the count at each."""
        return zip(numbers.unpack(self.places), numbers.unpack(self.counts), strict=True)


class Columns(Struct, array_like=True, gc=False):
    """The figures of :class:`~cache_monitor.stats.hotkeys.KeyStats`, in the order of ``keys``."""

    keys: list[str] = []
    groups: dict[str, Count] = {}
    """How many keys each group has: the keys of the first one come first, and so on."""
    excess: bytes = NONE
    """Their weights less the table's floor: what ranks them."""
    lookups: bytes = NONE
    misses: bytes = NONE
    sets: bytes = NONE
    sizes: bytes = NONE
    """The bytes of their values and one more, 0 where they are not known."""
    reasons: dict[Annotated[str, Meta(max_length=32)], Few] = {}
    produced: Few = field(default_factory=Few)
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
            numbers.length(self.excess),
            numbers.length(self.lookups),
            numbers.length(self.misses),
            numbers.length(self.sets),
            numbers.length(self.sizes),
        }
        few = self.produced, *self.reasons.values()
        if (
            len(lengths) > 1
            or not all(each.fits(keys) for each in few)
            or numbers.length(self.produced.places) != len(self.produce_seconds)
            or len(self.produce_squares) not in {0, len(self.produce_seconds)}
        ):
            raise ValueError("columns that do not fit together")

    def add_to(self, found: dict[str, KeyStats], places: Iterable[int]) -> None:
        """Add the figures of the keys at ``places`` to ``found``, which may hold those that other
        tables have for these keys, and none of this table's other keys. They are as with a floor of
        0: ``missing`` can be less than nothing."""
        keys, groups, ends = self.keys, list(self.groups), list(accumulate(self.groups.values()))
        excess, lookups = numbers.unpack(self.excess), numbers.unpack(self.lookups)
        misses, sets = numbers.unpack(self.misses), numbers.unpack(self.sets)
        sizes = numbers.unpack(self.sizes)
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


_NOTHING = ListedKeys()


class StoredKeys(Struct, array_like=True, gc=False):
    """A table of hot keys as bytes have it: ``columns``, or what earlier versions wrote."""

    capacity: Annotated[int, Meta(ge=1, le=1_000_000)]
    floor: Count = 0
    table: dict[str, KeyStats] = {}
    listed: ListedKeys = field(default_factory=lambda: _NOTHING)
    columns: Columns = field(default_factory=Columns)

    def __post_init__(self) -> None:
        """Make columns of what is in another form."""
        if self.table or self.listed.keys:
            table = self.table or self.listed.table(self.floor)
            self.columns = _columns(table, self.floor)
        # Ten empty lists and dicts less for each row that is held.
        self.table, self.listed = {}, _NOTHING


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
        excess=numbers.pack([max(0, each.weight() - floor) for each in stats]),
        lookups=numbers.pack([each.lookups for each in stats]),
        misses=numbers.pack([each.misses for each in stats]),
        sets=numbers.pack([each.sets for each in stats]),
        sizes=numbers.pack([0 if each.bytes is None else each.bytes + 1 for each in stats]),
        reasons=_reasons(stats),
        produced=_few({at: each.produced for at, each in enumerate(stats) if each.produced}),
        produce_seconds=[each.produce_seconds for each in stats if each.produced],
        produce_squares=[each.produce_squares for each in stats if each.produced],
    )


def _reasons(stats: Sequence[KeyStats]) -> dict[str, Few]:
    found: dict[str, dict[int, int]] = {}
    for at, each in enumerate(stats):
        for reason, misses in (each.reasons or {}).items():
            found.setdefault(reason, {})[at] = misses
    return {reason: _few(misses) for reason, misses in found.items()}


def _few(counts: Mapping[int, int]) -> Few:
    return Few(numbers.pack(counts.keys()), numbers.pack(counts.values()))
