"""The most used keys of many tables together, without building a table of all.

A key that a table does not hold may have been used up to the table's floor. So over all tables a
key was used at most ``sum of all floors + sum of its excesses`` times, where the excess is its
weight less the floor of the table that holds it: the first part is the same for every key, and the
second needs only the tables that hold the key, in whatever order. Only the keys that come out on
top are then looked up in full.

The bound is that of mergeable Space-Saving (Agarwal, Cormode, Huang, Phillips, Wei, Yi,
"Mergeable summaries", ACM Transactions on Database Systems, 2013).
"""

from collections.abc import Collection, Iterable

from cache_monitor.stats import numbers
from cache_monitor.stats.columns import StoredKeys
from cache_monitor.stats.hotkeys import KeyStats, edge

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
        for key, more in zip(columns.keys, numbers.unpack(columns.excess), strict=True):
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
