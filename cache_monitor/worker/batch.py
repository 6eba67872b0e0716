"""Batches of calls, deduplicated, with the names of their keys.

Most calls are alike: the same few keys, found again and again. So one pass over a batch makes a
:class:`HitRun` of all plain hits of a key, and sets the other calls apart: whoever counts or traces
then works once for each key, not once for each call.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from msgspec import Struct

from cache_monitor.calls import (
    ERROR,
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
from cache_monitor.stats.sketches import hash_of

Alike = tuple[Hashable, bool | tuple[bool, ...] | None, int | None, Hashable, str | None]
"""Key, outcome, size, version and error: calls of one operation that have these in common."""

alike = itemgetter(3, 4, 5, 7, 8)
"""What makes a call :data:`Alike` to others."""


class HitRun(Struct, eq=False, gc=False):
    """The plain hits of one key: how many, what they took together, the first and the last.

    ``sized`` of them knew how large the value was: ``bytes`` together, ``largest`` the largest.
    ``stored`` is the size that the others found, as far as that could be looked up afterwards.

    Out of the garbage collector's sight, for there may be one for each call.
    """

    first: Recorded
    last: Recorded
    count: int
    seconds: float
    sized: int = 0
    bytes: int = 0
    largest: int = 0
    stored: int | None = None

    def add_size(self, size: int) -> None:
        """Note the size of one of the values."""
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

    def last_size(self) -> int | None:
        """The bytes of the value that the last one found, where it knew."""
        return self.last[SIZE] if len(self.last) != PLAIN_HIT else None

    def sizes(self) -> tuple[int | None, int | None]:
        """The bytes of all values, and of the largest; None where no size is known."""
        if self.stored is None:
            return (self.bytes, self.largest) if self.sized else (None, None)
        unsized = self.count - self.sized
        return self.bytes + self.stored * unsized, max(self.largest, self.stored)


class Hits(NamedTuple):
    """The plain hits of one source: by their key, and what each call took, in no order."""

    runs: dict[str, HitRun]
    times: list[float]


class Batch(NamedTuple):
    """``calls``, without those that the debug toolbar makes for itself, in the order that they came
    in: the plain ``hits`` and the plain ``misses`` of ``get`` by their source, what is neither
    ``by_source``, and in ``others`` all but the plain hits. The last call ended at ``ended``, by
    their clock.

    A plain call is of one key that is a text, in the cache's own version, and nothing else is to be
    said of it.
    """

    calls: Sequence[Recorded]
    hits: Mapping[Source, Hits]
    misses: Mapping[Source, Sequence[RawCall]]
    by_source: Mapping[Source, Sequence[RawCall]]
    others: Sequence[RawCall]
    ended: float

    def sources(self) -> Sequence[Source]:
        """Where the calls come from, each source once."""
        return list({**self.hits, **self.misses, **self.by_source})

    def aliases(self) -> set[str]:
        """Of which caches the calls are."""
        return {source.alias for source in self.sources()}


def deduplicate(calls: Sequence[Recorded]) -> Batch:
    """``calls`` as a batch."""
    others: list[RawCall] = []
    hits = _gather(calls, others)
    misses: defaultdict[Source, list[RawCall]] = defaultdict(list)
    by_source: defaultdict[Source, list[RawCall]] = defaultdict(list)
    for call in others:
        is_plain = call[OUTCOME] is False and call[VERSION] is None and call[ERROR] is None
        source = call[SOURCE]
        if is_plain and source.operation == "get" and type(call[KEY]) is str:
            misses[source].append(call)
        else:
            by_source[source].append(call)
    # Looked for among what is different, which is little; rarely is one there.
    if any(has_toolbar_key(own.runs) for own in hits.values()) or has_toolbar_key(
        {call[KEY] for call in others}
    ):
        return deduplicate([call for call in calls if not is_toolbar_key(call[KEY])])
    ended = calls[-1][STARTED] + calls[-1][SECONDS] if calls else 0.0
    return Batch(calls, hits, misses, by_source, others, ended)


def _gather(calls: Sequence[Recorded], others: list[RawCall]) -> dict[Source, Hits]:
    """The plain hits among ``calls``, by their source; what is none is put into ``others``. Nothing
    but this looks at each plain hit."""
    by_key: defaultdict[Source, _ByKey] = defaultdict(lambda: ({}, {}))
    sized: list[RawCall] = []
    before: Source | None = None
    first: dict[str, Recorded] = {}
    again: dict[str, list[Any]] = {}
    for call in calls:
        key: str
        if len(call) == PLAIN_HIT:
            source, _, seconds, key = call  # type: ignore[assignment]  # the key is a text
        elif call[OUTCOME] is True and is_plain_hit(call):
            source, seconds, key = call[SOURCE], call[SECONDS], call[KEY]  # type: ignore[assignment]  # likewise
            if call[SIZE] is not None:
                sized.append(call)
        else:
            others.append(call)
            continue
        if source is not before:
            before = source
            first, again = by_key[source]
        known = again.get(key)
        if known is not None:
            known[0] = call
            known.append(seconds)
        elif key in first:
            again[key] = [call, first[key][SECONDS], seconds]
        else:
            first[key] = call
    hits = {source: _hits(*found) for source, found in by_key.items()}
    _add_sizes(hits, sized)
    return hits


def _add_sizes(hits: Mapping[Source, Hits], calls: Sequence[RawCall]) -> None:
    """Add the sizes that ``calls`` knew, of the plain hits among which they are."""
    for call in calls:
        key, size = call[KEY], call[SIZE]
        if size is not None and isinstance(key, str):
            hits[call[SOURCE]].runs[key].add_size(size)


def is_plain_hit(call: Recorded) -> bool:
    """Whether ``call`` is a hit of which nothing else is to be said, cut off or not."""
    return len(call) == PLAIN_HIT or (
        call[OUTCOME] is True
        and call[VERSION] is None
        and call[PRODUCED] is None
        and type(call[KEY]) is str
    )


_ByKey = tuple[dict[str, Recorded], dict[str, list[Any]]]
"""Plain hits of one source while they are gathered: the first of each key, and of keys that came
again the last one and what each took. A list, for nothing is read and written in less time; and
none for a key that came once, as a million may."""


def _hits(first: Mapping[str, Recorded], again: Mapping[str, list[Any]]) -> Hits:
    runs: dict[str, HitRun] = {}
    times: list[float] = []
    for key, call in first.items():
        own = again.get(key)
        if own is None:
            times.append(call[SECONDS])
            runs[key] = HitRun(call, call, 1, call[SECONDS])
        else:
            last, *seconds = own
            times += seconds
            runs[key] = HitRun(call, last, len(seconds), sum(seconds))
    return Hits(runs, times)


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


def forget_names() -> None:
    """Name all keys anew when they come again."""
    _remembered.forget()


forget_on_change((SETTING, "SESSION_ENGINE"), forget_names)
learned.on_change(forget_names)
