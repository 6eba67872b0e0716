"""Caches as they evict, simulated: what another size, policy or timeout would have hit.

A model is asked for one key after the other, as by ``get`` and then ``set`` after a miss. Each key
has a weight, the number of keys that it stands for: 1 where it is one of the hottest or where all
keys are in the trace, more where it is one of a sample. A cache with room for ``size`` entries
holds keys of that weight together, and a lookup counts as many as its key stands for; so a sample
of the keys needs a cache that is not scaled (miniature simulation, Waldspurger et al., "Cache
Modeling and Optimization using Miniature Simulations", 2017, with the hottest keys kept whole).

Times are seconds. ``timeout`` is the time from a write to the entry's expiry, infinite for none.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from heapq import heappop, heappush
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
        self.hits = 0.0
        self.lookups = 0.0
        self._ends: dict[Key, float] = {}
        """When the entries expire."""
        self._room: dict[Key, float] = {}
        """What the entries take."""
        self._used = 0.0

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def hit_ratio(self) -> float | None:
        """Hits divided by lookups; None without lookups."""
        return self.hits / self.lookups if self.lookups else None

    def access(self, access: Access) -> bool:
        """Look up the key, and write it where it is missing; whether it was there."""
        is_hit = self.look_up(access)
        if not is_hit:
            self.write(access)
        return is_hit

    def look_up(self, access: Access) -> bool:
        """Look up the key; whether it was there."""
        self.lookups += access.weight
        if self.has(access):
            self.hits += access.weight
            self._found(access)
            return True
        return False

    def look_up_again(self, access: Access, times: int) -> bool:
        """Look up ``times`` more a key that was just looked up; whether it was there."""
        self.lookups += times * access.weight
        if not self.has(access):
            return False
        self.hits += times * access.weight
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

    def run(self, accesses: Iterable[Access]) -> float | None:
        """Look up all of them; the hit ratio."""
        for access in accesses:
            self.access(access)
        return self.hit_ratio

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
    """Keys of which one can be drawn by lot."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 - no secret, and the same each time
        self._keys: list[Key] = []
        self._places: dict[Key, int] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: Key) -> None:
        """Take in ``key``."""
        self._places[key] = len(self._keys)
        self._keys.append(key)

    def remove(self, key: Key) -> None:
        """Let ``key`` go."""
        place, last = self._places.pop(key), self._keys.pop()
        if last != key:
            self._keys[place] = last
            self._places[last] = place

    def discard(self, key: Key) -> None:
        """Let ``key`` go, if it is there."""
        if key in self._places:
            self.remove(key)

    def draw(self) -> Key:
        """One of the keys, each as likely as any other."""
        return self._keys[int(self._random.random() * len(self._keys))]

    def chance(self) -> float:
        """A number from 0 to 1."""
        return self._random.random()


class Expiring:
    """Keys by when they expire."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Key]] = []
        self._number = 0

    def watch(self, key: Key, end: float) -> None:
        """Note when ``key`` expires."""
        if end < inf:
            self._number += 1
            heappush(self._waiting, (end, self._number, key))

    def over(self, now: float, ends: Mapping[Key, float]) -> Iterator[Key]:
        """Those that have expired, one by one, as far as ``ends`` still says so."""
        while self._waiting and self._waiting[0][0] <= now:
            end, _, key = heappop(self._waiting)
            if ends.get(key) == end:
                yield key


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
