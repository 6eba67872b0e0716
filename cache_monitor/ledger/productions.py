"""Who produces the same value at once: the last productions of many keys.

A set-associative table of fixed size. Each place has the tag of a key (64 bits of hash) and a
stretch of time in which it was produced, by one caller or by several whose times overlap. A key
that finds its bucket full replaces the stretch that ended first: productions matter to each other
for as long as they take, and for the turn of the slowest process to tell of them. Times are the
host's since it was started (``time.perf_counter``), which nobody sets.
"""

from functools import cache
from mmap import mmap
from pathlib import Path
from struct import Struct

BUCKETS = 1024
WAYS = 8
TOLERANCE = 0.001
"""Seconds that two must share to count as made at once: less is nothing to wait for."""
AHEAD = 3600.0
"""Seconds that a production may be later than one that is told of after it. What is later still
is of before the host was started anew."""
_PLACE = Struct("<Qdd")
_BUCKET_SIZE = WAYS * _PLACE.size
SIZE = BUCKETS * _BUCKET_SIZE
"""Bytes of the table: 196,608, for 8,192 productions."""


@cache
def boot() -> str:
    """What tells the host's starts apart, where the system says it: times begin anew with each, and
    the ledger may outlive it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


class Productions:
    """The table at ``offset`` of ``memory``. ``key`` is 64 bits of hash."""

    def __init__(self, memory: mmap, offset: int) -> None:
        self._memory = memory
        self._offset = offset

    def note(self, key: int, began: float, ended: float) -> bool:
        """Note that a value was produced; whether another one was meanwhile, as far as told.

        Of several at once the first that is told of counts for the one that was needed.
        """
        tag = key or 1
        bucket = self._offset + (key >> 32) % BUCKETS * _BUCKET_SIZE
        raw = self._memory[bucket : bucket + _BUCKET_SIZE]
        places = list(_PLACE.iter_unpack(raw))
        for number, (each, first, last) in enumerate(places):
            if each == tag and min(last, ended) - max(first, began) > TOLERANCE:
                self._write(bucket, number, tag, min(first, began), max(last, ended))
                return True
        ends = [last if last < ended + AHEAD else 0.0 for _, _, last in places]
        oldest = ends.index(min(ends))
        self._write(bucket, oldest, tag, began, ended)
        return False

    def _write(self, bucket: int, number: int, tag: int, began: float, ended: float) -> None:
        _PLACE.pack_into(self._memory, bucket + number * _PLACE.size, tag, began, ended)
