"""The histories of the keys: a set-associative table of fixed size.

A bucket holds ``WAYS`` keys: their tags (64 bits of hash each), a filter, and their histories.
A key that finds its bucket full replaces the one whose last event is the oldest, and the filter
remembers which: one bit of ``FILTER_BITS`` for each key lost. So a key without history is known
to have none ever, unless its bit is set.

A history that does not fit goes on in a further place of the same bucket, under the key's tag
with the next level in its lowest bits. Levels are lost like keys; what is behind a lost level is
no longer read.
"""

from math import inf
from mmap import mmap
from struct import Struct
from typing import Any

from cache_monitor.ledger import history
from cache_monitor.ledger.clears import Clears
from cache_monitor.ledger.history import ENTRY, KIND, VERSION_SHIFT, Entry, merge

WAYS = 8
FILTER_BITS = 512
_TAGS = Struct(f"<{WAYS}Q")
_TAG = Struct("<Q")
_LEVEL_BITS = 2
_LEVEL = (1 << _LEVEL_BITS) - 1
_FIRST_TAG = 1 << _LEVEL_BITS
_FILTER = _TAGS.size
_HISTORIES = _FILTER + FILTER_BITS // 8
_HISTORY_SIZE = history.DEPTH * ENTRY.size
BUCKET_SIZE = _HISTORIES + WAYS * _HISTORY_SIZE
"""Bytes of a bucket: 1,088, which is 136 a key."""
_NEWEST = Struct("<" + f"d{_HISTORY_SIZE - 8}x" * WAYS)
_TWO = _HISTORY_SIZE - 2 * ENTRY.size
_ONE = _HISTORY_SIZE - ENTRY.size
_EMPTY = bytes(_ONE)
_ENDS = Struct(f"<d{_TWO - 8}x" + ENTRY.format.lstrip("<") * 2)
"""The time of the newest entry, and the two oldest entries."""


class KeyTable:
    """The table of ``buckets`` at ``offset`` of ``memory``. A key of a space is given by 64 bits
    of hash.
    """

    def __init__(self, memory: mmap, offset: int, buckets: int) -> None:
        self._memory = memory
        self._offset = offset
        self._buckets = buckets

    def read(self, key: int) -> list[Entry]:
        """The history of the key, empty entries included."""
        memory = self._memory
        bucket = self._offset + (key >> 32) % self._buckets * BUCKET_SIZE
        tag = key & ~_LEVEL or _FIRST_TAG
        tags = _TAGS.unpack_from(memory, bucket)
        if tag not in tags:
            return []
        if tag + 1 in tags:
            return self._read(bucket, tags, tag)
        place = bucket + _HISTORIES + tags.index(tag) * _HISTORY_SIZE
        return history.unpack(memory[place : place + _HISTORY_SIZE])

    def may_have_lost(self, key: int) -> bool:
        """Whether it can be that there was more about the key."""
        bucket = self._offset + (key >> 32) % self._buckets * BUCKET_SIZE
        byte, bit = divmod((key >> _LEVEL_BITS) % FILTER_BITS, 8)
        return bool(self._memory[bucket + _FILTER + byte] >> bit & 1)

    def add(self, key: int, entry: Entry, clears: Clears) -> None:
        """Put an event into the history of its key; ``clears`` are those of its space."""
        memory = self._memory
        bucket = self._offset + (key >> 32) % self._buckets * BUCKET_SIZE
        tag = key & ~_LEVEL or _FIRST_TAG
        tags = _TAGS.unpack_from(memory, bucket)
        if tag not in tags:
            way = self._find_room(bucket, tags, tag, tag)
            place = bucket + _HISTORIES + way * _HISTORY_SIZE
            memory[place : place + _HISTORY_SIZE] = ENTRY.pack(*entry) + _EMPTY
            _TAG.pack_into(memory, bucket + way * _TAG.size, tag)
            return
        place = bucket + _HISTORIES + tags.index(tag) * _HISTORY_SIZE
        ends = _ENDS.unpack_from(memory, place)
        # Nearly always: an event newer than the others. Entries move in place.
        if not (entry[0] >= ends[0] and self._put_first(place, entry, ends, clears)):
            entries = [each for each in self._read(bucket, tags, tag) if each[4] & KIND]
            if history.insert(entries, entry, clears):
                self._note_lost(bucket, tag)
            self._write(bucket, tags, tag, entries)

    def _put_first(self, place: int, entry: Entry, ends: tuple[Any, ...], clears: Clears) -> bool:
        """Put an event before the others; if there is no room, the two oldest become one. False
        where that would lose something.
        """
        memory = self._memory
        if ends[10] & KIND:
            if ends[5] >> VERSION_SHIFT != ends[10] >> VERSION_SHIFT:
                return False
            run, loses = merge(ends[6:11], ends[1:6], entry[0], clears)
            if loses:
                return False
            memory.move(place + ENTRY.size, place, _TWO)
            ENTRY.pack_into(memory, place + _ONE, *run)
        else:
            memory.move(place + ENTRY.size, place, _ONE)
        ENTRY.pack_into(memory, place, *entry)
        return True

    def _read(self, bucket: int, tags: tuple[int, ...], tag: int) -> list[Entry]:
        entries: list[Entry] = []
        for level_tag in range(tag, tag + history.LEVELS):
            if level_tag not in tags:
                break
            place = bucket + _HISTORIES + tags.index(level_tag) * _HISTORY_SIZE
            entries += history.unpack(self._memory[place : place + _HISTORY_SIZE])
        return entries

    def _write(self, bucket: int, tags: tuple[int, ...], tag: int, entries: list[Entry]) -> None:
        parts = history.levels(entries)
        for level_tag, part in zip(range(tag, tag + len(parts)), parts, strict=True):
            tags = _TAGS.unpack_from(self._memory, bucket)
            way = self._find_room(bucket, tags, tag, level_tag)
            place = bucket + _HISTORIES + way * _HISTORY_SIZE
            self._memory[place : place + _HISTORY_SIZE] = history.pack(part)
            _TAG.pack_into(self._memory, bucket + way * _TAG.size, level_tag)
        for level_tag in range(tag + len(parts), tag + history.LEVELS):
            if level_tag in tags:
                _TAG.pack_into(self._memory, bucket + tags.index(level_tag) * _TAG.size, 0)

    def _find_room(self, bucket: int, tags: tuple[int, ...], tag: int, level_tag: int) -> int:
        """The way that has the tag or is free, else that whose key had no event for longest."""
        if level_tag in tags:
            return tags.index(level_tag)
        if 0 in tags:
            return tags.index(0)
        newest = list(_NEWEST.unpack_from(self._memory, bucket + _HISTORIES))
        for way, other in enumerate(tags):
            if other & ~_LEVEL == tag:
                newest[way] = inf
        way = newest.index(min(newest))
        self._note_lost(bucket, tags[way])
        # Who is killed before the end leaves no key with the history of another.
        _TAG.pack_into(self._memory, bucket + way * _TAG.size, 0)
        return way

    def _note_lost(self, bucket: int, tag: int) -> None:
        byte, bit = divmod((tag >> _LEVEL_BITS) % FILTER_BITS, 8)
        self._memory[bucket + _FILTER + byte] |= 1 << bit
