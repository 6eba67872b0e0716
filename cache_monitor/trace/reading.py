"""The events that the trace of a store has of a period, or of one key.

There may be more events than can be simulated or replayed in time. Then fewer keys are read, each
with all its events; the hottest keys stay.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import NamedTuple

from cache_monitor.stats.groups import LifeStats
from cache_monitor.trace.codec import StoredSlice
from cache_monitor.trace.events import (
    CLEAR,
    HASH_BITS,
    HIT,
    MISS,
    PATTERN_DELETE,
    SECOND,
    Event,
    Reason,
    level_of,
    takes,
)
from cache_monitor.trace.plan import HOT_KEYS
from cache_monitor.trace.replay import EventBatch, Replay
from cache_monitor.trace.state import ALL_KEYS, State


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


def read_trace(
    slices: Sequence[StoredSlice], hot: frozenset[int], since: float, until: float
) -> CacheTrace:
    """The events of ``slices`` between ``since`` and ``until`` (Unix time). If their levels differ,
    only the keys of the highest are read: each has all of its events."""
    level = max((each.level for each in slices), default=0)
    events: list[Event] = []
    groups: dict[int, str] = {}
    for stored in slices:
        keys = stored.decode_keys()
        kept = {
            key.hash: key.group for key in keys if level_of(key.hash) >= level or key.hash in hot
        }
        groups.update(kept)
        for event in stored.decode_events(keys, hot):
            if event.key in kept:
                weight = 1 if event.key in hot else 1 << level
                events.append(event._replace(weight=weight))
        events += stored.clears()
    events = [each for each in events if since <= each.began / 1e6 < until]
    return CacheTrace(sorted(events, key=_began_and_order), groups, 1 / (1 << level))


def _began_and_order(event: Event) -> tuple[int, int]:
    return event.began, event.order


class BoundedTrace:
    """At most ``most`` events of a cache, by the names of its stores: one, or one for each process.
    ``hot``: the keys that are traced at every level."""

    def __init__(self, most: int, hot: frozenset[int]) -> None:
        self.level = 0
        self.has_room = True
        self._most = most
        self._hot = hot
        self._events: dict[str, list[Event]] = {}
        self._groups: dict[str, dict[int, str]] = {}

    def add(self, name: str, slices: Iterable[StoredSlice]) -> None:
        """Add the slices of a store, as far as there is room."""
        events = self._events.setdefault(name, [])
        groups = self._groups.setdefault(name, {})
        for stored in slices:
            if stored.level > self.level:
                self._raise_level(stored.level)
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
            each._replace(weight=self._weight(each.key))
            for each in events
            if since <= each.began / 1e6 < until
        )
        events.sort(key=_began_and_order)
        return CacheTrace(events, self._groups.pop(name), 1 / (1 << self.level))

    def _make_room(self) -> None:
        while sum(map(len, self._events.values())) > self._most:
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
        if not self._hot:
            counts = Counter(each.key for events in self._events.values() for each in events)
            self._hot = frozenset(key for key, _ in counts.most_common(HOT_KEYS) if key)
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


class KeyEvent(NamedTuple):
    """An event of one key, as it is shown: ``kind`` is that of its call, ``at`` when it ended, with
    ``timeout`` in microseconds. ``process`` is its name. ``view`` wrote or deleted the key, as far
    as known."""

    at: int
    kind: int
    process: str
    host: int
    version: str
    timeout: int
    times: int = 1
    compute_time: int = 0
    reason: Reason | None = None
    view: str = ""


class ReplayedKey(NamedTuple):
    """What the trace has of one key; the events ascending."""

    events: list[KeyEvent]
    lives: LifeStats


def replay_key(slices: Sequence[StoredSlice], key: int, name: str, tolerance: int) -> ReplayedKey:
    """Replay the key with this hash and name. What was before ``slices`` is unknown."""
    state = State()
    state.note_uncovered(ALL_KEYS, min((each.start for each in slices), default=0) * SECOND)
    replay = Replay(state, tolerance, only=key)
    until = max((each.end for each in slices), default=0)
    for each in slices:
        # It is the latest known, final or not.
        each.final = True
    batch = EventBatch(slices, state, only=key)
    result = replay.run(slices, (), until)
    reasons = {(each.at, each.alias): each.reason for each in result.misses}
    processes = {each.process_number: each.process for each in slices}
    events = [_key_event(each, processes, reasons) for each in batch.events.get(key, ())]
    events += [
        KeyEvent(
            each.ended,
            CLEAR if each.pattern is None else PATTERN_DELETE,
            processes.get(each.process, ""),
            each.host,
            "",
            0,
        )
        for each in batch.deletes
        if each.pattern is None or takes(each.pattern, name) is True
    ]
    lives = LifeStats()
    for stats in result.groups.values():
        if stats.lives is not None:
            lives.merge(stats.lives)
    return ReplayedKey(sorted(events), lives)


def _key_event(
    event: Event, processes: dict[int, str], reasons: dict[tuple[int, str], Reason]
) -> KeyEvent:
    call = event.call
    is_miss = call.kind == MISS
    return KeyEvent(
        event.ended,
        call.kind,
        processes.get(event.process, ""),
        event.host,
        str(call.version),
        call.timeout,
        event.times,
        event.compute_time,
        reasons.get((event.ended, call.alias), "unknown") if is_miss else None,
        event.view,
    )
