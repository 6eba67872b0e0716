"""A few keys that stand for many, the same ones in whatever order they are gathered.

The first few different ones of a bucket are noted, which costs next to nothing. Of those of
several buckets the ones with the smallest checksums stay: these are no likelier to be one key
than another, and the next reading of the same buckets has the same ones.
"""

from bisect import insort
from collections.abc import Iterable
from typing import Annotated
from zlib import crc32

from msgspec import Meta

KEPT = 5

Samples = Annotated[tuple[str, ...], Meta(max_length=100)]
"""Names of keys, as they may be shown: at most ``KEPT``, the smallest checksum first."""


def smallest(names: Iterable[str]) -> Samples:
    """Those of ``names`` that are kept."""
    # A shown name has no lone surrogates.
    ranked = sorted((crc32(name.encode()), name) for name in set(names))
    return tuple(name for _, name in ranked[:KEPT])


def noted(samples: Samples, name: str) -> Samples:
    """``samples`` and ``name``, unless there are enough."""
    if len(samples) >= KEPT or name in samples:
        return samples
    return smallest((*samples, name))


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
            if len(kept) == KEPT:
                if ranked > kept[-1]:
                    return
                names.remove(kept.pop()[1])
            insort(kept, ranked)
            names.add(name)

    def samples(self) -> Samples:
        """Those that are kept of all that were added."""
        return tuple(name for _, name in self._kept)
