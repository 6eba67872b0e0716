"""Fewer keys of a trace than there are in it, each with all its events; the hottest stay.

Before anybody knows how much there is to trace, and where nobody has rolled up for long, there may
be more than can be replayed in time: then it would never be, and grow.

The more there is of it, the fewer keys are taken, with all their events; the hottest stay.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import structs

from cache_monitor.stats import packed_ints
from cache_monitor.trace.events import CLEAR, HASH_BITS, HIT, MISS, USE, Event, Form, level_of
from cache_monitor.trace.plan import HOT_KEYS
from cache_monitor.trace.reading import Traced
from cache_monitor.trace.slices import Stored, packed_keys, unzigzag, zigzag

_READS = frozenset({HIT, MISS, USE})


def level_for(
    parts: Sequence[Stored],
    limits: tuple[float, float],
    hot: Mapping[int, frozenset[int]],
    level: int,
) -> int:
    """The lowest level, from ``level`` on, at which ``parts`` have no more keys and events than
    ``limits`` say. ``hot`` are the keys that stay at each, by the numbers of their plans."""
    most_keys, most_events = limits
    if (
        sum(packed_ints.length(part.lows) for part in parts) <= most_keys
        and sum(part.count for part in parts) <= most_events
    ):
        return level
    counts: Counter[int] = Counter()
    seen: dict[int, int] = {}
    for part in parts:
        stay, keys = hot.get(part.plan, frozenset()), part.traced()
        for place, count in Counter(packed_ints.unpack(part.keys)).items():
            key = keys[place].hash
            at = seen[key] = HASH_BITS if key in stay else level_of(key)
            counts[at] += count
    keys_at = Counter(seen.values())

    def is_too_much(level: int) -> bool:
        return any(
            sum(n for at, n in found.items() if at >= level) > most
            for found, most in ((keys_at, most_keys), (counts, most_events))
        )

    while level < HASH_BITS and is_too_much(level):
        level += 1
    return level


def thinned(part: Stored, level: int, hot: frozenset[int]) -> Stored:
    """``part`` with the keys alone that are in at ``level``, or ``hot``, and all their events."""
    if part.level >= level:
        return part
    keys = part.traced()
    places = [
        place for place, key in enumerate(keys) if level_of(key.hash) >= level or key.hash in hot
    ]
    moved = {old: new for new, old in enumerate(places)}
    of_events, forms = packed_ints.unpack(part.keys), packed_ints.unpack(part.event_forms)
    events = [at for at, key in enumerate(of_events) if key in moved]
    new = {old: at for at, old in enumerate(events)}
    ended = list(unzigzag(packed_ints.unpack(part.at), part.base))
    sizes, groups = packed_ints.unpack(part.sizes), packed_ints.unpack(part.key_groups)
    changes = [at for at, form in enumerate(forms) if part.forms[form][0] not in _READS]
    viewed = dict(zip(changes, packed_ints.unpack(part.viewed), strict=False))
    highs, lows = packed_keys([keys[place].hash for place in places])
    spans, times = packed_ints.unpack(part.spans), packed_ints.unpack(part.times)
    return structs.replace(
        part,
        level=level,
        highs=highs,
        lows=lows,
        key_groups=packed_ints.pack([groups[place] for place in places]),
        names={moved[place]: name for place, name in part.names.items() if place in moved},
        keys=packed_ints.pack([moved[of_events[at]] for at in events]),
        event_forms=packed_ints.pack([forms[at] for at in events]),
        at=packed_ints.pack(zigzag([ended[at] for at in events], part.base)),
        spans=packed_ints.pack([spans[at] for at in events]),
        times=packed_ints.pack([times[at] for at in events]),
        computed={new[at]: each for at, each in part.computed.items() if at in new},
        prints={new[at]: each for at, each in part.prints.items() if at in new},
        sweeps=[
            (began, end, bisect_left(events, order), pattern, version)
            for began, end, order, pattern, version in part.sweeps
        ],
        sizes=packed_ints.pack([sizes[place] for place in places]) if sizes else packed_ints.NONE,
        viewed=packed_ints.pack([viewed[at] for at in changes if at in new])
        if viewed
        else part.viewed,
    )


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
