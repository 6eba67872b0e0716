"""What a site asked of a cache in a period, taken from the trace, whatever the cache answered.

There may be more events than can be simulated in time. Then fewer keys are read, each with all its
events; the hottest keys stay.

For our own simulations (:func:`simulated_calls`): a lookup that missed and the write that filled it
are one thing, since another cache might have hit and the write would not have been made. A lookup
that hit might miss, and would be filled if other misses of its entry were, or of its group. What
the site writes without having missed it, as a job does, it writes anyway; so it deletes and clears.

For other simulators (:func:`requests`): one request after the other, without weights, which these
do not know. If a sample of the keys is traced, the hottest, which are traced besides, count like
any other key.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from operator import attrgetter
from typing import Literal, NamedTuple, cast

from msgspec import structs

from cache_monitor.trace import (
    CLEAR,
    DELETE,
    HASH_BITS,
    HIT,
    HOT_KEYS,
    MISS,
    MOVE,
    NEVER,
    PATTERN_DELETE,
    SECOND,
    TOUCH,
    UNKNOWN_TIME,
    WRITE,
    Event,
    Version,
    hit_times,
    level_of,
)
from cache_monitor.trace.codec import StoredSlice
from cache_monitor.what_if.simulated_caches import Access


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

FILLED_WITHIN = 60 * SECOND
"""A later write of a key that was missed does not count as filling the miss."""
_RUN = SECOND // 20
"""The least length of a run of hits in which other calls may have come between."""
_MOSTLY = 0.5
_KINDS: dict[int, CallKind] = {
    HIT: "get",
    MISS: "get",
    WRITE: "set",
    TOUCH: "touch",
    DELETE: "delete",
    # Of one key, if the backend does not say whether it was there.
    PATTERN_DELETE: "delete",
    MOVE: "delete",
}


class SimulatedCall(NamedTuple):
    """A call as a simulation makes it. ``fills``: the site writes the key if the lookup misses.

    ``times``: lookups within a moment. ``counted``: whether it counts; not if the entry that a
    lookup found was never seen before, since another cache may not have had it, nor if it was made
    through another alias. ``bytes`` are the value's, 0 if unknown. ``hit``: whether the site's
    lookup hit.
    """

    kind: CallKind
    access: Access
    fills: bool = False
    group: str = ""
    times: int = 1
    counted: bool = True
    bytes: int = 0
    hit: bool = False


def simulated_calls(
    events: Iterable[Event], group_of: dict[int, str], alias: str = ""
) -> list[SimulatedCall]:
    """The calls of the site in the order of time. ``group_of``: the groups by the hashes of keys.
    If ``alias`` is given, only lookups through it count."""
    builder = _WorkloadBuilder(group_of, alias)
    for event in sorted(events, key=lambda each: each.began):
        builder.add(event)
    return list(builder.calls())


class _PastMiss(NamedTuple):
    """A lookup that missed: the number of its call, and when it began and ended."""

    number: int
    began: int
    ended: int


class _Misses:
    """How often an entry, or those of a group, was missed until it was written, and how often it
    was the lookup that led to the write."""

    __slots__ = ("filled", "times")

    def __init__(self, times: int = 0, filled: int = 0) -> None:
        self.times = times
        self.filled = filled

    @property
    def are_filled(self) -> bool | None:
        """Whether most are filled; None if there were none."""
        return self.filled / self.times >= _MOSTLY if self.times else None


class _WorkloadBuilder:
    """Makes calls of events."""

    def __init__(self, group_of: dict[int, str], alias: str) -> None:
        self._group_of = group_of
        self._alias = alias
        self._calls: list[SimulatedCall] = []
        self._missed: dict[Entry, _PastMiss] = {}
        self._timeouts: dict[Entry, float] = {}
        self._usual_timeouts: dict[str, float] = {}
        """The first of each group."""
        self._moved: tuple[int, int] | None = None
        """The key that was just moved to another version: its next event is a ``TOUCH`` of that."""
        self._misses: defaultdict[Entry, _Misses] = defaultdict(_Misses)
        self._filling: set[int] = set()
        """The numbers of the misses that led to a write."""
        self._seen: set[Entry] = set()

    def add(self, event: Event) -> None:
        """Add the next event."""
        kind = event.call.kind
        if kind == HIT:
            self._add_hits(event)
        elif kind == MISS:
            entry = _entry(event)
            self._misses[entry].times += entry not in self._missed
            self._missed[entry] = _PastMiss(len(self._calls), event.began, event.ended)
            self._append("get", event, event.began)
        elif kind == WRITE:
            self._add_write(event)
        elif kind == CLEAR:
            self._append("clear", event, event.began)
        elif kind == TOUCH:
            is_moved = self._moved == (event.key, event.began)
            self._append("set" if is_moved else "touch", event, event.began, _timeout(event))
        elif kind in _KINDS:
            if kind == MOVE:
                self._moved = event.key, event.began
            self._append("delete", event, event.began)

    def _add_hits(self, event: Event) -> None:
        """Of a run of hits the times of the first and of the last are known."""
        is_run = event.times > 1 and event.ended - event.began >= _RUN
        first = structs.replace(event, times=event.times - 1) if is_run else event
        self._append("get", first, event.began, was_hit=True)
        if is_run:
            self._append("get", structs.replace(event, times=1), event.ended, was_hit=True)

    def _add_write(self, event: Event) -> None:
        entry, timeout = _entry(event), _timeout(event)
        miss = self._missed.pop(entry, None)
        self._timeouts[entry] = timeout
        group = self._group_of.get(event.key, "")
        self._usual_timeouts.setdefault(group, timeout)
        if miss is not None and _is_filling(event, miss):
            call = self._calls[miss.number]
            access = call.access._replace(timeout=timeout)
            size = event.size or call.bytes
            self._calls[miss.number] = call._replace(access=access, fills=True, bytes=size)
            self._misses[entry].filled += 1
            self._filling.add(miss.number)
        else:
            self._append("set", event, event.began, timeout)

    def _append(
        self,
        kind: CallKind,
        event: Event,
        at: int,
        timeout: float | None = None,
        *,
        was_hit: bool = False,
    ) -> None:
        entry, group = _entry(event), self._group_of.get(event.key, "")
        known = self._timeouts.get(entry, -1.0) if timeout is None else timeout
        access = Access(entry, at / SECOND, known, 1.0, float(event.weight))
        is_own = not self._alias or event.call.alias == self._alias
        counted = is_own and (not was_hit or entry in self._seen)
        self._seen.add(entry)
        # Whether a hit would be filled if it missed is decided at the end.
        times = event.times if was_hit else 1
        self._calls.append(
            SimulatedCall(kind, access, was_hit, group, times, counted, event.size, was_hit)
        )

    def calls(self) -> Iterator[SimulatedCall]:
        """The calls, when all events were added."""
        are_filled = self._are_filled()
        for number, each in enumerate(self._calls):
            access = each.access
            if access.timeout < 0:
                usual = self._usual_timeouts.get(each.group, inf)
                access = access._replace(timeout=usual)
            fills = each.fills and (number in self._filling or are_filled(each))
            self._calls[number] = each._replace(access=access, fills=fills)
        # Other calls may have come between the hits of a run.
        return iter(sorted(self._calls, key=lambda call: call.access.at))

    def _are_filled(self) -> Callable[[SimulatedCall], bool]:
        """Tells whether a lookup that hit would be filled if it missed: as other misses of its
        entry are, or of its group. Those of entries that are never there tell nothing."""
        groups: defaultdict[str, _Misses] = defaultdict(_Misses)
        for entry, misses in self._misses.items():
            if entry in self._timeouts:
                group = groups[self._group_of.get(entry[0], "")]
                group.times += misses.times
                group.filled += misses.filled
        unknown = _Misses()

        def are_filled(call: SimulatedCall) -> bool:
            own = self._misses.get(cast("Entry", call.access.key), unknown).are_filled
            found = groups.get(call.group, unknown).are_filled if own is None else own
            return found is not False

        return are_filled


def _entry(event: Event) -> Entry:
    return event.key, event.call.version


def _is_filling(write: Event, miss: _PastMiss) -> bool:
    """Whether whoever missed the entry wrote it: the time that its value took to compute is known,
    or one call did both. A job writes at its own times, whatever lookups missed."""
    is_soon = write.began - miss.began <= FILLED_WITHIN
    return is_soon and (write.compute_time > 0 or write.began <= miss.ended)


def _timeout(event: Event) -> float:
    """The timeout of a write, in seconds."""
    timeout = event.call.timeout
    return inf if timeout in {NEVER, UNKNOWN_TIME} else timeout / SECOND


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
        kind = _KINDS.get(event.call.kind)
        if kind is not None and level_of(event.key) >= period.level:
            for at in hit_times(event):
                if period.since <= at < period.until:
                    timeout = event.call.timeout
                    yield Request(at, kind, _entry(event), timeout, event.process, event.size)
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
