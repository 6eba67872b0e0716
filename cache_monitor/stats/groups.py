"""The calls on the keys of one group, and what became of its entries.

That is how long they lasted, what ended them, and whether a rewrite changed the value.
"""

from collections.abc import Iterable, Sequence
from math import exp, expm1
from typing import Annotated, Literal

from msgspec import Meta, Struct, structs

from cache_monitor.stats import sketches
from cache_monitor.stats.sketches import SAMPLE_SIZE, Samples, add_counts, with_one_more
from cache_monitor.stats.window import Bucket, Count, Duration, Hash, Reasons, UnixTime, total

End = Literal["expired", "deleted", "cleared", "evicted", "lost", "overwritten", "version_changed"]
"""What ended the life of an entry: ``overwritten`` where its value was written anew before."""

Cause = Literal["restart", "replica", "refused"]
"""What made an entry be lost: the backend began anew, with nothing in it; reads went to a replica
that had not got it yet; or the backend refused to store it."""


class LifeStats(Struct, array_like=True, gc=False):
    """The lives of entries that have ended, from a write to what ended it. The histograms are of
    seconds."""

    ends: dict[End, Count] = {}
    unread: dict[End, Count] = {}
    """Of these, the ones that nobody had read."""
    lasted: dict[Bucket, Count] = {}
    """From the write to the end. Of an eviction or a loss, to the lookup that noticed it."""
    first_read: dict[Bucket, Count] = {}
    """From the write to the first read."""
    evicted_at: dict[Bucket, Count] = {}
    """Of what was ``lasted``, the part of the evicted ones."""

    causes: dict[Cause, Count] = {}
    """Misses of entries that were lost, by what is known to have taken these away."""
    restarted_at: UnixTime = 0.0
    """When a backend was last seen to have begun anew."""

    def lose(self, cause: Cause, weight: int, at: float = 0.0) -> None:
        """Count ``weight`` misses of lost entries; what took these away was seen ``at``."""
        add_counts(self.causes, {cause: weight})
        if cause == "restart":
            self.restarted_at = max(self.restarted_at, at)

    def end(self, how: End, seconds: float, weight: int, is_unread: bool) -> None:
        """Count ``weight`` lives that ended."""
        add_counts(self.ends, {how: weight})
        if is_unread:
            add_counts(self.unread, {how: weight})
        [bucket] = sketches.buckets_of([max(seconds, 0.0)])
        add_counts(self.lasted, {bucket: weight})
        if how == "evicted":
            add_counts(self.evicted_at, {bucket: weight})

    def read(self, seconds: float, weight: int) -> None:
        [bucket] = sketches.buckets_of([max(seconds, 0.0)])
        add_counts(self.first_read, {bucket: weight})

    def merge(self, other: "LifeStats") -> None:
        """Add what ``other`` counted."""
        add_counts(self.ends, other.ends)
        add_counts(self.unread, other.unread)
        add_counts(self.lasted, other.lasted)
        add_counts(self.first_read, other.first_read)
        add_counts(self.evicted_at, other.evicted_at)
        add_counts(self.causes, other.causes)
        self.restarted_at = max(self.restarted_at, other.restarted_at)


LEAST = 20
"""Pairs of writes without which nothing is estimated."""
_CLOSE = 1.001
_MOST = 700.0
"""The greatest exponent whose power is a number."""


class ChangeStats(Struct, array_like=True, gc=False):
    """Values that were written anew when they had expired: by the seconds since the write before
    those that were the ``same`` and those that had ``changed``; of how many that is ``unknown``.
    Each stands for others where keys are sampled. ``seen`` are those that were compared."""

    same: dict[Bucket, Count] = {}
    changed: dict[Bucket, Count] = {}
    unknown: Count = 0
    seen: Count = 0

    def add(self, seconds: float, weight: int, is_same: bool | None) -> None:
        """Count ``weight`` values; None where it is not known whether they were the same."""
        if is_same is None:
            self.unknown += weight
            return
        self.seen += 1
        [bucket] = sketches.buckets_of([max(seconds, 0.0)])
        add_counts(self.same if is_same else self.changed, {bucket: weight})

    def merge(self, other: "ChangeStats") -> None:
        """Add what ``other`` counted."""
        add_counts(self.same, other.same)
        add_counts(self.changed, other.changed)
        self.unknown += other.unknown
        self.seen += other.seen

    @property
    def rewrites(self) -> int:
        """How many there were."""
        return sum(self.same.values()) + sum(self.changed.values()) + self.unknown

    @property
    def unchanged(self) -> float | None:
        """The share that was the same; None where too few are known."""
        same, changed = sum(self.same.values()), sum(self.changed.values())
        is_enough = self.seen >= LEAST and same + changed >= self.unknown
        return same / (same + changed) if is_enough else None

    @property
    def seconds_to_change(self) -> float | None:
        """How long a value lasts on the average; None where too little is known, or where all
        values had changed, or none."""
        if self.seen < LEAST:
            return None
        buckets = self.same.keys() | self.changed.keys()
        return lasting(
            (sketches.middle_of(each), self.changed.get(each, 0), self.same.get(each, 0))
            for each in buckets
        )

    def stale_share(self, ages: dict[int, int]) -> float | None:
        """The share of hits, of values as old as ``ages`` say, whose value had changed by then."""
        hits = sum(ages.values())
        if self.unchanged is None or not hits:
            return None
        if not any(self.changed.values()):
            return 0.0
        mean = self.seconds_to_change
        if mean is None:
            return None
        stale = (
            count * (1 - exp(-sketches.middle_of(bucket) / mean)) for bucket, count in ages.items()
        )
        return sum(stale) / hits


def lasting(counts: Iterable[tuple[float, float, float]]) -> float | None:
    """How long a value lasts on the average if changes come by chance, of which several may lie
    between two writes: what makes ``counts`` the likeliest (Cho and Garcia-Molina, "Estimating
    Frequency of Change", 2003). They are the seconds between two writes, and how many pairs of
    writes so far apart brought another value and how many the same."""
    known = [each for each in counts if each[0] > 0]
    changed, same = (sum(each[place] for each in known) for place in (1, 2))
    if changed + same < LEAST or not changed or not same:
        return None
    shortest, longest = 1e-3, 1e12
    while longest / shortest > _CLOSE:
        middle = (shortest * longest) ** 0.5
        if _is_longer(known, middle):
            shortest = middle
        else:
            longest = middle
    return shortest


def _is_longer(counts: Iterable[tuple[float, float, float]], mean: float) -> bool:
    """Whether values last longer than ``mean``: so where fewer changes are seen than expected."""
    slope = 0.0
    for seconds, changed, same in counts:
        gone = seconds / mean
        slope += changed * (seconds / expm1(gone) if gone < _MOST else 0.0) - same * seconds
    return slope < 0


GroupKind = Literal["key", "page", "page_headers", "fragment", "session"]


class GroupStats(Struct, array_like=True, gc=False):
    """The calls on the keys of one group; ``keys`` sketches how many different ones there are, or
    ``sketch`` does, in bytes as a store has them."""

    kind: GroupKind
    lookups: Count = 0
    hits: Count = 0
    misses: Count = 0
    sets: Count = 0
    deletes: Count = 0
    errors: Count = 0
    bytes_read: Count | None = None
    bytes_written: Count | None = None
    keys: set[Hash] = set()
    reasons: Reasons = {}
    produced: Count = 0
    """How many values were seen being produced, in ``produce_seconds`` together."""
    produce_seconds: Duration = 0.0
    ages: dict[Bucket, Count] = {}
    """The histogram of the seconds since the write, of hits whose write is known."""
    other_uses: Count = 0
    """Calls that had the use of an entry without a lookup: ``has_key``, ``add``, ``incr``."""
    stampedes: Count = 0
    """How many of the values were produced while somebody else produced the same one."""
    repeated_gets: Count = 0
    """Gets that ``repeated_gets_requests`` requests could have spared, having got the same."""
    repeated_gets_requests: Count = 0
    single_gets: Count = 0
    """Different keys that ``single_gets_requests`` requests got one by one."""
    single_gets_requests: Count = 0
    sample_hits: Samples = ()
    """A few of the keys that were found."""
    sample_misses: Samples = ()
    sketch: Annotated[bytes, Meta(max_length=sketches.MAX_BYTES)] = b""
    traced_misses: Count = 0
    """See :attr:`~cache_monitor.stats.window.Window.traced_misses`."""
    classified_misses: Count = 0
    lookup_seconds: Duration = 0.0
    """The time of the lookups, each key of a ``get_many`` its share of its call."""
    other_seconds: Duration = 0.0
    """The time of all other calls on its keys."""
    counts: Count = 0
    """Of ``other_uses``, the calls that change a value where it is: ``incr`` and ``decr``."""
    adds: Count = 0
    """Of ``other_uses``, the calls of ``add``."""
    rewrites: Count = 0
    """Writes of a value by the request that had found it."""
    repeated_seconds: Duration = 0.0
    """The time of the ``repeated_gets``."""
    first_set: UnixTime = 0.0
    """When one of its keys was first written; 0 where none was."""
    timeout: Duration = 0.0
    """The longest timeout that a write gave; 0 where none gave one."""
    produce_squares: Duration = 0.0
    """The squares of the seconds that each value took to produce, added up: how they spread."""
    variance: Annotated[float, Meta(ge=0, le=1e300)] = 0.0
    """See :attr:`~cache_monitor.stats.window.Window.variance`."""
    lives: LifeStats | None = None
    """Of its entries that have ended and are in the trace."""
    changes: ChangeStats | None = None
    """Of its values that were written anew and are in the trace."""
    mean_set: UnixTime = 0.0
    """When its keys were written on average; 0 where that is when the first one was, or close."""
    called_from: Annotated[str, Meta(max_length=200)] = ""
    """A line of code that asks for its keys, where their names do not tell what they are for and it
    was seen outside of requests."""

    def count(self, hit: bool | None, wrote: bool, times: int, sample: str | None = None) -> None:
        """Count ``times`` uses of a key; ``hit`` is None where nothing was looked up. ``sample``
        is the key as it may be shown."""
        if hit is not None:
            self.lookups += times
            if hit:
                self.hits += times
            else:
                self.misses += times
            # Asked first: there are enough before long.
            known = self.sample_hits if hit else self.sample_misses
            if sample is not None and len(known) < SAMPLE_SIZE:
                self._add_sample(hit, sample)
        if wrote:
            self.sets += times

    def add_seconds(self, seconds: float, looked_up: bool) -> None:
        """Add what calls on its keys took."""
        if looked_up:
            self.lookup_seconds += seconds
        else:
            self.other_seconds += seconds

    def note_set(self, at: float, timeout: float) -> None:
        """Note that a key was written at the Unix time ``at`` for ``timeout`` seconds, 0 where
        the call gave no timeout."""
        self.first_set = min(self.first_set, at) if self.first_set else at
        self.timeout = max(self.timeout, timeout)

    def add_bytes(self, size: int, wrote: bool) -> None:
        if wrote:
            self.bytes_written = (self.bytes_written or 0) + size
        else:
            self.bytes_read = (self.bytes_read or 0) + size

    def add_key(self, key_hash: int) -> None:
        self.keys.add(key_hash)
        if len(self.keys) > 2 * sketches.SIZE:
            self.keys = sketches.smallest(self.keys)

    def add_keys(self, hashes: Sequence[int]) -> None:
        if len(hashes) > sketches.SIZE <= len(self.keys):
            limit = max(self.keys)
            hashes = [each for each in hashes if each < limit]
        self.keys.update(hashes)
        if len(self.keys) > 2 * sketches.SIZE:
            self.keys = sketches.smallest(self.keys)

    def count_lookups(self, hit: bool, samples: Sequence[str], lookups: int) -> None:
        """Count ``lookups`` that all hit, or all missed; of some of their keys, as they may be
        shown, samples are kept."""
        self.count(hit, False, lookups)
        for sample in samples:
            self._add_sample(hit, sample)

    def _add_sample(self, hit: bool, sample: str) -> None:
        if hit:
            self.sample_hits = with_one_more(self.sample_hits, sample)
        else:
            self.sample_misses = with_one_more(self.sample_misses, sample)

    def merge(self, other: "GroupStats") -> None:
        """Add the calls that ``other`` counted, but for its keys and samples."""
        self.lookups += other.lookups
        self.hits += other.hits
        self.misses += other.misses
        self.sets += other.sets
        self.lookup_seconds += other.lookup_seconds
        self.other_seconds += other.other_seconds
        # Asked first: a report merges thousands, most of which have none of what follows.
        if other.deletes or other.errors or other.other_uses:
            self.deletes += other.deletes
            self.errors += other.errors
            self.other_uses += other.other_uses
            self.counts += other.counts
            self.adds += other.adds
        if other.bytes_read is not None or other.bytes_written is not None:
            self.bytes_read = total(self.bytes_read, other.bytes_read)
            self.bytes_written = total(self.bytes_written, other.bytes_written)
        # What was produced may be counted in a later bucket than its write.
        if other.first_set or other.produced or other.rewrites or other.stampedes:
            self._merge_writes(other)
        if other.repeated_gets or other.single_gets:
            self._merge_access_patterns(other)
        if other.reasons:
            add_counts(self.reasons, other.reasons)
            self.traced_misses += other.traced_misses
            self.classified_misses += other.classified_misses
            self.variance += other.variance
        if other.ages:
            add_counts(self.ages, other.ages)
        if other.lives is not None or other.changes is not None or other.called_from:
            self._merge_seldom(other)

    def _merge_seldom(self, other: "GroupStats") -> None:
        if other.called_from:
            # The same one in whatever order they come.
            self.called_from = min(self.called_from or other.called_from, other.called_from)
        if other.lives is not None:
            self.lives = self.lives or LifeStats()
            self.lives.merge(other.lives)
        if other.changes is not None:
            self.changes = self.changes or ChangeStats()
            self.changes.merge(other.changes)

    def _merge_writes(self, other: "GroupStats") -> None:
        self.produced += other.produced
        self.produce_seconds += other.produce_seconds
        self.produce_squares += other.produce_squares
        self.stampedes += other.stampedes
        self.rewrites += other.rewrites
        if other.first_set:
            self.mean_set = self._mean_set_with(other)
            self.note_set(other.first_set, other.timeout)

    def _mean_set_with(self, other: "GroupStats") -> float:
        """The mean of both, when the sets of ``other`` are counted already."""
        theirs = other.mean_set or other.first_set
        if not self.first_set:
            return theirs
        share = min(other.sets / self.sets, 1.0) if self.sets else 0.0
        return (1 - share) * (self.mean_set or self.first_set) + share * theirs

    def _merge_access_patterns(self, other: "GroupStats") -> None:
        self.repeated_gets += other.repeated_gets
        self.repeated_gets_requests += other.repeated_gets_requests
        self.repeated_seconds += other.repeated_seconds
        self.single_gets += other.single_gets
        self.single_gets_requests += other.single_gets_requests

    def packed(self) -> "GroupStats":
        """The same as a store takes it."""
        return structs.replace(self, keys=set(), sketch=sketches.pack_sketch(self.keys))
