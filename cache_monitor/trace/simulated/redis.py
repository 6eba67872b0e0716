"""Redis' policies (``maxmemory-policy``).

Before a write entries go until there is room for it; where none may go, it is refused and what was
there stays. What has expired takes no room: a server looks for it ten times a second.
"""

import heapq
from collections import OrderedDict
from math import inf

from cache_monitor.trace.simulated import Access, Drawn, Expiring, Key, Model


class NoEviction(Model):
    """``noeviction``: what does not fit is refused.

    The other policies add what goes, under ``allkeys`` any entry, or with ``volatile`` those alone
    that have a timeout.
    """

    def __init__(self, size: float, *, volatile: bool = False) -> None:
        super().__init__(size)
        self._is_volatile = volatile
        self._expiring = Expiring()

    def write(self, access: Access) -> None:
        """Write the key, if there is room or can be made."""
        for key in self._expiring.over(access.at, self._ends):
            self._drop(key)
        room = access.size * access.weight
        while self._used - self._room.get(access.key, 0.0) + room > self.size:
            goes = self._next(access.at)
            if goes is None:
                return
            self._drop(goes)
        super().write(access)
        self._expiring.watch(access.key, self._ends[access.key])

    def renew(self, access: Access) -> None:
        """Give the entry another expiry, if it is there."""
        super().renew(access)
        if access.key in self._ends:
            self._expiring.watch(access.key, self._ends[access.key])

    def _next(self, now: float) -> Key | None:
        """The entry that goes; None where none may."""
        return None

    def _may_go(self, key: Key) -> bool:
        return not self._is_volatile or self._ends[key] < inf


class RedisLru(NoEviction):
    """``allkeys-lru``, ``volatile-lru``: the least recently used entry goes. Redis takes the oldest
    of a sample, which comes close."""

    def __init__(self, size: float, *, volatile: bool = False) -> None:
        super().__init__(size, volatile=volatile)
        self._order: OrderedDict[Key, None] = OrderedDict()

    def _found(self, access: Access) -> None:
        if access.key in self._order:
            self._order.move_to_end(access.key)

    def _written(self, access: Access) -> None:
        if self._may_go(access.key):
            self._order[access.key] = None

    def _renewed(self, access: Access) -> None:
        self._order.pop(access.key, None)
        self._written(access)

    def _dropped(self, key: Key) -> None:
        self._order.pop(key, None)

    def _next(self, now: float) -> Key | None:
        return next(iter(self._order), None)


class RedisRandom(NoEviction):
    """``allkeys-random``, ``volatile-random``: an entry goes that is drawn by lot."""

    def __init__(self, size: float, *, volatile: bool = False, seed: int = 0) -> None:
        super().__init__(size, volatile=volatile)
        self._drawn = Drawn(seed)

    def _written(self, access: Access) -> None:
        if self._may_go(access.key):
            self._drawn.add(access.key)

    def _renewed(self, access: Access) -> None:
        self._drawn.discard(access.key)
        if self._may_go(access.key):
            self._drawn.add(access.key)
        self._found(access)

    def _dropped(self, key: Key) -> None:
        self._drawn.discard(key)

    def _next(self, now: float) -> Key | None:
        return self._drawn.draw() if len(self._drawn) else None


class RedisTtl(RedisRandom):
    """``volatile-ttl``: of a pool of candidates, into which five are drawn each time, the one that
    expires next goes."""

    SAMPLE = 5
    POOL = 16

    def __init__(self, size: float, *, volatile: bool = True, seed: int = 0) -> None:
        super().__init__(size, volatile=volatile, seed=seed)
        self._pool: dict[Key, float] = {}

    def _dropped(self, key: Key) -> None:
        super()._dropped(key)
        self._pool.pop(key, None)

    def _next(self, now: float) -> Key | None:
        for _ in range(min(self.SAMPLE, len(self._drawn))):
            key = self._drawn.draw()
            self._pool[key] = self._rank(key, now)
        if len(self._pool) > self.POOL:
            kept = heapq.nsmallest(self.POOL, self._pool, key=self._pool.__getitem__)
            self._pool = {key: self._pool[key] for key in kept}
        return min(self._pool, key=self._pool.__getitem__, default=None)

    def _rank(self, key: Key, now: float) -> float:
        """The lower the sooner it goes."""
        return self._ends[key]


class RedisLfu(RedisTtl):
    """``allkeys-lfu``, ``volatile-lfu``: each entry has a counter of eight bits that grows by
    chance, the less likely the higher it is, and falls by one a minute (``lfu-log-factor`` 10,
    ``lfu-decay-time`` 1); the lowest goes. After Redis' documentation of its eviction policies."""

    INITIAL = 5
    LOG_FACTOR = 10
    DECAY_SECONDS = 60

    def __init__(self, size: float, *, volatile: bool = False, seed: int = 0) -> None:
        super().__init__(size, volatile=volatile, seed=seed)
        self._counters: dict[Key, tuple[int, float]] = {}

    def _found(self, access: Access) -> None:
        counter = self._counter(access.key, access.at)
        above = max(counter - self.INITIAL, 0)
        if counter < 255 and self._drawn.chance() * (above * self.LOG_FACTOR + 1) < 1:
            counter += 1
        self._counters[access.key] = counter, access.at

    def _counter(self, key: Key, now: float) -> int:
        counter, at = self._counters[key]
        return max(counter - int((now - at) // self.DECAY_SECONDS), 0)

    def _written(self, access: Access) -> None:
        super()._written(access)
        self._counters[access.key] = self.INITIAL, access.at

    def _dropped(self, key: Key) -> None:
        super()._dropped(key)
        del self._counters[key]

    def _rank(self, key: Key, now: float) -> float:
        return self._counter(key, now)
