"""The events that the trace of a store has of a period, or of one key.

There may be more events than can be simulated or replayed in time. Then fewer keys are read, each
with all its events; the hottest keys stay.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import NamedTuple

from cache_monitor.stats.lifetimes import LifeStats
from cache_monitor.trace.codec import Stored
from cache_monitor.trace.events import (
    CLEAR,
    HASH_BITS,
    HIT,
    MISS,
    SECOND,
    SWEEP,
    Event,
    Form,
    Reason,
    Sweep,
    level_of,
    takes,
)
from cache_monitor.trace.plan import HOT_KEYS
from cache_monitor.trace.replay import EventBatch, Replay
from cache_monitor.trace.state import EVERYTHING, State


class Traced(NamedTuple):
    """What is known of one cache, or of one process's where each has its own.

    ``groups`` are those of the keys, by their hashes. ``share`` of the keys is in, the hottest
    apart, which always are. Where several aliases have their entries in one place, ``alias`` is the
    one whose lookups are meant; empty for all.
    """

    events: list[Event]
    groups: dict[int, str]
    share: float
    alias: str = ""

    def lookups(self, since: float = -inf) -> Iterator[Event]:
        """The lookups that are meant, from ``since`` (Unix time) on."""
        return (
            each
            for each in self.events
            if each.form.kind in {HIT, MISS}
            and each.began / 1e6 >= since
            and self.alias in {"", each.form.alias}
        )

    def of(self, alias: str) -> "Traced":
        """What concerns the entries of ``alias``."""
        own = {each.key for each in self.events if each.form.alias == alias}
        return Traced(
            # What concerns all entries has no key.
            [each for each in self.events if not each.key or each.key in own],
            {key: group for key, group in self.groups.items() if key in own},
            self.share,
            alias,
        )


def traced(slices: Iterable[Stored], hot: frozenset[int], since: float, until: float) -> Traced:
    """The events between ``since`` and ``until`` (Unix time) in ``slices``, in which a key is with
    all of its events or not at all: where their levels differ, at the highest."""
    parts = list(slices)
    level = max((part.level for part in parts), default=0)
    events: list[Event] = []
    groups: dict[int, str] = {}
    for part in parts:
        keys = part.traced()
        kept = {
            key.hash: key.group for key in keys if level_of(key.hash) >= level or key.hash in hot
        }
        groups.update(kept)
        for event in part.events(keys, hot):
            if event.key in kept:
                weight = 1 if event.key in hot else 1 << level
                events.append(event._replace(weight=weight))
        for sweep in part.swept():
            if sweep.pattern is None:
                form = Form(CLEAR, "", sweep.version)
                events.append(Event(0, form, sweep.began, sweep.ended, 0, 0, sweep.order))
    return Traced(
        sorted(
            (each for each in events if since <= each.began / 1e6 < until),
            key=lambda each: (each.began, each.order),
        ),
        groups,
        1 / (1 << level),
    )


class Moment(NamedTuple):
    """Something that was done to a key, or found: ``kind`` is that of an event. ``at`` is when it
    ended, ``lasts`` the time to the expiry of what was written, both in microseconds. ``times`` is
    more than one where it was found again and again. ``process`` is the name of who did it;
    ``view`` is the view that wrote or deleted it, where that is known."""

    at: int
    kind: int
    process: str
    host: int
    version: str
    lasts: int
    times: int = 1
    computed: int = 0
    reason: Reason | None = None
    view: str = ""


class OneKey(NamedTuple):
    """What is told of one key; the moments ascending."""

    moments: list[Moment]
    lives: LifeStats


def one_key(slices: Sequence[Stored], key: int, name: str, tolerance: int) -> OneKey:
    """What ``slices`` tell of the key with this hash and name. What was before is not known."""
    state = State()
    state.note_uncovered(EVERYTHING, min((part.start for part in slices), default=0) * SECOND)
    replay = Replay(state, tolerance, only=key)
    until = max((part.end for part in slices), default=0)
    for part in slices:
        # That it is not final yet says nothing of its process.
        part.final = True
    batch = EventBatch(slices, state, only=key)
    # A later time brings out what else waits for an answer.
    told = replay.run(slices, (), until)
    reasons = {(each.at, each.alias): each.reason for each in told.verdicts}
    who = {part.who: part.process for part in slices}
    found = [_moment(each, who, reasons) for each in batch.events.get(key, ())]
    found += [_swept(each, who) for each in batch.sweeps if _concerns(each, name)]
    lives = LifeStats()
    for figures in told.groups.values():
        if figures.lives is not None:
            lives.merge(figures.lives)
    return OneKey(sorted(found), lives)


def _moment(event: Event, who: dict[int, str], reasons: dict[tuple[int, str], Reason]) -> Moment:
    form = event.form
    reason = None
    if form.kind == MISS:
        reason = reasons.get((event.ended, form.alias), "unknown")
    return Moment(
        event.ended,
        form.kind,
        who.get(event.process, ""),
        event.host,
        str(form.version),
        form.lasts,
        event.times,
        event.computed,
        reason,
        event.view,
    )


def _concerns(sweep: Sweep, name: str) -> bool:
    return sweep.pattern is None or takes(sweep.pattern, name) is True


def _swept(sweep: Sweep, who: dict[int, str]) -> Moment:
    kind = CLEAR if sweep.pattern is None else SWEEP
    return Moment(sweep.ended, kind, who.get(sweep.process, ""), sweep.host, "", 0)


class BoundedTrace:
    """At most ``most`` events of a cache, by the names of the stores that it has: one, or one in
    each process. ``hot`` are the keys that are in the trace at every level."""

    def __init__(self, most: int, hot: frozenset[int]) -> None:
        self.level = 0
        self.has_room = True
        self.read = 0
        """How many events were looked at."""
        self._most = most
        self._hot = hot
        self._events: dict[str, list[Event]] = {}
        self._groups: dict[str, dict[int, str]] = {}

    def add(self, name: str, parts: Iterable[Stored]) -> None:
        """Take what there is room for of slices of the store ``name``."""
        events = self._events.setdefault(name, [])
        groups = self._groups.setdefault(name, {})
        for part in parts:
            self.read += part.count
            if part.level > self.level:
                self._raise_level(part.level)
            keys = part.traced()
            places = {place for place, key in enumerate(keys) if self._takes(key.hash)}
            groups.update((keys[place].hash, keys[place].group) for place in places)
            events.extend(part.events(keys, self._hot, places))
            events.extend(
                Event(0, Form(CLEAR, "", each.version), each.began, each.ended, 0, 0, each.order)
                for each in part.swept()
                if each.pattern is None
            )
            self._make_room()

    def taken(self, since: float, until: float) -> list[Traced]:
        """What there is between ``since`` and ``until`` (Unix time), store by store. It is not
        here any more then, since there may be much of it."""
        return [self._taken(name, since, until) for name in list(self._events)]

    def _taken(self, name: str, since: float, until: float) -> Traced:
        events = self._events.pop(name)
        events[:] = (
            each._replace(weight=self._weight(each.key))
            for each in events
            if since <= each.began / 1e6 < until
        )
        events.sort(key=lambda each: (each.began, each.order))
        return Traced(events, self._groups.pop(name), 1 / (1 << self.level))

    def _make_room(self) -> None:
        while self._count() > self._most:
            hot = sum(each.key in self._hot for those in self._events.values() for each in those)
            if 2 * hot > self._most or self.level == HASH_BITS:
                # Fewer of the other keys would say too little of these.
                self.has_room = False
                return
            self._raise_level(self.level + 1)

    def _takes(self, key: int) -> bool:
        return level_of(key) >= self.level or key in self._hot

    def _weight(self, key: int) -> int:
        return 1 if key in self._hot or not key else 1 << self.level

    def _count(self) -> int:
        return sum(map(len, self._events.values()))

    def _raise_level(self, level: int) -> None:
        if not self._hot:
            counts = Counter(each.key for events in self._events.values() for each in events)
            self._hot = frozenset(key for key, _ in counts.most_common(HOT_KEYS) if key)
        self.level = level
        for name, events in self._events.items():
            self._events[name][:] = [each for each in events if self._takes(each.key)]
            groups = self._groups[name]
            for key in [key for key in groups if not self._takes(key)]:
                del groups[key]


def hit_ratio(parts: Iterable[Traced], since: float) -> float | None:
    """What share of the lookups from ``since`` (Unix time) on hit in truth; None without any."""
    hits = lookups = 0
    for part in parts:
        for each in part.lookups(since):
            lookups += each.times * each.weight
            if each.form.kind == HIT:
                hits += each.times * each.weight
    return hits / lookups if lookups else None
