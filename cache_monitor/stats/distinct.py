"""Sketches of many keys: how many different ones there were, and a few that stand for them.

Those that count keep the smallest hashes that they have seen (k minimum values; Bar-Yossef et al.,
"Counting distinct elements in a data stream", 2002). Up to ``SIZE`` different keys the count is
exact; beyond, its standard error is 1/sqrt(SIZE - 2), which is 8.9 %. They merge by union.

A sample is the first few different keys of a bucket, which costs next to nothing. Of those of
several buckets the ones with the smallest checksums stay: these are no likelier to be one key
than another, and the next reading of the same buckets has the same ones.
"""

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable
from struct import Struct
from typing import Annotated
from zlib import crc32

from msgspec import Meta

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
