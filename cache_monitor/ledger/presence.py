"""How far each process has told what it did.

A miss can only be judged when everybody has told of what happened before it, and a process that
the machine keeps waiting tells late. So each of them notes until when it has told everything, and
whoever judges waits for the slowest. One that has noted nothing for ``GONE_AFTER`` seconds has
died, and nobody waits for it any more.
"""

from math import inf
from mmap import mmap
from struct import Struct

SLOTS = 512
"""Processes that have a place; those for which there is none are not waited for."""
GONE_AFTER = 30.0
"""Longer than a store may keep a process waiting, which tells nothing meanwhile: SQLite's lock is
often waited for 20 s."""
_RECORD = Struct("<Qd")
SIZE = SLOTS * _RECORD.size
"""Bytes of the table: 8,192."""


class Presence:
    """The table at ``offset`` of ``memory``. ``who`` stands for a process: 64 bits, not all 0."""

    def __init__(self, memory: mmap, offset: int) -> None:
        self._memory = memory
        self._offset = offset

    def note(self, who: int, until: float) -> None:
        """Note that ``who`` has told everything until ``until`` (Unix time)."""
        place = self._place_of(who)
        if place is None:
            place = self._free_place(until)
        if place is not None:
            _RECORD.pack_into(self._memory, place, who, until)

    def leave(self, who: int) -> None:
        """Note that ``who`` has told everything that it ever will."""
        place = self._place_of(who)
        if place is not None:
            _RECORD.pack_into(self._memory, place, 0, 0.0)

    def told_until(self, who: int, now: float) -> float:
        """Until when all processes but ``who`` have told everything; infinite without others."""
        return min(
            (
                until
                for each, until in _RECORD.iter_unpack(self._bytes())
                if each not in (0, who) and until > now - GONE_AFTER
            ),
            default=inf,
        )

    def _bytes(self) -> bytes:
        return self._memory[self._offset : self._offset + SIZE]

    def _place_of(self, who: int) -> int | None:
        for number, (each, _) in enumerate(_RECORD.iter_unpack(self._bytes())):
            if each == who:
                return self._offset + number * _RECORD.size
        return None

    def _free_place(self, now: float) -> int | None:
        for number, (each, until) in enumerate(_RECORD.iter_unpack(self._bytes())):
            if not each or until < now - GONE_AFTER:
                return self._offset + number * _RECORD.size
        return None
