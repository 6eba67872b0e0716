"""The trace of a cache, as it is read.

For our own simulations there may be more events than can be simulated in time. Then fewer keys are
read, each with all its events; the hottest keys stay (:class:`BoundedTrace`).

For other simulators (:func:`requests`): one request after the other, without weights, which these
do not know. If a sample of the keys is traced, the hottest, which are traced besides, count like
any other key.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from operator import attrgetter
from typing import Literal, NamedTuple

from msgspec import structs

from cache_monitor.trace import (
    DELETE,
    HASH_BITS,
    HIT,
    HOT_KEYS,
    MISS,
    MOVE,
    PATTERN_DELETE,
    SECOND,
    TOUCH,
    WRITE,
    Event,
    Version,
    hit_times,
    level_of,
)
from cache_monitor.trace.codec import StoredSlice


class CacheTrace(NamedTuple):
    """The trace of one cache, or of one process's if each has its own.

    ``groups``: the groups of the keys, by their hashes. ``share`` of the keys is traced, besides
    the hottest, which always are. If several aliases share their entries, only lookups through
    ``alias`` count; empty for all.
    """

    events: list[Event]
    groups: dict[int, str]
    share: float
    alias: str = ""

    def lookups(self, since: float = -inf) -> Iterator[Event]:
        """The lookups that count, from ``since`` (Unix time) on."""
        return (
            each
            for each in self.events
            if each.call.kind in {HIT, MISS}
            and each.began / 1e6 >= since
            and self.alias in {"", each.call.alias}
        )

    def of(self, alias: str) -> "CacheTrace":
        """The part of it that concerns the entries of ``alias``."""
        own = {each.key for each in self.events if each.call.alias == alias}
        return CacheTrace(
            # Clears have no key.
            [each for each in self.events if not each.key or each.key in own],
            {key: group for key, group in self.groups.items() if key in own},
            self.share,
            alias,
        )


class BoundedTrace:
    """At most ``most`` events of a cache, by the names of its stores: one, or one for each process.
    ``hot``: the keys that are traced at every level.

    If the levels of its slices differ, only the keys of the highest are taken: each has all of its
    events.
    """

    def __init__(self, most: float, hot: frozenset[int]) -> None:
        self.level = 0
        self.has_room = True
        self._most = most
        self._hot = self._planned = hot
        self._recorded = 0
        """The highest level of a slice."""
        self._events: dict[str, list[Event]] = {}
        self._groups: dict[str, dict[int, str]] = {}

    def add(self, name: str, slices: Iterable[StoredSlice]) -> None:
        """Add the slices of a store, as far as there is room."""
        events = self._events.setdefault(name, [])
        groups = self._groups.setdefault(name, {})
        for stored in slices:
            if stored.level > self._recorded:
                self._recorded = stored.level
                complete = {key for key in self._hot if level_of(key) >= stored.level}
                self._hot = self._planned | complete
                self._raise_level(max(self.level, stored.level))
            keys = stored.decode_keys()
            indexes = {index for index, key in enumerate(keys) if self._takes(key.hash)}
            groups.update((keys[index].hash, keys[index].group) for index in indexes)
            events.extend(stored.decode_events(keys, self._hot, indexes))
            events.extend(stored.clears())
            self._make_room()

    def pop_traces(self, since: float, until: float) -> list[CacheTrace]:
        """The traces of the stores between ``since`` and ``until`` (Unix time), and forget them:
        they may be large."""
        return [self._pop_trace(name, since, until) for name in list(self._events)]

    def _pop_trace(self, name: str, since: float, until: float) -> CacheTrace:
        events = self._events.pop(name)
        events[:] = (
            structs.replace(each, weight=self._weight(each.key))
            for each in events
            if since <= each.began / 1e6 < until
        )
        events.sort(key=attrgetter("began", "order"))
        return CacheTrace(events, self._groups.pop(name), 1 / (1 << self.level))

    def _make_room(self) -> None:
        while sum(map(len, self._events.values())) > self._most:
            if not self._hot:
                counts = Counter(each.key for events in self._events.values() for each in events)
                self._hot = frozenset(key for key, _ in counts.most_common(HOT_KEYS) if key)
            hot = sum(each.key in self._hot for own in self._events.values() for each in own)
            if 2 * hot > self._most or self.level == HASH_BITS:
                # Fewer of the other keys would represent too little.
                self.has_room = False
                return
            self._raise_level(self.level + 1)

    def _takes(self, key: int) -> bool:
        return level_of(key) >= self.level or key in self._hot

    def _weight(self, key: int) -> int:
        return 1 if key in self._hot or not key else 1 << self.level

    def _raise_level(self, level: int) -> None:
        self.level = level
        for name, events in self._events.items():
            events[:] = [each for each in events if self._takes(each.key)]
            groups = self._groups[name]
            for key in [key for key in groups if not self._takes(key)]:
                del groups[key]


def hit_ratio(traces: Iterable[CacheTrace], since: float) -> float | None:
    """The recorded hit ratio from ``since`` (Unix time) on; None without lookups."""
    hits = lookups = 0
    for trace in traces:
        for each in trace.lookups(since):
            lookups += each.times * each.weight
            if each.call.kind == HIT:
                hits += each.times * each.weight
    return hits / lookups if lookups else None


CallKind = Literal["get", "set", "touch", "delete", "clear"]


Entry = tuple[int, Version]
"""The hash of a key, and its version."""


KINDS: dict[int, CallKind] = {
    HIT: "get",
    MISS: "get",
    WRITE: "set",
    TOUCH: "touch",
    DELETE: "delete",
    # Of one key, if the backend does not say whether it was there.
    PATTERN_DELETE: "delete",
    MOVE: "delete",
}


def entry_of(event: Event) -> Entry:
    """The entry that an event is of."""
    return event.key, event.call.version


_HELD_BACK = 60 * SECOND
"""How long a request waits for others that began before it: events are kept where they ended."""


class Request(NamedTuple):
    """A request for another simulator. ``at`` and ``timeout`` are in microseconds; ``size``: the
    bytes of the value about then, 0 if unknown."""

    at: int
    operation: CallKind
    entry: Entry
    timeout: int
    process: int
    size: int = 0


class TracePeriod(NamedTuple):
    """A period in microseconds, and the level at which keys are taken."""

    since: int
    until: int
    level: int = 0


def lookups_of(stored: StoredSlice, period: TracePeriod) -> int:
    """The number of lookups of a slice within the period."""
    return sum(each.operation == "get" for each in _requests_of(stored, period))


def requests(minutes: Iterable[Sequence[StoredSlice]], period: TracePeriod) -> Iterator[Request]:
    """The requests within the period. ``minutes``: the slices of each minute, ascending."""
    waiting: list[Request] = []
    for slices in minutes:
        waiting += [each for stored in slices for each in _requests_of(stored, period)]
        waiting.sort(key=_at)
        ready = max(stored.start for stored in slices) * SECOND - _HELD_BACK
        end = bisect_left(waiting, ready, key=_at)
        yield from waiting[:end]
        del waiting[:end]
    yield from waiting


_at = attrgetter("at")


def _requests_of(stored: StoredSlice, period: TracePeriod) -> Iterator[Request]:
    for event in stored.decode_events(stored.decode_keys()):
        kind = KINDS.get(event.call.kind)
        if kind is not None and level_of(event.key) >= period.level:
            for at in hit_times(event):
                if period.since <= at < period.until:
                    timeout = event.call.timeout
                    yield Request(at, kind, entry_of(event), timeout, event.process, event.size)
    for each in stored.bulk_deletes():
        if each.pattern is None and period.since <= each.began < period.until:
            yield Request(each.began, "clear", (0, ""), 0, each.process)


class ValueSizes:
    """The known bytes of the requested values, each at most ``limit``."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: dict[Entry, int] = {}

    def of(self, request: Request) -> int:
        """The bytes of the requested value; 0 where unknown."""
        if request.size:
            self._known[request.entry] = min(request.size, self._limit)
        return self._known.get(request.entry, 0)

    @property
    def usual(self) -> int:
        """The average."""
        sizes = self._known.values()
        return max(1, round(sum(sizes) / len(sizes))) if sizes else 1
