"""A log-linear histogram of durations.

A bucket is the upper 16 bits of a duration's IEEE 754 double: sign, exponent and the first four
bits of the mantissa. That cuts each power of two into 16 equal buckets, so a value read back from
its bucket's middle is at most 1/32 (3.2 %) off: the layout of HdrHistogram (Gil Tene,
hdrhistogram.org), with the buckets kept sparsely. Reading the bits of a whole batch costs next to
nothing, where a logarithm for each value would not. Histograms merge by adding their buckets.
"""

import struct
import sys
from array import array
from collections.abc import Mapping, MutableMapping, Sequence

_UPPER = 3 if sys.byteorder == "little" else 0
_HALF_A_BUCKET = 1 << 47


def buckets_of(seconds: Sequence[float]) -> list[int]:
    """The bucket of each duration; none may be negative."""
    return memoryview(array("d", seconds)).cast("B").cast("H")[_UPPER::4].tolist()


def middle_of(bucket: int) -> float:
    """The duration, in seconds, that stands for all values in ``bucket``."""
    middle: float = struct.unpack(">d", struct.pack(">Q", (bucket << 48) + _HALF_A_BUCKET))[0]
    return middle


def add(into: MutableMapping[int, int], other: Mapping[int, int]) -> None:
    """Merge ``other`` into ``into``."""
    for bucket, count in other.items():
        into[bucket] = into.get(bucket, 0) + count


def quantiles(
    buckets: Mapping[int, int], fractions: tuple[float, ...], slowest: float
) -> list[float | None]:
    """For each of the ascending ``fractions`` the duration that this share of calls stays within.

    None where there were no calls. ``slowest``, the exact maximum, caps the estimate.
    """
    total = sum(buckets.values())
    if not total:
        return [None] * len(fractions)
    found: list[float | None] = []
    ordered = iter(sorted(buckets.items()))
    bucket, seen = next(ordered)
    for fraction in fractions:
        while seen < fraction * total:
            bucket, count = next(ordered)
            seen += count
        found.append(min(middle_of(bucket), slowest))
    return found
