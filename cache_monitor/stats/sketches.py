"""Sketches of many calls in few bytes, which merge: how long they took, and how many different
keys they had.

A :class:`Histogram` counts durations in log-linear buckets. A bucket is the upper 16 bits of a
duration's IEEE 754 double: sign, exponent and the first four bits of the mantissa. That cuts each
power of two into 16 equal buckets, so a value read back from its bucket's middle is at most 1/32
(3.2 %) off: the layout of HdrHistogram (Gil Tene, hdrhistogram.org). Reading the bits of a whole
batch costs next to nothing, where a logarithm for each value would not. A report merges many of
them, each in one addition. A dict of counts by bucket does where there are few, as for the ages of
a group's values.

Distinct keys are counted by the smallest hashes that were seen (k minimum values; Bar-Yossef et
al., "Counting distinct elements in a data stream", 2002). Up to ``SIZE`` different keys the count
is exact; beyond, its standard error is 1/sqrt(SIZE - 2), which is 8.9 %. They merge by union.

A sample is the first few different keys of a bucket, which costs next to nothing. Of those of
several buckets the ones with the smallest checksums stay: these are no likelier to be one key
than another, and the next reading of the same buckets has the same ones.
"""

import sys
from array import array
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from itertools import accumulate, compress
from struct import Struct
from typing import Annotated, TypeVar
from zlib import crc32

from msgspec import Meta

from cache_monitor.stats.codec import MAX_COUNT, pack_ints, read_ints

Key = TypeVar("Key", bound=Hashable)

_UPPER = 3 if sys.byteorder == "little" else 0
_HALF_A_BUCKET = 1 << 47

FIRST_BUCKET = 15_888
"""The bucket of 2**-30 s, 0.9 ns: a :class:`Histogram` counts what is below in this one as well."""
LAST_BUCKET = FIRST_BUCKET + 16 * 46 - 1
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
    :data:`FIRST_BUCKET` on, so that two are merged by adding the integers."""

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
        return (each for each in enumerate(self._counts(), FIRST_BUCKET) if each[1])

    def quantiles(self, fractions: tuple[float, ...], slowest: float) -> list[float | None]:
        return _quantiles(range(FIRST_BUCKET, LAST_BUCKET + 1), self._counts(), fractions, slowest)

    def _counts(self) -> Sequence[int]:
        lanes = -(-self._lanes.bit_length() // 64)
        return Struct(f"<{lanes}Q").unpack(self._lanes.to_bytes(_LANE * lanes, "little"))

    def pack(self) -> bytes:
        """As few bytes as a store needs: packed counts from the first bucket on that has any, which
        is behind their width, from :data:`FIRST_BUCKET` on."""
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
    if lowest < FIRST_BUCKET or highest > LAST_BUCKET:
        within: dict[int, int] = {}
        for bucket, count in counts.items():
            add_counts(within, {min(max(bucket, FIRST_BUCKET), LAST_BUCKET): count})
        return _lanes(within)
    wide = [0] * (highest - lowest + 1)
    for bucket, count in counts.items():
        wide[bucket - lowest] = count
    lanes = int.from_bytes(Struct(f"<{len(wide)}Q").pack(*wide), "little")
    return lanes << 64 * (lowest - FIRST_BUCKET)


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
    if first + lanes > LAST_BUCKET - FIRST_BUCKET + 1:
        raise ValueError("a histogram of too many buckets")
    wide = bytearray(lanes * _LANE)
    for byte in range(width):
        wide[byte::_LANE] = packed[_HEAD.size + byte :: width]
    # Counts of fewer bytes need no such look: no store has as many rows as would not fit.
    if width == _LANE and max(Struct(f"<{lanes}Q").unpack(wide), default=0) > MAX_COUNT:
        raise ValueError("a histogram of too many calls")
    return int.from_bytes(wide, "little") << 64 * first


# Distinct keys

SIZE = 128
"""The most hashes of a packed sketch."""
_SPACE = 2**32
_WIDTH = 4
MAX_BYTES = SIZE * _WIDTH
"""Of a packed sketch."""
_GOLDEN = 0x9E3779B1
_ROOM = 16 * SIZE


def hash_of(key: str) -> int:
    """A hash of 32 bits that is the same in every process and on every host.

    A checksum spread by Fibonacci hashing (Knuth, The Art of Computer Programming, 6.4): a tenth
    of the cost of a cryptographic hash, and even enough for counting up to some hundred million
    keys. It tells nothing of a key.
    """
    return crc32(key.encode("utf-8", "surrogatepass")) * _GOLDEN % _SPACE


def smallest(hashes: Iterable[int]) -> set[int]:
    """The sketch of ``hashes``."""
    return set(sorted(set(hashes))[:SIZE])


def add_hashes(sketch: set[int], hashes: Iterable[int]) -> None:
    """Add ``hashes`` to a sketch in place, and keep it small."""
    sketch.update(hashes)
    if len(sketch) > 2 * SIZE:
        cut(sketch)


def cut(sketch: set[int]) -> None:
    """Leave the smallest hashes in ``sketch``."""
    if len(sketch) > SIZE:
        sketch.intersection_update(smallest(sketch))


def unite(sketch: set[int], other: set[int]) -> set[int]:
    """The merge of two sketches, made of the first one; cut back only now and then."""
    sketch |= other
    return sketch if len(sketch) <= _ROOM else smallest(sketch)


def pack_sketch(sketch: Iterable[int]) -> bytes:
    """The smallest hashes of ``sketch`` as a store keeps them: four bytes each, ascending."""
    # A larger one is from a row that somebody has tampered with.
    hashes = sorted(each for each in sketch if each < _SPACE)[:SIZE]
    return Struct(f"<{len(hashes)}I").pack(*hashes)


def unpack_sketch(packed: bytes) -> "array[int]":
    """What :func:`pack_sketch` made ``packed`` of; of anything else some hashes."""
    return read_ints("I", packed[: len(packed) // _WIDTH * _WIDTH])


class Union:
    """The merge of many sketches. Once there are enough hashes to know how small one must be, the
    others are not even put in."""

    __slots__ = ("_hashes", "_limit")

    def __init__(self) -> None:
        self._hashes: set[int] = set()
        self._limit = _SPACE

    def add(self, packed: bytes) -> None:
        hashes = unpack_sketch(packed)
        if hashes and hashes[-1] >= self._limit:
            hashes = hashes[: bisect_left(hashes, self._limit)]
        self._hashes.update(hashes)
        if len(self._hashes) > 2 * SIZE:
            self._hashes = smallest(self._hashes)
            self._limit = max(self._hashes)

    def sketch(self) -> set[int]:
        return smallest(self._hashes)


def estimate(sketch: set[int]) -> int:
    """The number of different keys that went into ``sketch``."""
    if len(sketch) < SIZE:
        return len(sketch)
    return round((SIZE - 1) * _SPACE / max(smallest(sketch)))


# Samples of keys

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
        return tuple(name for _, name in self._kept)
