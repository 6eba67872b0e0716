"""Whether values had changed when they were written anew, and how long values last by that."""

from collections.abc import Iterable
from math import exp, expm1

from msgspec import Struct

from cache_monitor.stats import histogram
from cache_monitor.stats.window import Bucket, Count

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
        [bucket] = histogram.buckets_of([max(seconds, 0.0)])
        counts = self.same if is_same else self.changed
        counts[bucket] = counts.get(bucket, 0) + weight

    def merge(self, other: "ChangeStats") -> None:
        """Add what ``other`` counted."""
        histogram.add(self.same, other.same)
        histogram.add(self.changed, other.changed)
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
            (histogram.middle_of(each), self.changed.get(each, 0), self.same.get(each, 0))
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
            count * (1 - exp(-histogram.middle_of(bucket) / mean)) for bucket, count in ages.items()
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
