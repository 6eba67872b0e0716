"""Which keys were deleted by a pattern, and when: a small table beside that of the keys.

A sweep deletes every key of one version that matches a pattern in Redis's notation. The keys are
not known one by one, so the pattern itself is kept. ``BUCKETS`` buckets of ``WAYS`` patterns,
each with its last ``DEPTH`` sweeps. A pattern that finds its bucket full replaces the one that
was last used longest ago; the bucket notes when that was, and marks the space in a filter: of its
keys that were written before, it is not known whether they were swept.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from mmap import mmap
from struct import Struct
from typing import NamedTuple

from cache_monitor.ledger.clears import Clears
from cache_monitor.ledger.patterns import matches, may_match

DEPTH = 4
WAYS = 64
BUCKETS = 4
PATTERN_BYTES = 116
"""Bytes of a pattern that are kept. Of keys that match them it is not known whether they match
the rest of a longer one."""
_RECORD = Struct(f"<Q{DEPTH}d{DEPTH}fII{PATTERN_BYTES}s")
_LOST = Struct("<dQ")
_FILTER_BITS = 64
_BUCKET_SIZE = _LOST.size + WAYS * _RECORD.size
SIZE = BUCKETS * _BUCKET_SIZE
"""Bytes of the table: 46,144."""
_PREFIX_END = "\0"
NONE = Clears()
"""What befell a key of a space that was never swept."""


class _Sweep(NamedTuple):
    """A pattern and when it was last used: ``(at, seconds)`` of each, the newest first."""

    ends: list[tuple[float, float]]
    version: int
    pattern: bytes
    is_cut: bool


@dataclass(slots=True)
class Sweeps:
    """The sweeps of one space."""

    sweeps: list[_Sweep] = field(default_factory=list)
    complete_from: float = 0.0

    @property
    def ends(self) -> list[tuple[float, float]]:
        """When any of them ended, and how long it took."""
        return [end for sweep in self.sweeps for end in sweep.ends]

    def of(self, key: str, version: int, until: float) -> Clears:
        """The sweeps that took ``key`` away. Those ended before ``until`` of which it cannot be
        told make what was before them unknown."""
        if not self.sweeps and not self.complete_from:
            return NONE
        ends, complete_from = [], self.complete_from
        for sweep in self.sweeps:
            if sweep.version != version:
                continue
            takes = _takes(sweep.pattern, sweep.is_cut, key)
            if takes:
                ends += sweep.ends
                if len(sweep.ends) == DEPTH:
                    complete_from = max(complete_from, sweep.ends[-1][0])
            elif takes is None:
                complete_from = max(complete_from, *(at for at, _ in sweep.ends if at <= until), 0)
        return Clears(sorted(ends, reverse=True), complete_from)


class SweepTable:
    """The table at ``offset`` of ``memory``. ``tag`` stands for a space: 64 even bits."""

    def __init__(self, memory: mmap, offset: int) -> None:
        self._memory = memory
        self._offset = offset

    def read(self, tag: int) -> Sweeps:
        """The sweeps of the space."""
        bucket = self._bucket(tag)
        found = [sweep for _, sweep in self._sweeps(bucket, tag)]
        lost_before, losers = _LOST.unpack_from(self._memory, bucket)
        return Sweeps(found, lost_before if losers & _mark(tag) else 0.0)

    def add(self, tag: int, version: int, pattern: str, at: float, seconds: float) -> None:
        """Note a sweep by ``pattern`` that ended ``at`` and took ``seconds``."""
        text = pattern.encode("utf-8", "surrogatepass")
        kept, bucket = text[:PATTERN_BYTES], self._bucket(tag)
        for place, sweep in self._sweeps(bucket, tag):
            if (sweep.version, sweep.pattern) == (version, kept):
                ends = sorted([*sweep.ends, (at, seconds)], reverse=True)
                # One that is gone may be the reason of a miss that is still to be judged.
                self._write(place, tag, version, text, ends[:DEPTH])
                return
        self._write(self._make_room(bucket), tag, version, text, [(at, seconds)])

    def _write(
        self, place: int, tag: int, version: int, text: bytes, ends: list[tuple[float, float]]
    ) -> None:
        empty = [0.0] * (DEPTH - len(ends))
        times = (*(at for at, _ in ends), *empty, *(seconds for _, seconds in ends), *empty)
        _RECORD.pack_into(
            self._memory, place, tag, *times, version, len(text), text[:PATTERN_BYTES]
        )

    def _bucket(self, tag: int) -> int:
        return self._offset + (tag >> 32) % BUCKETS * _BUCKET_SIZE

    def _places(self, bucket: int) -> range:
        first = bucket + _LOST.size
        return range(first, first + WAYS * _RECORD.size, _RECORD.size)

    def _sweeps(self, bucket: int, tag: int) -> Iterator[tuple[int, _Sweep]]:
        for place in self._places(bucket):
            if int.from_bytes(self._memory[place : place + 8], "little") == tag:
                _, *numbers, version, length, kept = _RECORD.unpack_from(self._memory, place)
                times = zip(numbers[:DEPTH], numbers[DEPTH:], strict=True)
                ends = [each for each in times if each[0]]
                pattern = kept[: min(length, PATTERN_BYTES)]
                yield place, _Sweep(ends, version, pattern, length > PATTERN_BYTES)

    def _make_room(self, bucket: int) -> int:
        def newest(place: int) -> float:
            at: float = _RECORD.unpack_from(self._memory, place)[1]
            return at

        place = min(self._places(bucket), key=newest)
        tag = _RECORD.unpack_from(self._memory, place)[0]
        if tag:
            lost_before, losers = _LOST.unpack_from(self._memory, bucket)
            lost_before = max(lost_before, newest(place))
            _LOST.pack_into(self._memory, bucket, lost_before, losers | _mark(tag))
        return place


def _mark(tag: int) -> int:
    return 1 << tag % _FILTER_BITS


def _takes(pattern: bytes, is_cut: bool, key: str) -> bool | None:
    """Whether ``pattern`` matches ``key``, both with their prefix; None where that is unknown."""
    own_prefix, text = _parted(pattern.decode("utf-8", "replace"))
    prefix, name = _parted(key)
    if prefix != own_prefix:
        return False
    if not is_cut:
        return matches(text, name)
    return None if may_match(text, name) else False


def _parted(key: str) -> tuple[str, str]:
    prefix, mark, rest = key.partition(_PREFIX_END)
    return (prefix, rest) if mark else ("", key)
