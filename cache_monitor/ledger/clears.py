"""When the spaces were cleared: a small table beside that of the keys.

``BUCKETS`` buckets of ``WAYS`` spaces, each with its last ``DEPTH`` clears. Only spaces that were
ever cleared take a place. A space that finds its bucket full replaces the one whose last clear
is the oldest; the bucket notes that time, before which nothing is known of spaces without a place.
"""

from dataclasses import dataclass, field
from mmap import mmap
from struct import Struct

DEPTH = 32
WAYS = 8
BUCKETS = 32
_RECORD = Struct(f"<Q{DEPTH}d{DEPTH}f")
_LOST_BEFORE = Struct("<d")
_BUCKET_SIZE = _LOST_BEFORE.size + WAYS * _RECORD.size
SIZE = BUCKETS * _BUCKET_SIZE
"""Bytes of the table: 100,608."""


@dataclass(slots=True)
class Clears:
    """When a space was cleared: ``(at, seconds)`` of each, the newest first.

    ``complete_from`` is the Unix time before which clears may be missing.
    """

    ends: list[tuple[float, float]] = field(default_factory=list)
    complete_from: float = 0.0

    def between(self, after: float, until: float) -> bool | None:
        """Whether one ended after ``after`` and not after ``until``; None if that is not known."""
        if self.has(after, until):
            return True
        return None if after < self.complete_from else False

    def has(self, after: float, until: float) -> bool:
        """Whether one is known that ended after ``after`` and not after ``until``."""
        return bool(self.ends) and any(after < at <= until for at, _ in self.ends)

    def overlaps(self, after: float, before: float) -> bool:
        """Whether one ended after ``after`` and started before ``before``."""
        # Nearly every cache is never cleared.
        return bool(self.ends) and any(
            at > after and at - seconds < before for at, seconds in self.ends
        )


class ClearTable:
    """The table at ``offset`` of ``memory``. ``tag`` stands for a space: 64 even bits."""

    def __init__(self, memory: mmap, offset: int) -> None:
        self._memory = memory
        self._offset = offset

    def read(self, tag: int) -> Clears:
        """When the space was cleared."""
        bucket, place = self._find(tag)
        if place is None:
            return Clears([], _LOST_BEFORE.unpack_from(self._memory, bucket)[0])
        _, *numbers = _RECORD.unpack_from(self._memory, place)
        ends = [each for each in zip(numbers[:DEPTH], numbers[DEPTH:], strict=True) if each[0]]
        return Clears(ends, ends[-1][0] if len(ends) == DEPTH else 0.0)

    def add(self, tag: int, at: float, seconds: float) -> None:
        """Note a clear that ended ``at`` and took ``seconds``."""
        bucket, place = self._find(tag)
        ends = [] if place is None else self.read(tag).ends
        if place is None:
            place = self._make_room(bucket)
        ends = sorted([*ends, (at, seconds)], reverse=True)[:DEPTH]
        empty = DEPTH - len(ends)
        _RECORD.pack_into(
            self._memory,
            place,
            tag,
            *(end for end, _ in ends),
            *[0.0] * empty,
            *(duration for _, duration in ends),
            *[0.0] * empty,
        )

    def _find(self, tag: int) -> tuple[int, int | None]:
        bucket = self._offset + (tag >> 32) % BUCKETS * _BUCKET_SIZE
        for place in self._places(bucket):
            if _RECORD.unpack_from(self._memory, place)[0] == tag:
                return bucket, place
        return bucket, None

    def _places(self, bucket: int) -> range:
        first = bucket + _LOST_BEFORE.size
        return range(first, first + WAYS * _RECORD.size, _RECORD.size)

    def _make_room(self, bucket: int) -> int:
        def newest(place: int) -> float:
            at: float = _RECORD.unpack_from(self._memory, place)[1]
            return at

        place = min(self._places(bucket), key=newest)
        lost_before = _LOST_BEFORE.unpack_from(self._memory, bucket)[0]
        _LOST_BEFORE.pack_into(self._memory, bucket, max(lost_before, newest(place)))
        return place
