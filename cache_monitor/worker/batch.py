"""Batches of calls, deduplicated, with the names of their keys.

Most calls are alike: the same few keys, found again and again. So a batch is parted once into plain
hits and all else, and the hits are condensed by what the standard library does in C: whoever counts
or traces looks at each key, not at each call.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from cache_monitor.calls import KEY, OUTCOME, SIZE, SOURCE, VERSION, RawCall, Source
from cache_monitor.conf import SETTING
from cache_monitor.keys.known_keys import is_one_toolbars_own, is_toolbars_own
from cache_monitor.keys.learned import learned
from cache_monitor.keys.masking import own_sessions
from cache_monitor.keys.naming import KeyName, may_be_remembered, other_name, plain_name
from cache_monitor.setting_changes import forget_on_change
from cache_monitor.stats.distinct import hash_of

Alike = tuple[Hashable, bool | tuple[bool, ...] | None, int | None, Hashable, str | None]
"""Key, outcome, size, version and error: calls of one operation that have these in common."""

Hit = str | tuple[str, int]
"""A plain hit: its key, with the size where the call could tell. Bare keys are quicker to count: a
string remembers its hash, a tuple does not."""

alike = itemgetter(3, 4, 5, 7, 8)
"""What makes a call :data:`Alike` to others."""


class Hits(NamedTuple):
    """Plain hits of one source: of one key each, with nothing else to say. There is at least one;
    ``places`` has the :data:`Hit` of each of ``calls``, ``counts`` how many there are of each."""

    calls: Sequence[RawCall]
    places: Sequence[Hit]
    counts: Counter[Hit]

    def ends(self) -> Mapping[Hit, tuple[RawCall, RawCall]]:
        """The first and the last call of each."""
        firsts = dict(zip(reversed(self.places), reversed(self.calls), strict=True))
        lasts = dict(zip(self.places, self.calls, strict=True))
        return {hit: (firsts[hit], last) for hit, last in lasts.items()}


class Batch(NamedTuple):
    """Calls without those that the debug toolbar makes for itself: by their source the plain hits,
    and the ``others``. All are in the order that they came in; the last ended at ``ended``, by
    their clock."""

    hits: Mapping[Source, Hits]
    others: Sequence[RawCall]
    ended: float

    def aliases(self) -> set[str]:
        """Of which caches the calls are."""
        return {source.alias for source in (*self.hits, *{call[SOURCE] for call in self.others})}


def condense(calls: Sequence[RawCall]) -> Batch:
    """``calls`` as a batch."""
    hits: defaultdict[Source, list[RawCall]] = defaultdict(list)
    others = []
    for call in calls:
        if call[OUTCOME] is True and call[VERSION] is None and type(call[KEY]) is str:
            hits[call[SOURCE]].append(call)
        else:
            others.append(call)
    condensed = {source: _hits(own) for source, own in hits.items()}
    # Looked for among what is different, which is little; rarely is one there.
    if any(is_one_toolbars_own(own.counts) for own in condensed.values()) or is_one_toolbars_own(
        [call[KEY] for call in others]
    ):
        return condense([call for call in calls if not is_toolbars_own(call[KEY])])
    return Batch(condensed, others, calls[-1][1] + calls[-1][2] if calls else 0.0)


def _hits(calls: Sequence[RawCall]) -> Hits:
    places: list[Hit] = [
        call[KEY] if call[SIZE] is None else (call[KEY], call[SIZE])  # type: ignore[misc]  # a text by then
        for call in calls
    ]
    return Hits(calls, places, Counter(places))


def key_of(hit: Hit) -> str:
    """The key of a plain hit."""
    return hit if isinstance(hit, str) else hit[0]


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
        return other_name(key, alias), hash_of(key)
    place = (alias, key)
    known = _remembered.young.get(place) or _remembered.from_before(place)
    if known is None:
        plain = plain_name(key)
        known = plain or other_name(key, alias), hash_of(key)
        if plain or may_be_remembered(known[0]):
            _remembered.note(place, known)
    return known


forget_on_change((SETTING, "SESSION_ENGINE"), _remembered.forget)
learned.on_change(_remembered.forget)
