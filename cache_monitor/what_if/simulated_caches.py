"""Caches as they evict, simulated: what another size, policy or timeout would have hit.

A model is asked for one key after the other, as by ``get`` and then ``set`` after a miss. Each key
has a weight, the number of keys that it stands for: 1 where it is one of the hottest or where all
keys are in the trace, more where it is one of a sample. A cache with room for ``size`` entries
holds keys of that weight together, and a lookup counts as many as its key stands for; so a sample
of the keys needs a cache that is not scaled (miniature simulation, Waldspurger et al., "Cache
Modeling and Optimization using Miniature Simulations", 2017, with the hottest keys kept whole).

Times are seconds. ``timeout`` is the time from a write to the entry's expiry, infinite for none.

Here are Django's own backends that count their entries, and policies of research for comparison;
:mod:`~cache_monitor.what_if.simulated_servers` has those of servers.
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


class Lfu(Model):
    """LFU: the entry that was asked for the fewest times since it was written goes; of several the
    one that was asked for last the longest ago."""

    def __init__(self, size: float) -> None:
        super().__init__(size)
        self._counts: dict[Key, int] = {}
        self._order: dict[int, OrderedDict[Key, None]] = {}
        """The keys by how often they were asked for."""
        self._least = 1

    def _found(self, access: Access) -> None:
        key = access.key
        count = self._counts[key]
        self._leave(key, count)
        self._enter(key, count + 1)

    def _written(self, access: Access) -> None:
        self._enter(access.key, 1)
        self._least = 1

    def _dropped(self, key: Key) -> None:
        self._leave(key, self._counts.pop(key))

    def _enter(self, key: Key, count: int) -> None:
        self._counts[key] = count
        self._order.setdefault(count, OrderedDict())[key] = None

    def _leave(self, key: Key, count: int) -> None:
        keys = self._order[count]
        del keys[key]
        if not keys:
            del self._order[count]

    def _make_room_before(self, access: Access) -> None:
        self.delete(access.key)
        # What comes was asked for once, and is not to be the first that goes.
        while self._ends and self._used + access.size * access.weight > self.size:
            self._drop(self._victim(access))

    def _victim(self, access: Access) -> Key:
        while self._least not in self._order:
            self._least += 1
        return next(iter(self._order[self._least]))


class S3Fifo(Model):
    """S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", 2023): a tenth of
    the room for newcomers, of which only those that are found again get into the main queue; and
    a list of keys that have just gone."""

    SMALL = 0.1
    MOST_COUNTED = 3

    def __init__(self, size: float) -> None:
        super().__init__(size)
        self._small: OrderedDict[Key, None] = OrderedDict()
        self._main: OrderedDict[Key, None] = OrderedDict()
        self._small_used = 0.0
        self._counts: dict[Key, int] = {}
        self._ghosts = _Ghosts()

    def _found(self, access: Access) -> None:
        self._counts[access.key] = min(self._counts[access.key] + 1, self.MOST_COUNTED)

    def _written(self, access: Access) -> None:
        key = access.key
        self._counts[key] = 0
        if key in self._ghosts.rooms:
            self._ghosts.remove(key)
            self._main[key] = None
        else:
            self._small[key] = None
            self._small_used += self._room[key]

    def _drop(self, key: Key) -> None:
        if key in self._small:
            self._small_used -= self._room[key]
        super()._drop(key)

    def _dropped(self, key: Key) -> None:
        self._small.pop(key, None)
        self._main.pop(key, None)
        del self._counts[key]

    def _victim(self, access: Access) -> Key:
        while True:
            if self._small and (self._small_used > self.SMALL * self.size or not self._main):
                key = next(iter(self._small))
                if self._counts[key] > 1:
                    del self._small[key]
                    self._small_used -= self._room[key]
                    self._main[key] = None
                    continue
                self._ghosts.add(key, self._room[key])
                while self._ghosts.used > (1 - self.SMALL) * self.size:
                    self._ghosts.forget_oldest()
                return key
            key = next(iter(self._main))
            if self._counts[key] == 0:
                return key
            self._counts[key] -= 1
            self._main.move_to_end(key)


class Arc(Model):
    """ARC (Megiddo and Modha, "ARC: A Self-Tuning, Low Overhead Replacement Cache", 2003): entries
    asked for once and those asked for again in lists of their own, whose shares follow which of
    them would have hit more."""

    def __init__(self, size: float) -> None:
        super().__init__(size)
        self._recent: OrderedDict[Key, None] = OrderedDict()
        self._frequent: OrderedDict[Key, None] = OrderedDict()
        self._recent_used = 0.0
        self._target = 0.0
        self._ghosts = (_Ghosts(), _Ghosts())
        """Of recent and of frequent entries that have gone."""
        self._came_back_frequent = False

    def _found(self, access: Access) -> None:
        key = access.key
        if key in self._recent:
            del self._recent[key]
            self._recent_used -= self._room[key]
            self._frequent[key] = None
        else:
            self._frequent.move_to_end(key)

    def _written(self, access: Access) -> None:
        key, room = access.key, self._room[access.key]
        recent, frequent = self._ghosts
        self._came_back_frequent = key in frequent.rooms
        if key in recent.rooms:
            self._target = min(
                self.size, self._target + room * max(1.0, frequent.used / recent.used)
            )
        elif key in frequent.rooms:
            step = room * max(1.0, recent.used / frequent.used)
            self._target = max(0.0, self._target - step)
        else:
            self._recent[key] = None
            self._recent_used += room
            return
        recent.remove(key)
        frequent.remove(key)
        self._frequent[key] = None

    def _drop(self, key: Key) -> None:
        if key in self._recent:
            self._recent_used -= self._room[key]
        super()._drop(key)

    def _dropped(self, key: Key) -> None:
        self._recent.pop(key, None)
        self._frequent.pop(key, None)

    def _victim(self, access: Access) -> Key:
        is_recent = bool(self._recent) and (
            self._recent_used > self._target
            or (self._came_back_frequent and self._recent_used >= self._target)
            or not self._frequent
        )
        key = next(iter(self._recent if is_recent else self._frequent))
        ghosts = self._ghosts[0 if is_recent else 1]
        ghosts.add(key, self._room[key])
        # Recent entries and their ghosts together, and all ghosts, take the size of the cache.
        while self._ghosts[0].used + self._recent_used > self.size and self._ghosts[0].rooms:
            self._ghosts[0].forget_oldest()
        while self._ghosts[0].used + self._ghosts[1].used > self.size and self._ghosts[1].rooms:
            self._ghosts[1].forget_oldest()
        return key


class _Ghosts:
    """Keys of entries that have gone, and what these took."""

    def __init__(self) -> None:
        self.rooms: OrderedDict[Key, float] = OrderedDict()
        self.used = 0.0

    def add(self, key: Key, room: float) -> None:
        self.rooms[key] = room
        self.used += room

    def remove(self, key: Key) -> None:
        self.used -= self.rooms.pop(key, 0.0)

    def forget_oldest(self) -> None:
        self.used -= self.rooms.popitem(last=False)[1]
