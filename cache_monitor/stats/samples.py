"""A few keys that stand for many, the same ones in whatever order they are gathered.

The first few different ones of a stretch are noted, which costs next to nothing. Of those of
several stretches the ones with the smallest checksums stay: these are no likelier to be one key
than another, and the next reading of the same stretches has the same ones.
"""

from collections.abc import Iterable
from typing import Annotated
from zlib import crc32

from msgspec import Meta

KEPT = 5

Samples = Annotated[tuple[str, ...], Meta(max_length=100)]
"""Names of keys, as they may be shown: at most ``KEPT``, the smallest checksum first."""


def smallest(names: Iterable[str]) -> Samples:
    """Those of ``names`` that are kept."""
    return tuple(sorted(set(names), key=_rank)[:KEPT])


def noted(samples: Samples, name: str) -> Samples:
    """``samples`` and ``name``, unless there are enough."""
    if len(samples) >= KEPT or name in samples:
        return samples
    return smallest((*samples, name))


class Gathering:
    """The merge of many samples. One with a larger checksum than all that are kept ends the look
    at its sample: those behind it have larger ones still."""

    __slots__ = ("_limit", "_names")

    def __init__(self) -> None:
        self._names: Samples = ()
        self._limit: int | None = None
        """The greatest checksum of those that are kept, once there are enough."""

    def add(self, samples: Samples) -> None:
        """Merge ``samples`` into it."""
        limit = self._limit
        for name in samples:
            if name not in self._names:
                if limit is not None and crc32(name.encode()) > limit:
                    return
                self._names = smallest((*self._names, *samples))
                if len(self._names) == KEPT:
                    self._limit = crc32(self._names[-1].encode())
                return

    def samples(self) -> Samples:
        """Those that are kept of all that were added."""
        return self._names


def _rank(name: str) -> tuple[int, str]:
    # A shown name has no lone surrogates.
    return crc32(name.encode()), name
