"""How long entries lasted, what ended them, and whether a rewrite changed the value."""

from collections.abc import Iterable
from math import exp, expm1
from typing import Literal

from msgspec import Struct

from cache_monitor.stats import compact
from cache_monitor.stats.window import Bucket, Count, UnixTime

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
        self.causes[cause] = self.causes.get(cause, 0) + weight
        if cause == "restart":
            self.restarted_at = max(self.restarted_at, at)

    def end(self, how: End, seconds: float, weight: int, is_unread: bool) -> None:
        """Count ``weight`` lives that ended."""
        self.ends[how] = self.ends.get(how, 0) + weight
        if is_unread:
            self.unread[how] = self.unread.get(how, 0) + weight
        [bucket] = compact.buckets_of([max(seconds, 0.0)])
        for each in (self.lasted, self.evicted_at) if how == "evicted" else (self.lasted,):
            each[bucket] = each.get(bucket, 0) + weight

    def read(self, seconds: float, weight: int) -> None:
        """Count ``weight`` values that were read for the first time."""
        [bucket] = compact.buckets_of([max(seconds, 0.0)])
        self.first_read[bucket] = self.first_read.get(bucket, 0) + weight

    def merge(self, other: "LifeStats") -> None:
        """Add what ``other`` counted."""
        for how, count in other.ends.items():
            self.ends[how] = self.ends.get(how, 0) + count
        for how, count in other.unread.items():
            self.unread[how] = self.unread.get(how, 0) + count
        compact.add(self.lasted, other.lasted)
        compact.add(self.first_read, other.first_read)
        compact.add(self.evicted_at, other.evicted_at)
        for cause, count in other.causes.items():
            self.causes[cause] = self.causes.get(cause, 0) + count
        self.restarted_at = max(self.restarted_at, other.restarted_at)


LEAST = 20
"""Pairs of writes by which anything is told."""
_CLOSE = 1.001
_MOST = 700.0
"""The greatest exponent whose power is a number."""


class ChangeStats(Struct, array_like=True, gc=False):
    """Values that were written anew when they had expired: by the seconds since the write before
    those that were the ``same`` and those that had ``changed``, and how many are ``untold``; each
    stands for others where keys are sampled. ``seen`` are those that were compared."""

    same: dict[Bucket, Count] = {}
    changed: dict[Bucket, Count] = {}
    untold: Count = 0
    seen: Count = 0

    def add(self, seconds: float, weight: int, is_same: bool | None) -> None:
        """Count ``weight`` values; None where it is not known whether they were the same."""
        if is_same is None:
            self.untold += weight
            return
        self.seen += 1
        [bucket] = compact.buckets_of([max(seconds, 0.0)])
        counts = self.same if is_same else self.changed
        counts[bucket] = counts.get(bucket, 0) + weight

    def merge(self, other: "ChangeStats") -> None:
        """Add what ``other`` counted."""
        compact.add(self.same, other.same)
        compact.add(self.changed, other.changed)
        self.untold += other.untold
        self.seen += other.seen

    @property
    def rewrites(self) -> int:
        """How many there were."""
        return sum(self.same.values()) + sum(self.changed.values()) + self.untold

    @property
    def unchanged(self) -> float | None:
        """The share that was the same; None where too few are known."""
        same, changed = sum(self.same.values()), sum(self.changed.values())
        is_enough = self.seen >= LEAST and same + changed >= self.untold
        return same / (same + changed) if is_enough else None

    @property
    def seconds_to_change(self) -> float | None:
        """How long a value lasts on the average; None where too little is known, or where all
        values had changed, or none."""
        if self.seen < LEAST:
            return None
        buckets = self.same.keys() | self.changed.keys()
        return lasting(
            (compact.middle_of(each), self.changed.get(each, 0), self.same.get(each, 0))
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
            count * (1 - exp(-compact.middle_of(bucket) / mean)) for bucket, count in ages.items()
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
