"""Log-linear histograms of durations.

A bucket is the upper 16 bits of a duration's IEEE 754 double: sign, exponent and the first four
bits of the mantissa. That cuts each power of two into 16 equal buckets, so a value read back from
its bucket's middle is at most 1/32 (3.2 %) off: the layout of HdrHistogram (Gil Tene,
hdrhistogram.org). Reading the bits of a whole batch costs next to nothing, where a logarithm for
each value would not. Histograms merge by adding their buckets. A dict of counts by bucket does
where there are few, as for the ages of a group's values. A :class:`Histogram` is for the many that
a report adds up: it does so in one addition.
"""

import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, MutableMapping, Sequence
from itertools import accumulate, compress
from struct import Struct
from typing import TypeVar

from cache_monitor.stats.packed_ints import MAX_COUNT, pack_ints

Key = TypeVar("Key", bound=Hashable)

_UPPER = 3 if sys.byteorder == "little" else 0
_HALF_A_BUCKET = 1 << 47

FIRST = 15_888
"""The bucket of 2**-30 s, 0.9 ns: a :class:`Histogram` counts what is below in this one as well."""
LAST = FIRST + 16 * 46 - 1
"""The one up to 2**16 s, 18 hours: likewise for what is above."""
# Here and below no format is given to the functions of ``struct``. They keep a hundred of them: a
# format for each length would drive out the site's, and be left over in the memory of a burst.
_DOUBLE = Struct(">d")
_BITS = Struct(">Q")
_HEAD = Struct("<BH")
"""Before the counts: how many bytes each of them takes, and the first bucket."""
_LANE = 8
_COMMON = 16
"""Bytes that are counted by taking them out, each with all that are equal."""


def buckets_of(seconds: Sequence[float]) -> list[int]:
    """The bucket of each duration; none may be negative."""
    # In less than half of the time that ``array`` takes for it.
    doubles = Struct(f"{len(seconds)}d").pack(*seconds)
    return memoryview(doubles).cast("H")[_UPPER::4].tolist()


def counts_of(seconds: Sequence[float]) -> dict[int, int]:
    """How many of the durations, of which none may be negative, each bucket has.

    Nearly all have the upper byte of their buckets in common, and to count bytes takes a fifth of
    the time that it takes to count numbers.
    """
    doubles = Struct(f"<{len(seconds)}d").pack(*seconds)
    lows, highs = doubles[6::8], doubles[7::8]
    common = highs[0] << 8 if highs else 0
    counts = {common | low: count for low, count in _times(lows).items()}
    for high in {*highs.translate(None, highs[:1])}:
        is_high = bytes(high) + b"\x01" + bytes(255 - high)
        for low, count in Counter(compress(lows, highs.translate(is_high))).items():
            counts[common | low] -= count
            counts[high << 8 | low] = count
    return {bucket: count for bucket, count in counts.items() if count}


def _times(data: bytes) -> dict[int, int]:
    """How often each byte comes in ``data``."""
    counts: dict[int, int] = {}
    for _ in range(_COMMON):
        # Calls that are alike take like times: once the commonest bytes are out, few are left.
        rest = data.translate(None, data[:1])
        counts.update(dict.fromkeys(data[:1], len(data) - len(rest)))
        data = rest
    counts.update(Counter(data))
    return counts


def middle_of(bucket: int) -> float:
    """The duration, in seconds, that stands for all values in ``bucket``."""
    middle: float = _DOUBLE.unpack(_BITS.pack((bucket << 48) + _HALF_A_BUCKET))[0]
    return middle


def add_counts(into: MutableMapping[Key, int], more: Mapping[Key, int]) -> None:
    """Add counts, by buckets or whatever, to others."""
    for key, count in more.items():
        into[key] = into.get(key, 0) + count


def quantiles(
    buckets: Mapping[int, int], fractions: tuple[float, ...], slowest: float
) -> list[float | None]:
    """For each of the ascending ``fractions`` the duration that this share of calls stays within.

    None where there were no calls. ``slowest``, the exact maximum, caps the estimate.
    """
    ordered = sorted(buckets)
    return _quantiles(ordered, [buckets[each] for each in ordered], fractions, slowest)


def _quantiles(
    buckets: Sequence[int], counts: Sequence[int], fractions: tuple[float, ...], slowest: float
) -> list[float | None]:
    seen = list(accumulate(counts))
    if not seen or not seen[-1]:
        return [None] * len(fractions)
    return [
        min(middle_of(buckets[bisect_left(seen, fraction * seen[-1])]), slowest)
        for fraction in fractions
    ]


class Histogram:
    """How many calls took how long, as one integer that has 64 bits for each bucket from
    :data:`FIRST` on, so that two are merged by adding the integers."""

    __slots__ = ("_lanes",)

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self._lanes = _lanes(counts or {})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self._lanes == other._lanes

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Histogram({dict(self.items())})"

    def count(self, seconds: Sequence[float]) -> None:
        self.add(counts_of(seconds))

    def add(self, counts: Mapping[int, int]) -> None:
        """Add calls that are counted by their buckets."""
        self._lanes += _lanes(counts)

    def merge(self, other: "Histogram") -> None:
        self._lanes += other._lanes

    def items(self) -> Iterator[tuple[int, int]]:
        """The buckets in which calls were counted, ascending, and how many."""
        return (each for each in enumerate(self._counts(), FIRST) if each[1])

    def quantiles(self, fractions: tuple[float, ...], slowest: float) -> list[float | None]:
        return _quantiles(range(FIRST, LAST + 1), self._counts(), fractions, slowest)

    def _counts(self) -> Sequence[int]:
        lanes = -(-self._lanes.bit_length() // 64)
        return Struct(f"<{lanes}Q").unpack(self._lanes.to_bytes(_LANE * lanes, "little"))

    def pack(self) -> bytes:
        """As few bytes as a store needs: packed counts from the first bucket on that has any, which
        is behind their width, from :data:`FIRST` on."""
        counts = self._counts()
        if not counts:
            return b""
        first = next(place for place, count in enumerate(counts) if count)
        packed = pack_ints(counts[first:])
        return _HEAD.pack(packed[0], first) + packed[1:]

    @classmethod
    def unpack(cls, packed: bytes) -> "Histogram":
        """What :meth:`pack` made ``packed`` of. Raises :class:`ValueError` for anything else."""
        made = cls.__new__(cls)
        made._lanes = _unpacked(packed) if packed else 0
        return made


def _lanes(counts: Mapping[int, int]) -> int:
    if not counts:
        return 0
    lowest, highest = min(counts), max(counts)
    if lowest < FIRST or highest > LAST:
        within: dict[int, int] = {}
        for bucket, count in counts.items():
            add_counts(within, {min(max(bucket, FIRST), LAST): count})
        return _lanes(within)
    wide = [0] * (highest - lowest + 1)
    for bucket, count in counts.items():
        wide[bucket - lowest] = count
    lanes = int.from_bytes(Struct(f"<{len(wide)}Q").pack(*wide), "little")
    return lanes << 64 * (lowest - FIRST)


def _unpacked(packed: bytes) -> int:
    # A report does this tens of thousands of times, in half of the time that a number for each
    # count would take.
    size = len(packed) - _HEAD.size
    if size < 0:
        raise ValueError("a histogram without its head")
    width: int
    first: int
    width, first = _HEAD.unpack_from(packed)
    if width not in (1, 2, 4, 8) or size % width:
        raise ValueError("a histogram's counts are cut")
    lanes = size // width
    if first + lanes > LAST - FIRST + 1:
        raise ValueError("a histogram of too many buckets")
    wide = bytearray(lanes * _LANE)
    for byte in range(width):
        wide[byte::_LANE] = packed[_HEAD.size + byte :: width]
    # Counts of fewer bytes need no such look: no store has as many rows as would not fit.
    if width == _LANE and max(Struct(f"<{lanes}Q").unpack(wide), default=0) > MAX_COUNT:
        raise ValueError("a histogram of too many calls")
    return int.from_bytes(wide, "little") << 64 * first
