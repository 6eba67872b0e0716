"""The backends of Django that count their entries: local memory, files, database."""

from bisect import bisect_left, insort
from typing import NamedTuple

from cache_monitor.trace.simulated import Access, Drawn, Key, Lru


class Cull(NamedTuple):
    """How a backend of Django's makes room: one entry in ``frequency`` goes, all of them where it
    is 0 (``CULL_FREQUENCY``), in the share ``probability`` of the writes into a full cache
    (``CULL_PROBABILITY``)."""

    frequency: int = 3
    probability: float = 1.0


BY_THIRDS = Cull()


class LocMem(Lru):
    """``LocMemCache``: before a write into a full cache a part of the entries goes, the least
    recently used first."""

    def __init__(self, size: float, *, cull: Cull = BY_THIRDS, seed: int = 0) -> None:
        super().__init__(size)
        self._cull = cull
        self._drawn = Drawn(seed)

    def look_up(self, access: Access) -> bool:
        """Look up the key; what has expired goes then."""
        is_hit = super().look_up(access)
        if not is_hit:
            self.delete(access.key)
        return is_hit

    def _renewed(self, access: Access) -> None:
        """It is no more recent for that."""

    def _make_room_before(self, access: Access) -> None:
        if self._used >= self.size and self._culls():
            self._make_room_for(access)

    def _culls(self) -> bool:
        return self._cull.probability >= 1 or self._drawn.chance() < self._cull.probability

    def _make_room_for(self, access: Access) -> None:
        if self._cull.frequency == 0:
            self.clear()
        else:
            aim = self._used - self._used // self._cull.frequency
            while self._used > aim and self._ends:
                self._drop(self._victim(access))

    def _make_room(self, access: Access) -> None:
        """Nothing goes after a write."""


class FileBased(LocMem):
    """``FileBasedCache``: the entries that go are drawn by lot."""

    def _written(self, access: Access) -> None:
        super()._written(access)
        self._drawn.add(access.key)

    def _dropped(self, key: Key) -> None:
        super()._dropped(key)
        self._drawn.remove(key)

    def _victim(self, access: Access) -> Key:
        return self._drawn.draw()


class Database(LocMem):
    """``DatabaseCache``: what has expired goes first; where that is not enough, those whose keys
    come first in the alphabet."""

    def __init__(self, size: float, *, cull: Cull = BY_THIRDS, seed: int = 0) -> None:
        super().__init__(size, cull=cull, seed=seed)
        self._texts: list[str] = []
        self._keys: dict[str, Key] = {}

    def _make_room_before(self, access: Access) -> None:
        if self._used > self.size and self._culls():
            for key in [key for key, end in self._ends.items() if end <= access.at]:
                self._drop(key)
            if self._used > self.size or self._cull.frequency == 0:
                self._make_room_for(access)

    def _written(self, access: Access) -> None:
        super()._written(access)
        text = str(access.key)
        self._keys[text] = access.key
        insort(self._texts, text)

    def _dropped(self, key: Key) -> None:
        super()._dropped(key)
        text = str(key)
        del self._keys[text]
        del self._texts[bisect_left(self._texts, text)]

    def _victim(self, access: Access) -> Key:
        return self._keys[self._texts[0]]
