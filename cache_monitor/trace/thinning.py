"""Fewer keys of slices than there are in them, as if they had been traced at a higher level.

Before anybody knows how much there is to trace, and where nobody has rolled up for long, there may
be more than can be replayed in time: then it would never be, and grow.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import structs

from cache_monitor.stats import numbers
from cache_monitor.trace.events import HASH_BITS, HIT, MISS, USE, level_of
from cache_monitor.trace.slices import Stored, packed_keys, unzigzag, zigzag

_READS = frozenset({HIT, MISS, USE})


def level_for(
    parts: Sequence[Stored], most: float, hot: Mapping[int, frozenset[int]], level: int
) -> int:
    """The lowest level, from ``level`` on, at which ``parts`` have at most ``most`` events. ``hot``
    are the keys that stay at each, by the numbers of their plans."""
    if sum(part.count for part in parts) <= most:
        return level
    counts: Counter[int] = Counter()
    for part in parts:
        stay, keys = hot.get(part.plan, frozenset()), part.traced()
        for place, count in Counter(numbers.unpack(part.keys)).items():
            key = keys[place].hash
            counts[HASH_BITS if key in stay else level_of(key)] += count
    while level < HASH_BITS and sum(n for at, n in counts.items() if at >= level) > most:
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
    of_events, forms = numbers.unpack(part.keys), numbers.unpack(part.event_forms)
    events = [at for at, key in enumerate(of_events) if key in moved]
    new = {old: at for at, old in enumerate(events)}
    ended = list(unzigzag(numbers.unpack(part.at), part.base))
    sizes, groups = numbers.unpack(part.sizes), numbers.unpack(part.key_groups)
    changes = [at for at, form in enumerate(forms) if part.forms[form][0] not in _READS]
    viewed = dict(zip(changes, numbers.unpack(part.viewed), strict=False))
    highs, lows = packed_keys([keys[place].hash for place in places])
    spans, times = numbers.unpack(part.spans), numbers.unpack(part.times)
    return structs.replace(
        part,
        level=level,
        highs=highs,
        lows=lows,
        key_groups=numbers.pack([groups[place] for place in places]),
        names={moved[place]: name for place, name in part.names.items() if place in moved},
        keys=numbers.pack([moved[of_events[at]] for at in events]),
        event_forms=numbers.pack([forms[at] for at in events]),
        at=numbers.pack(zigzag([ended[at] for at in events], part.base)),
        spans=numbers.pack([spans[at] for at in events]),
        times=numbers.pack([times[at] for at in events]),
        computed={new[at]: each for at, each in part.computed.items() if at in new},
        prints={new[at]: each for at, each in part.prints.items() if at in new},
        sweeps=[
            (began, end, bisect_left(events, order), pattern, version)
            for began, end, order, pattern, version in part.sweeps
        ],
        sizes=numbers.pack([sizes[place] for place in places]) if sizes else numbers.NONE,
        viewed=numbers.pack([viewed[at] for at in changes if at in new]) if viewed else part.viewed,
    )
