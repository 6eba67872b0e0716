"""Policies for comparison: cleverer caches, and the optimum that no cache exceeds."""

import heapq
from collections import OrderedDict, deque
from collections.abc import Sequence
from math import inf

from cache_monitor.what_if.simulated import Access, Key, Model


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


class Optimum(Model):
    """What no policy exceeds (Belady, 1966): the entry that is asked for last goes, or the one
    just written if that is it. It knows what comes, so it is made of all lookups together."""

    def __init__(self, size: float, accesses: Sequence[Access]) -> None:
        super().__init__(size)
        self._places: dict[Key, deque[int]] = {}
        self._times = [access.at for access in accesses]
        for place, access in enumerate(accesses):
            self._places.setdefault(access.key, deque()).append(place)
        self._latest: list[tuple[float, int, Key]] = []
        self._next: dict[Key, float] = {}
        self._number = 0

    def look_up(self, access: Access) -> bool:
        """Look up the key, which comes next among the accesses that the model was made of."""
        self._places[access.key].popleft()
        return super().look_up(access)

    def _found(self, access: Access) -> None:
        self._plan(access)

    def _written(self, access: Access) -> None:
        self._plan(access)

    def _plan(self, access: Access) -> None:
        # What is never asked for may be written all the same.
        waiting = self._places.get(access.key)
        # What expires before it is asked for might as well never be.
        comes = float(waiting[0]) if waiting else inf
        if waiting and self._times[waiting[0]] >= self._ends[access.key]:
            comes = inf
        self._next[access.key] = comes
        self._number += 1
        heapq.heappush(self._latest, (-comes, self._number, access.key))

    def _dropped(self, key: Key) -> None:
        del self._next[key]

    def _victim(self, access: Access) -> Key:
        while True:
            comes, _, key = heapq.heappop(self._latest)
            if self._next.get(key) == -comes:
                return key


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
