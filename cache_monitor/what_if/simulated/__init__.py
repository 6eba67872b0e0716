"""Caches as they evict, simulated: what another size, policy or timeout would have hit.

A model is asked for one key after the other, as by ``get`` and then ``set`` after a miss. Each key
has a weight, the number of keys that it stands for: 1 where it is one of the hottest or where all
keys are in the trace, more where it is one of a sample. A cache with room for ``size`` entries
holds keys of that weight together, and a lookup counts as many as its key stands for; so a sample
of the keys needs a cache that is not scaled (miniature simulation, Waldspurger et al., "Cache
Modeling and Optimization using Miniature Simulations", 2017, with the hottest keys kept whole).

Times are seconds. ``timeout`` is the time from a write to the entry's expiry, infinite for none.
"""

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Hashable
from math import inf
from random import Random
from typing import NamedTuple

Key = Hashable

_MOST_TOLD = 16
"""Lookups within a moment of which a policy hears one by one: by then it is sure of them."""


class Access(NamedTuple):
    """A lookup, and the write that follows where it misses. ``size`` is in bytes or entries."""

    key: Key
    at: float
    timeout: float = inf
    size: float = 1.0
    weight: float = 1.0


class Model:
    """A cache with room for entries of ``size`` together; the one that was written first goes."""

    def __init__(self, size: float) -> None:
        self.size = size
        self._ends: OrderedDict[Key, float] = OrderedDict()
        """When the entries expire, in the order of their writes."""
        self._room: dict[Key, float] = {}
        """What the entries take."""
        self._used = 0.0

    def look_up(self, access: Access) -> bool:
        """Look up the key; whether it was there."""
        if self.has(access):
            self._found(access)
            return True
        return False

    def look_up_again(self, access: Access, times: int) -> bool:
        """Look up ``times`` more a key that was just looked up; whether it was there."""
        if not self.has(access):
            return False
        for _ in range(min(times, _MOST_TOLD)):
            self._found(access)
        return True

    def has(self, access: Access) -> bool:
        """Whether the key is there."""
        return self._ends.get(access.key, -inf) > access.at

    def write(self, access: Access) -> None:
        """Write the key, in place of what is there."""
        # Django's backends count the entry that is about to be replaced.
        self._make_room_before(access)
        if access.key in self._ends:
            self._drop(access.key)
        room = access.size * access.weight
        self._ends[access.key] = access.at + access.timeout
        self._room[access.key] = room
        self._used += room
        self._written(access)
        self._make_room(access)

    def renew(self, access: Access) -> None:
        """Give the entry another expiry, if it is there."""
        if self.has(access):
            self._ends[access.key] = access.at + access.timeout
            self._renewed(access)

    def held_at(self, at: float) -> float:
        """What the entries take that have not expired ``at`` that time."""
        return sum(self._room[key] for key, end in self._ends.items() if end > at)

    def delete(self, key: Key) -> None:
        """Delete the key."""
        if key in self._ends:
            self._drop(key)

    def clear(self) -> None:
        """Delete all keys."""
        for key in list(self._ends):
            self._drop(key)

    def _drop(self, key: Key) -> None:
        """Let the entry go."""
        del self._ends[key]
        self._used -= self._room.pop(key)
        self._dropped(key)

    def _make_room_before(self, access: Access) -> None:
        """Make room before a new entry comes, where the backend does that."""

    def _make_room(self, access: Access) -> None:
        while self._used > self.size and self._ends:
            self._drop(self._victim(access))

    def _found(self, access: Access) -> None:
        """Note that the entry was found."""

    def _renewed(self, access: Access) -> None:
        """Note that the entry has another expiry: most servers take that for a use of it."""
        self._found(access)

    def _dropped(self, key: Key) -> None:
        """Note that the entry is gone."""

    def _written(self, access: Access) -> None:
        """Note that the entry was written."""

    def _victim(self, access: Access) -> Key:
        """The entry that goes next."""
        return next(iter(self._ends))


class Drawn:
    """Keys of which one can be drawn by lot: in the same order each time."""

    def __init__(self) -> None:
        self._random = Random(0)  # noqa: S311 - no secret
        self._keys: list[Key] = []
        self._places: dict[Key, int] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: Key) -> None:
        """Add ``key``."""
        self._places[key] = len(self._keys)
        self._keys.append(key)

    def discard(self, key: Key) -> None:
        """Remove ``key``, if it is there."""
        place = self._places.pop(key, None)
        if place is not None:
            last = self._keys.pop()
            if last != key:
                self._keys[place] = last
                self._places[last] = place

    def draw(self) -> Key:
        """One of the keys, each as likely as any other."""
        return self._keys[int(self.chance() * len(self._keys))]

    def chance(self) -> float:
        """A number from 0 to 1."""
        return self._random.random()


# Django's own backends that count their entries.


class Cull(NamedTuple):
    """How a backend of Django's makes room: one entry in ``frequency`` goes, all of them where it
    is 0 (``CULL_FREQUENCY``), in the share ``probability`` of the writes into a full cache
    (``CULL_PROBABILITY``)."""

    frequency: int = 3
    probability: float = 1.0


BY_THIRDS = Cull()


class LocMem(Model):
    """``LocMemCache``: before a write into a full cache a part of the entries goes, the least
    recently used first."""

    def __init__(self, size: float, *, cull: Cull = BY_THIRDS) -> None:
        super().__init__(size)
        self._cull = cull
        self._drawn = Drawn()

    def look_up(self, access: Access) -> bool:
        """Look up the key; what has expired goes then."""
        is_hit = super().look_up(access)
        if not is_hit:
            self.delete(access.key)
        return is_hit

    def _found(self, access: Access) -> None:
        self._ends.move_to_end(access.key)

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

    def _found(self, access: Access) -> None:
        """It is no more recent for that."""

    def _written(self, access: Access) -> None:
        self._drawn.add(access.key)

    def _dropped(self, key: Key) -> None:
        self._drawn.discard(key)

    def _victim(self, access: Access) -> Key:
        return self._drawn.draw()


class Database(LocMem):
    """``DatabaseCache``: what has expired goes first; where that is not enough, those whose keys
    come first in the alphabet."""

    def __init__(self, size: float, *, cull: Cull = BY_THIRDS) -> None:
        super().__init__(size, cull=cull)
        self._texts: list[str] = []
        self._keys: dict[str, Key] = {}

    def _make_room_before(self, access: Access) -> None:
        if self._used > self.size and self._culls():
            for key in [key for key, end in self._ends.items() if end <= access.at]:
                self._drop(key)
            if self._used > self.size or self._cull.frequency == 0:
                self._make_room_for(access)

    def _written(self, access: Access) -> None:
        text = str(access.key)
        self._keys[text] = access.key
        insort(self._texts, text)

    def _dropped(self, key: Key) -> None:
        text = str(key)
        del self._keys[text]
        del self._texts[bisect_left(self._texts, text)]

    def _victim(self, access: Access) -> Key:
        return self._keys[self._texts[0]]
