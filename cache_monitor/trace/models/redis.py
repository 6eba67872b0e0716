"""Redis' policies beside plain recency."""

import heapq

from cache_monitor.trace.models.base import Access, Drawn, Key, Model


class RedisLfu(Model):
    """``allkeys-lfu``: each entry has a counter of eight bits that grows by chance, the less likely
    the higher it is, and falls by one a minute (``lfu-log-factor`` 10, ``lfu-decay-time`` 1). Of a
    pool of candidates, into which five are drawn each time, the one with the smallest goes. After
    Redis' documentation of its eviction policies."""

    INITIAL = 5
    LOG_FACTOR = 10
    DECAY_SECONDS = 60
    SAMPLE = 5
    POOL = 16

    def __init__(self, size: float, seed: int = 0) -> None:
        super().__init__(size)
        self._drawn = Drawn(seed)
        self._counters: dict[Key, tuple[int, float]] = {}
        self._pool: dict[Key, int] = {}

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
        self._counters[access.key] = self.INITIAL, access.at
        self._drawn.add(access.key)

    def _dropped(self, key: Key) -> None:
        del self._counters[key]
        self._drawn.remove(key)
        self._pool.pop(key, None)

    def _victim(self, access: Access) -> Key:
        for _ in range(min(self.SAMPLE, len(self._drawn))):
            key = self._drawn.draw()
            self._pool[key] = self._counter(key, access.at)
        if len(self._pool) > self.POOL:
            kept = heapq.nsmallest(self.POOL, self._pool, key=self._pool.__getitem__)
            self._pool = {key: self._pool[key] for key in kept}
        return min(self._pool, key=self._pool.__getitem__)


class NoEviction(Model):
    """``noeviction``: what does not fit is refused."""

    def _make_room(self, access: Access) -> None:
        if self._used > self.size:
            self._drop(access.key)

    def _written(self, access: Access) -> None:
        """Nothing is remembered of it."""

    def _victim(self, access: Access) -> Key:
        return access.key
