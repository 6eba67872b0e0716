"""Sketches that estimate how many different keys there were.

They keep the smallest hashes that they have seen (k minimum values; Bar-Yossef et al., "Counting
distinct elements in a data stream", 2002). Up to ``SIZE`` different keys the count is exact;
beyond, its standard error is 1/sqrt(SIZE - 2), which is 8.9 %. Sketches merge by union.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from struct import Struct
from zlib import crc32

from cache_monitor.stats.packed_ints import read_ints

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
