"""Tables of hot keys as a store keeps them: column by column.

What a column has in common is said once, and a reader goes over the columns that it needs in a
fraction of the time that an object for each key would take.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated

from msgspec import Meta, Struct, field

from cache_monitor.stats.hotkeys import HotKeys, KeyStats
from cache_monitor.stats.window import Count, Duration, Reasons, greater


class Columns(Struct, array_like=True, gc=False):
    """The figures of :class:`~cache_monitor.stats.hotkeys.KeyStats`, one list for each, in the
    order of ``keys``. What few keys have is in a dict by the key's place."""

    keys: list[str] = []
    excess: list[Count] = []
    """Their weights less the table's floor: what ranks them."""
    lookups: list[Count] = []
    misses: list[Count] = []
    sets: list[Count] = []
    groups: list[str] = []
    group: list[Count] = []
    """For each key the place of its group in ``groups``."""
    bytes: list[Count | None] = []
    produced: dict[Count, tuple[Count, Duration]] = {}
    reasons: dict[Count, Reasons] = {}

    def __post_init__(self) -> None:
        """Refuse columns that do not fit together."""
        columns = (
            self.excess,
            self.lookups,
            self.misses,
            self.sets,
            self.group,
            self.bytes,
        )
        if any(len(column) != len(self.keys) for column in columns):
            raise ValueError("columns of different lengths")
        if self.keys and max(self.group) >= len(self.groups):
            raise ValueError("a group without a name")

    def stats(self, place: int) -> KeyStats:
        """The figures of the key at ``place``, as they were with a floor of 0: ``missing`` can be
        less than nothing."""
        produced, produce_seconds = self.produced.get(place, (0, 0.0))
        lookups, misses, sets = self.lookups[place], self.misses[place], self.sets[place]
        return KeyStats(
            group=self.groups[self.group[place]],
            lookups=lookups,
            hits=max(0, lookups - misses),
            misses=misses,
            sets=sets,
            bytes=self.bytes[place],
            missing=self.excess[place] - lookups - sets,
            produced=produced,
            produce_seconds=produce_seconds,
            reasons=dict(self.reasons[place]) if place in self.reasons else None,
        )

    def add_to(self, found: dict[str, KeyStats], places: Iterable[int]) -> None:
        """Add the figures of the keys at ``places`` to what other tables know of them."""
        keys, excess, bytes_ = self.keys, self.excess, self.bytes
        all_lookups, all_misses, all_sets = self.lookups, self.misses, self.sets
        produced, reasons = self.produced, self.reasons
        for place in places:
            stats = found.get(keys[place])
            if stats is None:
                found[keys[place]] = self.stats(place)
                continue
            lookups, misses, sets = all_lookups[place], all_misses[place], all_sets[place]
            stats.lookups += lookups
            stats.misses += misses
            stats.sets += sets
            stats.missing += excess[place] - lookups - sets
            if lookups > misses:
                stats.hits += lookups - misses
            if bytes_[place] is not None:
                stats.bytes = greater(stats.bytes, bytes_[place])
            if place in produced:
                values, seconds = produced[place]
                stats.produced += values
                stats.produce_seconds += seconds
            if place in reasons:
                stats.add_reasons(reasons[place])


class StoredKeys(Struct, array_like=True, gc=False):
    """A table of hot keys as bytes have it: ``columns``, or ``table`` as it was at first."""

    capacity: Annotated[int, Meta(ge=1, le=1_000_000)]
    floor: Count = 0
    table: dict[str, KeyStats] = {}
    columns: Columns = field(default_factory=Columns)

    def __post_init__(self) -> None:
        """Make columns of a table."""
        if self.table:
            self.columns = _columns(self.table, self.floor)
            self.table = {}


def pack(keys: HotKeys) -> StoredKeys:
    """The heaviest ``capacity`` of ``keys``; the others go into the floor."""
    kept = keys.heaviest(keys.capacity)
    return StoredKeys(kept.capacity, kept.floor, {}, _columns(kept.table, kept.floor))


def unpack(stored: StoredKeys) -> HotKeys:
    """What :func:`pack` made ``stored`` of, as far as it was kept."""
    columns = stored.columns
    table = {key: columns.stats(place) for place, key in enumerate(columns.keys)}
    for stats in table.values():
        stats.missing = max(0, stats.missing + stored.floor)
    return HotKeys(stored.capacity, stored.floor, table)


def _columns(table: Mapping[str, KeyStats], floor: int) -> Columns:
    stats = table.values()
    places: dict[str, int] = {}
    group = [places.setdefault(each.group, len(places)) for each in stats]
    return Columns(
        keys=list(table),
        # No weight is below the floor but in a table that somebody has tampered with.
        excess=[max(0, each.weight() - floor) for each in stats],
        lookups=[each.lookups for each in stats],
        misses=[each.misses for each in stats],
        sets=[each.sets for each in stats],
        groups=list(places),
        group=group,
        bytes=[each.bytes for each in stats],
        produced={
            at: (each.produced, each.produce_seconds)
            for at, each in enumerate(stats)
            if each.produced
        },
        reasons={at: each.reasons for at, each in enumerate(stats) if each.reasons},
    )
