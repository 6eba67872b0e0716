"""The most used keys, in a fixed amount of memory however many keys pass.

A batched form of Space-Saving (Metwally, Agrawal, El Abbadi, "Efficient computation of frequent
and top-k elements in data streams", 2005): when the table has grown to twice its capacity the
lighter half goes, and ``floor`` becomes the greatest weight that may have gone with it. A key that
enters later may have been here before, so ``floor`` at its entry is its greatest undercount; keys
that never left are counted exactly. How tables merge is in :mod:`cache_monitor.stats.ranking`.
"""

from operator import itemgetter
from typing import Annotated

from msgspec import Meta, Struct

from cache_monitor.stats.window import Count, Duration, Reasons, add_reasons


class KeyStats(Struct, array_like=True, gc=False):
    """What happened to one key since it entered the table."""

    group: str
    lookups: Count = 0
    hits: Count = 0
    misses: Count = 0
    sets: Count = 0
    bytes: Count | None = None
    """Of its value when it was last seen; of several stretches the greatest."""
    missing: Count = 0
    """How many uses before the key's entry may not be in the counts."""
    produced: Count = 0
    """How many values were seen being produced, in ``produce_seconds`` together."""
    produce_seconds: Duration = 0.0
    reasons: Reasons | None = None

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
        """Count the reasons of misses."""
        if self.reasons is None:
            self.reasons = {}
        add_reasons(self.reasons, more)


class HotKeys(Struct, array_like=True):
    """A table of at most twice ``capacity`` keys that holds the most used ones."""

    capacity: Annotated[int, Meta(ge=1, le=1_000_000)]
    floor: Count = 0
    table: dict[str, KeyStats] = {}

    def entry(self, key: str, group: str) -> KeyStats:
        """The statistics of ``key``, entered now if it is new."""
        stats = self.table.get(key)
        if stats is None:
            if len(self.table) >= 2 * self.capacity:
                self.trim(self.capacity)
            stats = self.table[key] = KeyStats(group, missing=self.floor)
        return stats

    def trim(self, most: int) -> None:
        """Keep the ``most`` heaviest keys."""
        gone = self.by_weight()[most:]
        if gone:
            self.floor = max(self.floor, gone[0][0])
        for _, key in gone:
            del self.table[key]

    def by_weight(self) -> list[tuple[int, str]]:
        """The weight of each key and the key, the heaviest first."""
        # As KeyStats.weight has it, without a call for each.
        weights = [
            (stats.lookups + stats.sets + stats.missing, key) for key, stats in self.table.items()
        ]
        weights.sort(key=itemgetter(0), reverse=True)
        return weights
