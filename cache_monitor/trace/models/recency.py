"""Recency: Django's own backends, and those that let the least recently used entry go."""

from bisect import bisect_left, insort
from collections import OrderedDict
from typing import NamedTuple

from cache_monitor.trace.models.base import Access, Drawn, Key, Model


class Lru(Model):
    """The least recently used entry goes."""

    def __init__(self, size: float) -> None:
        super().__init__(size)
        self._order: OrderedDict[Key, None] = OrderedDict()

    def _found(self, access: Access) -> None:
        self._order.move_to_end(access.key)

    def _written(self, access: Access) -> None:
        self._order[access.key] = None

    def _dropped(self, key: Key) -> None:
        del self._order[key]

    def _victim(self, access: Access) -> Key:
        return next(iter(self._order))


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


class Memcached(Lru):
    """memcached's segmented LRU: new entries are HOT, what is asked for again while it is there is
    kept in WARM, the rest goes through COLD (``hot_lru_pct`` 20, ``warm_lru_pct`` 40); what is
    found in COLD comes back into WARM. After the documentation of memcached, ``new_lru.txt``."""

    HOT, WARM, COLD = range(3)
    SHARES = (0.2, 0.4)

    def __init__(self, size: float) -> None:
        super().__init__(size)
        self._segments: tuple[OrderedDict[Key, None], ...] = tuple(OrderedDict() for _ in range(3))
        self._filled = [0.0, 0.0, 0.0]
        self._segment: dict[Key, int] = {}
        self._active: set[Key] = set()

    def _found(self, access: Access) -> None:
        key = access.key
        if self._segment[key] == self.COLD:
            self._move(key, self.WARM)
            self._shrink()
        else:
            self._active.add(key)

    def _written(self, access: Access) -> None:
        self._segment[access.key] = self.HOT
        self._segments[self.HOT][access.key] = None
        self._filled[self.HOT] += self._room[access.key]
        self._shrink()

    def _shrink(self) -> None:
        for segment, share in enumerate(self.SHARES):
            limit = share * self.size
            while self._filled[segment] > limit and len(self._segments[segment]) > 1:
                key = next(iter(self._segments[segment]))
                is_active = key in self._active
                self._active.discard(key)
                self._move(key, self.WARM if is_active else self.COLD)
                if is_active and segment == self.WARM:
                    break

    def _move(self, key: Key, segment: int) -> None:
        before, room = self._segment[key], self._room[key]
        del self._segments[before][key]
        self._filled[before] -= room
        self._segment[key] = segment
        self._segments[segment][key] = None
        self._filled[segment] += room

    def _dropped(self, key: Key) -> None:
        segment = self._segment.pop(key)
        del self._segments[segment][key]
        self._active.discard(key)

    def _drop(self, key: Key) -> None:
        self._filled[self._segment[key]] -= self._room[key]
        super()._drop(key)

    def _victim(self, access: Access) -> Key:
        for segment in (self.COLD, self.WARM, self.HOT):
            for key in self._segments[segment]:
                if key != access.key:
                    return key
        return access.key
