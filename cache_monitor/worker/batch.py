"""Batches of calls, deduplicated, with the names of their keys.

Most calls are alike: the same few keys, found again and again. So one pass over a batch makes a
:class:`HitRun` of all plain hits of a key, and sets the other calls apart: whoever counts or traces
then works once for each key, not once for each call.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from cache_monitor.calls import (
    KEY,
    OUTCOME,
    PLAIN_HIT,
    PRODUCED,
    SECONDS,
    SIZE,
    SOURCE,
    STARTED,
    VERSION,
    RawCall,
    Recorded,
    Source,
)
from cache_monitor.conf import SETTING, forget_on_change
from cache_monitor.keys.grouping import learned
from cache_monitor.keys.known_keys import has_toolbar_key, is_toolbar_key
from cache_monitor.keys.masking import own_sessions
from cache_monitor.keys.naming import KeyName, may_be_cached, name_other_key, name_plain_key
from cache_monitor.stats.distinct import hash_of

Alike = tuple[Hashable, bool | tuple[bool, ...] | None, int | None, Hashable, str | None]
"""Key, outcome, size, version and error: calls of one operation that have these in common."""

alike = itemgetter(3, 4, 5, 7, 8)
"""What makes a call :data:`Alike` to others."""


class HitRun:
    """The plain hits of one key: how many, what they took together, the first and the last.

    ``sized`` of them knew how large the value was: ``bytes`` together, ``largest`` the largest.
    ``stored`` is the size that the others found, as far as that could be looked up afterwards.
    """

    __slots__ = ("bytes", "count", "first", "largest", "last", "seconds", "sized", "stored")

    def __init__(self, first: Recorded) -> None:
        self.count = 1
        self.first = self.last = first
        self.seconds = first[SECONDS]
        self.sized = self.bytes = self.largest = 0
        self.stored: int | None = None
        if first[SIZE] is not None:
            self.add_size(first[SIZE])

    def add_size(self, size: int) -> None:
        """Note the size of one more value."""
        self.sized += 1
        self.bytes += size
        self.largest = max(size, self.largest)

    def merge(self, later: "HitRun") -> None:
        """Add later hits of the same key."""
        self.count += later.count
        self.seconds += later.seconds
        self.sized += later.sized
        self.bytes += later.bytes
        self.largest = max(self.largest, later.largest)

    def sizes(self) -> tuple[int | None, int | None]:
        """The bytes of all values, and of the largest; None where no size is known."""
        if self.stored is None:
            return (self.bytes, self.largest) if self.sized else (None, None)
        unsized = self.count - self.sized
        return self.bytes + self.stored * unsized, max(self.largest, self.stored)


class Hits(NamedTuple):
    """The plain hits of one source: by their key, and what each call took."""

    runs: dict[str, HitRun]
    times: list[float]


class Batch(NamedTuple):
    """``calls``, without those that the debug toolbar makes for itself, in the order that they came
    in: the plain ``hits`` by their source, all others ``by_source`` and together. The last call
    ended at ``ended``, by their clock.

    A plain hit is of one key that is a text, in the cache's own version, and nothing else is to be
    said of it.
    """

    calls: Sequence[Recorded]
    hits: Mapping[Source, Hits]
    others: Sequence[RawCall]
    by_source: Mapping[Source, Sequence[RawCall]]
    ended: float

    def sources(self) -> Sequence[Source]:
        """Where the calls come from, each source once."""
        return list({**self.hits, **self.by_source})

    def aliases(self) -> set[str]:
        """Of which caches the calls are."""
        return {source.alias for source in self.sources()}


def deduplicate(calls: Sequence[Recorded]) -> Batch:
    """``calls`` as a batch. Nothing but this looks at each plain hit."""
    hits: defaultdict[Source, Hits] = defaultdict(_no_hits)
    by_source: defaultdict[Source, list[RawCall]] = defaultdict(list)
    others: list[RawCall] = []
    source: Source | None = None
    runs, times = _no_hits()
    for call in calls:
        # Asked here as well, for most are cut off: that spares them a call of a function.
        if len(call) != PLAIN_HIT and not is_plain_hit(call):
            others.append(call)
            by_source[call[SOURCE]].append(call)
            continue
        if call[SOURCE] is not source:
            source = call[SOURCE]
            runs, times = hits[source]
        times.append(call[SECONDS])
        key: str = call[KEY]  # type: ignore[assignment]  # a plain hit's is a text
        run = runs.get(key)
        if run is None:
            runs[key] = HitRun(call)
            continue
        run.count += 1
        run.seconds += call[SECONDS]
        run.last = call
        if call[SIZE] is not None:
            run.add_size(call[SIZE])
    # Looked for among what is different, which is little; rarely is one there.
    if any(has_toolbar_key(own.runs) for own in hits.values()) or has_toolbar_key(
        {call[KEY] for call in others}
    ):
        return deduplicate([call for call in calls if not is_toolbar_key(call[KEY])])
    ended = calls[-1][STARTED] + calls[-1][SECONDS] if calls else 0.0
    return Batch(calls, hits, others, by_source, ended)


def is_plain_hit(call: Recorded) -> bool:
    """Whether ``call`` is a hit of which nothing else is to be said, cut off or not."""
    return len(call) == PLAIN_HIT or (
        call[OUTCOME] is True
        and call[VERSION] is None
        and call[PRODUCED] is None
        and type(call[KEY]) is str
    )


def _no_hits() -> Hits:
    return Hits({}, [])


_MOST_REMEMBERED = 16_384

_Named = tuple[KeyName, int]
"""The name and the hash of a key."""


class _Remembered:
    """The keys that were named last, by alias and key. When half of the room is taken, what was
    not asked for since the last time makes room: keys that come again and again stay. Who asks
    looks among the ``young`` by himself, which spares a call for nearly every key."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.young: dict[tuple[str, str], _Named] = {}
        self._old = self.young

    def from_before(self, place: tuple[str, str]) -> _Named | None:
        """What is not among the ``young``, and is from now on."""
        known = self._old.get(place)
        if known is not None:
            self.note(place, known)
        return known

    def note(self, place: tuple[str, str], named: _Named) -> None:
        if 2 * len(self.young) >= _MOST_REMEMBERED:
            self._old, self.young = self.young, {}
        self.young[place] = named


_remembered = _Remembered()


def name_and_hash(key: str, alias: str) -> _Named:
    """The name and the hash of a key of the cache ``alias``, remembered where that is allowed."""
    if len(key) >= own_sessions.shortest:
        # It may hold a session key that was learned since it was named.
        return name_other_key(key, alias), hash_of(key)
    place = (alias, key)
    known = _remembered.young.get(place) or _remembered.from_before(place)
    if known is None:
        plain = name_plain_key(key)
        known = plain or name_other_key(key, alias), hash_of(key)
        if plain or may_be_cached(known[0]):
            _remembered.note(place, known)
    return known


forget_on_change((SETTING, "SESSION_ENGINE"), _remembered.forget)
learned.on_change(_remembered.forget)
