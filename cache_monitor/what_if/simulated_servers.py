"""The policies of servers: Redis (``maxmemory-policy``) and memcached.

What has expired takes no room: Redis looks for it ten times a second, memcached all the time.

Redis lets entries go before a write, until there is room for it. If none may go, the write is
refused and the entry that was there stays.

memcached has pages of memory, slab classes, and a segmented LRU in each class.
"""

import heapq
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Iterator
from math import ceil, inf
from random import Random
from typing import NamedTuple

from msgspec import Struct

from cache_monitor.what_if.simulated_caches import Access, Drawn, Key, Model


class ServerModel(Model):
    """A server, where what has expired takes no room."""

    def __init__(self, size: float) -> None:
        super().__init__(size)
        self._expiries: list[tuple[float, int, Key]] = []
        """A heap: when keys expire, as far as the entries still say so."""
        self._number = 0

    def write(self, access: Access) -> None:
        """Write the key, if there is room or can be made."""
        while self._expiries and self._expiries[0][0] <= access.at:
            end, _, key = heapq.heappop(self._expiries)
            if self._ends.get(key) == end:
                self._drop(key)
        if self._has_room(access):
            super().write(access)
            self._note_expiry(access.key)

    def renew(self, access: Access) -> None:
        """Give the entry another expiry, if it is there."""
        super().renew(access)
        self._note_expiry(access.key)

    def _note_expiry(self, key: Key) -> None:
        end = self._ends.get(key, inf)
        if end < inf:
            self._number += 1
            heapq.heappush(self._expiries, (end, self._number, key))

    def _has_room(self, access: Access) -> bool:
        """Whether there is room for the entry, or can be made."""
        return True


class NoEviction(ServerModel):
    """``noeviction``: what does not fit is refused.

    The other policies add what goes, under ``allkeys`` any entry, or with ``volatile`` those alone
    that have a timeout.
    """

    def __init__(self, size: float, *, volatile: bool = False) -> None:
        super().__init__(size)
        self._is_volatile = volatile

    def _has_room(self, access: Access) -> bool:
        room = access.size * access.weight
        while self._used - self._room.get(access.key, 0.0) + room > self.size:
            goes = self._next(access.at)
            if goes is None:
                return False
            self._drop(goes)
        return True

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

    def __init__(self, size: float, *, volatile: bool = False) -> None:
        super().__init__(size, volatile=volatile)
        self._drawn = Drawn()

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

    def __init__(self, size: float, *, volatile: bool = True) -> None:
        super().__init__(size, volatile=volatile)
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

    def __init__(self, size: float, *, volatile: bool = False) -> None:
        super().__init__(size, volatile=volatile)
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


class Slabs(NamedTuple):
    """How memcached's memory goes to entries: an entry of size 1 takes ``mean`` bytes, and a cache
    with room for entries of size ``n`` has ``per_entry`` times ``n`` bytes of pages."""

    mean: float
    per_entry: float


WINDOW = 30
"""``slab_automove_window``: seconds."""
_EVICTING = 0.69
"""Entries evicted a second with which there is one in more than half of the seconds."""
_HOT, _WARM, _COLD = range(3)
_HOT_SHARE, _WARM_SHARE = 0.2, 0.4
"""``hot_lru_pct``, ``warm_lru_pct``: of the bytes of a class."""
_HOT_AGE, _WARM_AGE = 0.2, 2.0
"""``hot_max_factor``, ``warm_max_factor``: of the age of what goes next."""


class _Item(Struct, gc=False):
    """An entry of memcached's. ``was_read`` is whether it was ever found, ``is_active`` whether it
    was found again since its segment last took note; ``at`` is when it was."""

    at: float
    bytes: float
    chunks: float
    segment: int = _HOT
    was_read: bool = False
    is_active: bool = False


class _SlabClass:
    """The entries that take chunks of one size, in a segmented LRU of their own: new ones are HOT,
    what is found again is kept in WARM, the rest goes through COLD. What is found again in COLD
    comes back into WARM. After the documentation of memcached, ``new_lru.txt``."""

    def __init__(self, per_page: float) -> None:
        self.per_page = per_page
        """Chunks of a page."""
        self.pages = 0.0
        self.used = 0.0
        """Chunks in use."""
        self._evicted: deque[list[float]] = deque()
        """Seconds in which something was evicted, and how many entries."""
        self.ages: deque[float] = deque(maxlen=WINDOW)
        """How old what goes next was, of late."""
        self._segments = tuple(OrderedDict[Key, _Item]() for _ in (_HOT, _WARM, _COLD))
        self._filled = [0.0, 0.0, 0.0]

    def note_evicted(self, item: _Item, at: float) -> None:
        """Note that an entry goes for want of room."""
        if not self._evicted or self._evicted[-1][0] <= at - 1:
            self._evicted.append([at, 0.0])
        self._evicted[-1][1] += item.chunks

    def evicted(self, at: float, within: float = WINDOW) -> float:
        """How many entries went for want of room in the last window, or since."""
        while self._evicted and self._evicted[0][0] <= at - WINDOW:
            self._evicted.popleft()
        return sum(number for began, number in self._evicted if began > at - within)

    def is_evicting(self, at: float) -> bool:
        """Whether it has evicted for half a window, in more than half of its seconds."""
        number = self.evicted(at)
        return number > _EVICTING * WINDOW and self._evicted[0][0] <= at - WINDOW / 2

    def usual_age(self) -> float:
        """The age of what goes next, on the average of a window."""
        return sum(self.ages) / WINDOW

    @property
    def free(self) -> float:
        """Chunks of its pages that are free, below zero where entries have to go."""
        return self.pages * self.per_page - self.used

    def add(self, key: Key, item: _Item) -> None:
        """Take in a new entry."""
        self.used += item.chunks
        self._put(key, item, _HOT)
        self._juggle(item.at)

    def find(self, key: Key, item: _Item, at: float) -> None:
        """Note that the entry was found."""
        if not item.was_read:
            item.was_read = True
        elif not item.is_active:
            item.at = at
            if item.segment == _COLD:
                self._take(key, item)
                self._put(key, item, _WARM)
                self._juggle(at)
            else:
                item.is_active = True

    def remove(self, key: Key, item: _Item) -> None:
        """Let the entry go."""
        self.used -= item.chunks
        self._take(key, item)

    def age(self, at: float) -> float:
        """How long ago the entry was used that goes next."""
        return at - next(iter(self._segments[_COLD].values())).at if self._segments[_COLD] else 0.0

    def next(self, spared: Key) -> Key | None:
        """The entry that goes next."""
        for segment in (_COLD, _HOT, _WARM):
            for key in self._segments[segment]:
                if key != spared:
                    return key
        return None

    def keys(self) -> list[Key]:
        """The keys of its entries."""
        return [key for segment in self._segments for key in segment]

    def _juggle(self, at: float) -> None:
        """Move on what its segment has no room for, and what is too old for it."""
        age, every = self.age(at), sum(self._filled)
        for segment, share, factor in (
            (_HOT, _HOT_SHARE, _HOT_AGE),
            (_WARM, _WARM_SHARE, _WARM_AGE),
        ):
            items, limit, oldest = self._segments[segment], share * every, at - factor * age
            while items:
                key, item = next(iter(items.items()))
                if item.is_active:
                    item.is_active = False
                    to = _WARM
                elif self._filled[segment] > limit or item.at < oldest:
                    to = _COLD
                else:
                    break
                self._take(key, item)
                self._put(key, item, to)

    def _take(self, key: Key, item: _Item) -> None:
        del self._segments[item.segment][key]
        self._filled[item.segment] -= item.bytes

    def _put(self, key: Key, item: _Item, segment: int) -> None:
        item.segment = segment
        self._segments[segment][key] = item
        self._filled[segment] += item.bytes


class Memcached(ServerModel):
    """memcached: its memory is pages of 1 MB, and each belongs to one class of entries, which take
    chunks of one size; a class lets its own entries go, after a segmented LRU. While memory is left
    a class that is full gets another page. Later a page moves from the class whose entries are the
    oldest to one that keeps evicting younger ones, one page a second at most (``slab_automove``).

    Without ``slabs``, where nobody knows how large entries are, they all are of one class.
    """

    PAGE = 1 << 20
    LARGEST = PAGE // 2
    """The largest chunk; what is larger takes several."""
    SMALLEST, GROWTH, ALIGNED = 96, 1.25, 8
    RATIO = 0.8
    """By how much younger what goes must be for a page to move."""
    LEAST_PAGES = 2
    """A class that has no more keeps them."""
    SPARE = 2.5
    """Pages of free chunks of which one is given back."""

    def __init__(self, size: float, slabs: Slabs | None = None) -> None:
        super().__init__(size)
        self._slabs = slabs
        self._classes: dict[int, _SlabClass] = {}
        self._items: dict[Key, tuple[_SlabClass, _Item]] = {}
        self._pages = 0.0 if slabs is None else size * slabs.per_entry / self.PAGE
        """How many no class has yet."""
        self._looked_at = -inf
        self._random = Random(0)  # noqa: S311 - no secret, and the same each time
        self._chunk_sizes = list(_chunk_sizes())

    def _found(self, access: Access) -> None:
        slab_class, item = self._items[access.key]
        slab_class.find(access.key, item, access.at)

    def _written(self, access: Access) -> None:
        number, chunks = self._chunks(access)
        slab_class = self._classes.get(number)
        if slab_class is None:
            slab_class = self._classes[number] = self._new_class(number)
        item = _Item(access.at, access.size * access.weight, chunks * access.weight)
        self._items[access.key] = slab_class, item
        slab_class.add(access.key, item)

    def _chunks(self, access: Access) -> tuple[int, float]:
        """The class of an entry, and how many chunks it takes there."""
        if self._slabs is None:
            return 0, access.size
        size = access.size * self._slabs.mean
        number = bisect_left(self._chunk_sizes, size)
        if number < len(self._chunk_sizes):
            return number, 1
        return number - 1, ceil(size / self.LARGEST)

    def _new_class(self, number: int) -> _SlabClass:
        if self._slabs is None:
            found = _SlabClass(self.size)
        else:
            found = _SlabClass(self.PAGE // self._chunk_sizes[number])
        # It gets its first page even where all memory is given away.
        self._pages -= 1
        found.pages = 1
        return found

    def _make_room(self, access: Access) -> None:
        slab_class, _ = self._items[access.key]
        while slab_class.free < 0:
            if self._pages >= 1:
                self._pages -= 1
                slab_class.pages += 1
                continue
            key = slab_class.next(access.key)
            if key is None:
                break
            slab_class.note_evicted(self._items[key][1], access.at)
            self._drop(key)
            self._move_page(access.at)

    def _move_page(self, at: float) -> None:
        """Once a second, take one from a class that has some to spare, or give one of the class
        whose entries go the oldest to that whose entries go the youngest."""
        if self._slabs is None or at < self._looked_at + 1:
            return
        self._looked_at = at
        classes = self._classes.values()
        for each in classes:
            each.ages.append(each.age(at))
            if each.free > self.SPARE * each.per_page and not each.evicted(at):
                each.pages -= 1
                self._pages += 1
                return
        rich = [each for each in classes if each.pages > self.LEAST_PAGES]
        evicting = [each for each in classes if each.is_evicting(at)]
        if not (rich and evicting):
            return
        oldest = max(rich, key=_SlabClass.usual_age)
        youngest = min(evicting, key=_SlabClass.usual_age)
        if youngest.usual_age() >= self.RATIO * oldest.usual_age() or not youngest.evicted(at, 1):
            return
        oldest.pages -= 1
        youngest.pages += 1
        # What is in the page goes with it, however recently it was used.
        keys = oldest.keys()
        self._random.shuffle(keys)
        while oldest.free < 0:
            self._drop(keys.pop())

    def _dropped(self, key: Key) -> None:
        slab_class, item = self._items.pop(key)
        slab_class.remove(key, item)


def _chunk_sizes() -> Iterator[int]:
    size = Memcached.SMALLEST
    while size < Memcached.LARGEST / Memcached.GROWTH:
        size += -size % Memcached.ALIGNED
        yield size
        size = int(size * Memcached.GROWTH)
    yield Memcached.LARGEST
