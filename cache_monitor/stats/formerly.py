"""Tables of hot keys as stores have them from earlier versions, which had columns of numbers as
lists."""

from msgspec import Struct

from cache_monitor.stats.hotkeys import KeyStats
from cache_monitor.stats.window import Count, Duration, Reasons


class ListedKeys(Struct, array_like=True, gc=False):
    """The figures of :class:`~cache_monitor.stats.hotkeys.KeyStats`, one list for each, in the
    order of ``keys``. What few keys have is in a dict by the key's place."""

    keys: list[str] = []
    excess: list[Count] = []
    """Their weights less the table's floor."""
    lookups: list[Count] = []
    misses: list[Count] = []
    sets: list[Count] = []
    groups: list[str] = []
    group: list[Count] = []
    """For each key the place of its group in ``groups``."""
    bytes: list[Count | None] = []
    produced: dict[Count, tuple[Count, Duration]] = {}
    reasons: dict[Count, Reasons] = {}

    def table(self, floor: int) -> dict[str, KeyStats]:
        """The keys and their figures. Raises :class:`ValueError` where the lists do not fit."""
        if self.group and max(self.group) >= len(self.groups):
            raise ValueError("a group without a name")
        found: dict[str, KeyStats] = {}
        rows = zip(
            self.keys,
            self.excess,
            self.lookups,
            self.misses,
            self.sets,
            self.group,
            self.bytes,
            strict=True,
        )
        for place, (key, excess, lookups, misses, sets, group, size) in enumerate(rows):
            produced, seconds = self.produced.get(place, (0, 0.0))
            found[key] = KeyStats(
                group=self.groups[group],
                lookups=lookups,
                hits=max(0, lookups - misses),
                misses=misses,
                sets=sets,
                bytes=size,
                missing=max(0, floor + excess - lookups - sets),
                produced=produced,
                produce_seconds=seconds,
                reasons=self.reasons.get(place),
            )
        return found
