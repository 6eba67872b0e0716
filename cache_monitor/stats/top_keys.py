"""The keys that a report names: the most used ones, and of each group a few that stand for many.

A batched form of Space-Saving (Metwally, Agrawal, El Abbadi, "Efficient computation of frequent
and top-k elements in data streams", 2005): when the table has grown to twice its capacity, or four
times as many keys wait beside it, the lighter ones go, and ``floor`` becomes the greatest weight
that may have gone with them. A key that enters later may have been here before, so ``floor`` at its
entry is its greatest undercount; keys that never left are counted exactly. How tables merge is in
:mod:`cache_monitor.stats.columns`.

The first few different ones of a bucket are noted, which costs next to nothing. Of those of
several buckets the ones with the smallest checksums stay: these are no likelier to be one key
than another, and the next reading of the same buckets has the same ones.
"""

from bisect import insort
from collections import Counter
from collections.abc import Collection, Iterable
from itertools import islice
from typing import Annotated
from zlib import crc32

from msgspec import Meta, Struct

from cache_monitor.stats.window import Count, Duration, Reasons, add_reasons, greater

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
        """Count the reasons of misses."""
        if self.reasons is None:
            self.reasons = {}
        add_reasons(self.reasons, more)


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
        for group, found in self.found.items():
            for key in [key for key in found if key in kept]:
                self._enter(table, key, group).count(True, False, found[key])
        for group, missed in self.missed.items():
            for key in [key for key in missed if key in kept]:
                self._enter(table, key, group).count(False, False, missed[key])
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


SAMPLE_SIZE = 5

Samples = Annotated[tuple[str, ...], Meta(max_length=100)]
"""Names of keys, as they may be shown: at most ``SAMPLE_SIZE``, the smallest checksum first."""


def few_of(names: Iterable[str]) -> Samples:
    """Those of ``names`` that are kept."""
    # A shown name has no lone surrogates.
    ranked = sorted((crc32(name.encode()), name) for name in set(names))
    return tuple(name for _, name in ranked[:SAMPLE_SIZE])


def with_one_more(samples: Samples, name: str) -> Samples:
    """``samples`` and ``name``, unless there are enough."""
    if len(samples) >= SAMPLE_SIZE or name in samples:
        return samples
    return few_of((*samples, name))


class MergedSample:
    """The merge of many samples. One with a larger checksum than all that are kept ends the look
    at its sample: those behind it have larger ones still."""

    __slots__ = ("_kept", "_names")

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._kept: list[tuple[int, str]] = []
        """Checksum and name, the smallest first."""

    def add(self, samples: Samples) -> None:
        """Merge ``samples`` into it."""
        names, kept = self._names, self._kept
        for name in samples:
            # Most are known already: the same keys are used again and again.
            if name in names:
                continue
            ranked = crc32(name.encode()), name
            if len(kept) == SAMPLE_SIZE:
                if ranked > kept[-1]:
                    return
                names.remove(kept.pop()[1])
            insort(kept, ranked)
            names.add(name)

    def samples(self) -> Samples:
        """Those that are kept of all that were added."""
        return tuple(name for _, name in self._kept)
