"""The most used keys, in a fixed amount of memory however many keys pass.

A batched form of Space-Saving (Metwally, Agrawal, El Abbadi, "Efficient computation of frequent
and top-k elements in data streams", 2005): when the table has grown to twice its capacity the
lighter half goes, and ``floor`` becomes the greatest weight that may have gone with it. A key that
enters later may have been here before, so ``floor`` at its entry is its greatest undercount; keys
that never left are counted exactly. Tables merge: where one table has never seen a key, up to its
``floor`` may be missing.
"""

from operator import itemgetter
from typing import Annotated

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0, le=2**62)]


class KeyStats(Struct, array_like=True):
    """What happened to one key since it entered the table."""

    group: str
    lookups: Count = 0
    hits: Count = 0
    misses: Count = 0
    sets: Count = 0
    bytes: Count | None = None
    missing: Count = 0
    """How many uses before the key's entry may not be in the counts."""

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

    def add(self, other: "KeyStats") -> None:
        """Merge what another table knows of the same key."""
        self.lookups += other.lookups
        self.hits += other.hits
        self.misses += other.misses
        self.sets += other.sets
        self.missing += other.missing
        self.bytes = other.bytes if other.bytes is not None else self.bytes


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

    def merge(self, other: "HotKeys") -> None:
        """Add all that ``other`` counted; afterwards ``other`` may share parts with this."""
        mine, theirs = self.table, other.table
        if other.floor:
            for key in mine.keys() - theirs.keys():
                mine[key].missing += other.floor
        for key in mine.keys() & theirs.keys():
            mine[key].add(theirs[key])
        for key in theirs.keys() - mine.keys():
            stats = mine[key] = theirs[key]
            stats.missing += self.floor
        self.floor += other.floor
        if len(mine) > 2 * self.capacity:
            self.trim(self.capacity)

    def trim(self, most: int) -> None:
        """Keep the ``most`` heaviest keys."""
        if len(self.table) <= most:
            return
        weights = sorted(
            ((stats.weight(), key) for key, stats in self.table.items()),
            key=itemgetter(0),
            reverse=True,
        )
        gone = weights[most:]
        self.floor = max(self.floor, gone[0][0])
        for _, key in gone:
            del self.table[key]
