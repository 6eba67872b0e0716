"""Figures in few bytes: histograms of durations, sketches of different keys, columns of counts.

*Histograms* are log-linear. A bucket is the upper 16 bits of a duration's IEEE 754 double: sign,
exponent and the first four bits of the mantissa. That cuts each power of two into 16 equal buckets,
so a value read back from its bucket's middle is at most 1/32 (3.2 %) off: the layout of
HdrHistogram (Gil Tene, hdrhistogram.org). Reading the bits of a whole batch costs next to nothing,
where a logarithm for each value would not. Histograms merge by adding their buckets. A dict of
counts by bucket does where there are few, as for the ages of a group's values. A
:class:`Histogram` is for the many that a report adds up: it does so in one addition.

*Sketches* estimate how many different keys there were. They keep the smallest hashes that they have
seen (k minimum values; Bar-Yossef et al., "Counting distinct elements in a data stream", 2002). Up
to ``SIZE`` different keys the count is exact; beyond, its standard error is 1/sqrt(SIZE - 2), which
is 8.9 %. Sketches merge by union.

*Packed integers* are the columns of a table in a row. They are read from it all at once, and made
numbers of only where somebody asks for them.
"""

import sys
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from itertools import accumulate, compress
from struct import Struct
from zlib import crc32

_UPPER = 3 if sys.byteorder == "little" else 0
_HALF_A_BUCKET = 1 << 47

FIRST = 15_888
"""The bucket of 2**-30 s, 0.9 ns: a :class:`Histogram` counts what is below in this one as well."""
LAST = FIRST + 16 * 46 - 1
"""The one up to 2**16 s, 18 hours: likewise for what is above."""
# Here and below no format is given to the functions of ``struct``. They keep a hundred of them: a
# format for each length would drive out the site's, and be left over in the memory of a burst.
_HEAD = Struct("<BH")
_DOUBLE = Struct(">d")
_BITS = Struct(">Q")
_HEAD_SIZE = _HEAD.size
_LANE = 8
_MOST = 2**53
"""What a count of one row may be: 2,000 rows of that fit into 64 bits."""


def buckets_of(seconds: Sequence[float]) -> list[int]:
    """The bucket of each duration; none may be negative."""
    # In less than half of the time that ``array`` takes for it.
    doubles = Struct(f"{len(seconds)}d").pack(*seconds)
    return memoryview(doubles).cast("H")[_UPPER::4].tolist()


def counts_of(seconds: Sequence[float]) -> dict[int, int]:
    """How many of the durations, of which none may be negative, each bucket has.

    Nearly all have the upper byte of their buckets in common, and to count bytes takes half of the
    time that it takes to count numbers.
    """
    doubles = Struct(f"<{len(seconds)}d").pack(*seconds)
    lows, highs = doubles[6::8], doubles[7::8]
    common = highs[0] << 8 if highs else 0
    counts = {common | low: count for low, count in Counter(lows).items()}
    for high in {*highs.translate(None, highs[:1])}:
        is_high = bytes(high) + b"\x01" + bytes(255 - high)
        for low, count in Counter(compress(lows, highs.translate(is_high))).items():
            counts[common | low] -= count
            counts[high << 8 | low] = count
    return {bucket: count for bucket, count in counts.items() if count}


def middle_of(bucket: int) -> float:
    """The duration, in seconds, that stands for all values in ``bucket``."""
    middle: float = _DOUBLE.unpack(_BITS.pack((bucket << 48) + _HALF_A_BUCKET))[0]
    return middle


def add_buckets(into: MutableMapping[int, int], other: Mapping[int, int]) -> None:
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
        """Count calls by their durations."""
        self.add(counts_of(seconds))

    def add(self, counts: Mapping[int, int]) -> None:
        """Add calls that are counted by their buckets."""
        self._lanes += _lanes(counts)

    def merge(self, other: "Histogram") -> None:
        """Add the calls that ``other`` counted."""
        self._lanes += other._lanes

    def items(self) -> Iterator[tuple[int, int]]:
        """The buckets in which calls were counted, ascending, and how many."""
        return (each for each in enumerate(self._counts(), FIRST) if each[1])

    def quantiles(self, fractions: tuple[float, ...], slowest: float) -> list[float | None]:
        """See :func:`quantiles`."""
        seen = list(accumulate(self._counts()))
        if not seen:
            return [None] * len(fractions)
        # As there, without a look at each bucket.
        return [
            min(middle_of(FIRST + bisect_left(seen, fraction * seen[-1])), slowest)
            for fraction in fractions
        ]

    def _counts(self) -> Sequence[int]:
        lanes = -(-self._lanes.bit_length() // 64)
        return Struct(f"<{lanes}Q").unpack(self._lanes.to_bytes(_LANE * lanes, "little"))

    def pack(self) -> bytes:
        """As few bytes as a store needs: how many each bucket takes, the first bucket that counted
        any (from :data:`FIRST` on), and from there on each bucket's count."""
        counts = self._counts()
        if not counts:
            return b""
        first = next(place for place, count in enumerate(counts) if count)
        width = next(width for width in (1, 2, 4, 8) if max(counts) < 1 << 8 * width)
        wide = Struct(f"<{len(counts) - first}Q").pack(*counts[first:])
        packed = bytearray(len(wide) // _LANE * width)
        for byte in range(width):
            packed[byte::width] = wide[byte::_LANE]
        return _HEAD.pack(width, first) + packed

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
        return _lanes(_within(counts))
    wide = [0] * (highest - lowest + 1)
    for bucket, count in counts.items():
        wide[bucket - lowest] = count
    lanes = int.from_bytes(Struct(f"<{len(wide)}Q").pack(*wide), "little")
    return lanes << 64 * (lowest - FIRST)


def _within(counts: Mapping[int, int]) -> dict[int, int]:
    """``counts`` of the buckets that a :class:`Histogram` has."""
    found: dict[int, int] = {}
    for bucket, count in counts.items():
        add_buckets(found, {min(max(bucket, FIRST), LAST): count})
    return found


def _unpacked(packed: bytes) -> int:
    # A report does this tens of thousands of times.
    size = len(packed) - _HEAD_SIZE
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
        wide[byte::_LANE] = packed[_HEAD_SIZE + byte :: width]
    # Counts of fewer bytes need no such look: no store has as many rows as would not fit.
    if width == _LANE and max(Struct(f"<{lanes}Q").unpack(wide), default=0) > _MOST:
        raise ValueError("a histogram of too many calls")
    return int.from_bytes(wide, "little") << 64 * first


MAX_COUNT = 2**53
"""Up to this every reader of JSON has integers, and no sum of the rows of a store comes to what
MessagePack cannot write."""
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
"""By how many bytes a number takes, what :mod:`array` calls it."""
_WIDEST = max(_CODES)
NO_INTS = b"\x01"
"""No numbers, packed."""


def pack_ints(numbers: Collection[int]) -> bytes:
    """``numbers`` in as few bytes as the greatest needs for each, behind a byte that says how many
    these are. None may be negative. One of more than ``MAX_COUNT``, which only rows that somebody
    has tampered with add up to, counts as that."""
    for width, code in _CODES.items():
        try:
            # In one go: what does not fit is mostly found at once, and to ask for the greatest
            # first takes twice as long.
            packed = array(code, numbers)
        except OverflowError:
            continue
        if width < _WIDEST or max(packed) <= MAX_COUNT:
            return _to_bytes(width, packed)
    capped = [min(number, MAX_COUNT) for number in numbers]
    return _to_bytes(_WIDEST, array(_CODES[_WIDEST], capped))


def _to_bytes(width: int, numbers: "array[int]") -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return bytes((width,)) + numbers.tobytes()


def length_of(packed: bytes) -> int:
    """How many numbers are packed in ``packed``. Raises :class:`ValueError` for what
    :func:`pack_ints` did not make, and for numbers that are no counts."""
    width = packed[0] if packed else 0
    if width not in _CODES or (len(packed) - 1) % width:
        raise ValueError("numbers that are cut")
    if width == _WIDEST and max(unpack_ints(packed), default=0) > MAX_COUNT:
        raise ValueError("a number that is no count")
    return (len(packed) - 1) // width


def unpack_ints(packed: bytes) -> "array[int]":
    """What :func:`pack_ints` made ``packed`` of; :func:`length_of` refuses anything else."""
    return read_ints(_CODES[packed[0]], packed[1:])


def read_ints(code: str, little_endian: bytes) -> "array[int]":
    """Numbers of the width that :mod:`array` calls ``code``."""
    numbers = array(code, little_endian)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


SIZE = 128
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

    def add(self, sketch: set[int]) -> None:
        """Merge ``sketch`` into it."""
        limit = self._limit
        if limit == _SPACE:
            self._hashes |= sketch
        else:
            self._hashes.update([each for each in sketch if each < limit])
        self._cut_back()

    def add_packed(self, packed: bytes) -> None:
        """Merge the sketch that was packed into ``packed`` into it."""
        hashes = unpack_sketch(packed)
        if hashes and hashes[-1] >= self._limit:
            hashes = hashes[: bisect_left(hashes, self._limit)]
        self._hashes.update(hashes)
        self._cut_back()

    def sketch(self) -> set[int]:
        """The sketch of all that were added."""
        return set(sorted(self._hashes)[:SIZE])

    def _cut_back(self) -> None:
        if len(self._hashes) > 2 * SIZE:
            ascending = sorted(self._hashes)[:SIZE]
            self._hashes = set(ascending)
            self._limit = ascending[-1]


def estimate(sketch: set[int]) -> int:
    """The number of different keys that went into ``sketch``."""
    if len(sketch) < SIZE:
        return len(sketch)
    return round((SIZE - 1) * _SPACE / max(smallest(sketch)))
