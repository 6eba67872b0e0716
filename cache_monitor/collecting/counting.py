"""From the calls of one operation to the statistics of the stretch of time that they fall into.

Most calls are alike: the same few keys, found again and again. So a batch is first condensed by
what the standard library does in C, and only what is left, one item for each different key and
outcome, is counted in Python. What is found most often, plain hits, even waits for later batches
to add to it, and is counted once for all of them.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from operator import itemgetter
from typing import NamedTuple

from django.core.signals import setting_changed

from cache_monitor.calls import RawCall, Source
from cache_monitor.conf import SETTING
from cache_monitor.keys.naming import KeyName, may_be_remembered, other_name, plain_name
from cache_monitor.keys.toolbar import is_toolbars_own
from cache_monitor.stats.details import Details
from cache_monitor.stats.distinct import hash_of
from cache_monitor.stats.window import OperationStats, Window

Measure = Callable[[str, Hashable, Hashable], int | None]
"""The bytes stored under a key of an alias in a version, where that costs next to nothing."""

Alike = tuple[Hashable, bool | tuple[bool, ...] | None, int | None, Hashable, str | None]
"""Key, outcome, size, version and error: calls of one operation that have these in common."""

_READS = frozenset({"get", "get_many", "get_or_set"})
_WRITES = frozenset({"set", "add", "set_many"})
_DELETES = frozenset({"delete", "delete_many"})
_OTHER_USES = frozenset({"add", "has_key", "incr", "decr", "touch"})
"""Operations that have the use of an entry without looking it up: locks, counters, flags."""
_MOST_REMEMBERED = 16_384

_alike = itemgetter(3, 4, 5, 7, 8)
_Named = tuple[KeyName, int]
"""The name and the hash of a key."""


class _Remembered:
    """The keys that were named last, by alias and key. When half of the room is taken, what was
    not asked for since the last time makes room: keys that come again and again stay. Who counts
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
    place = (alias, key)
    known = _remembered.young.get(place) or _remembered.from_before(place)
    if known is None:
        plain = plain_name(key)
        known = plain or other_name(key, alias), hash_of(key)
        if plain or may_be_remembered(known[0]):
            _remembered.note(place, known)
    return known


def _forget(*, setting: str, **_: object) -> None:
    if setting == SETTING:
        _remembered.forget()


setting_changed.connect(_forget, dispatch_uid="cache_monitor.collecting.counting")


class Condensed(NamedTuple):
    """Calls of one source, told apart only as far as they differ.

    ``hits`` counts the plain ones by their key, ``others`` all else; ``fresh`` are the keys of
    plain hits that were not known before.
    """

    calls: Sequence[RawCall]
    hits: Counter[Hashable]
    others: Counter[Alike]
    fresh: Set[Hashable]


def condense(calls: Sequence[RawCall], known: Set[Hashable]) -> Condensed | None:
    """``calls`` without those that the debug toolbar makes for itself; None if that is all.
    ``known`` are keys that are not the toolbar's."""
    keys = [call[3] for call in calls if call[4] is True and call[5] is None and call[7] is None]
    rest: Sequence[RawCall] = ()
    if not keys:
        rest = calls
    elif len(keys) < len(calls):
        rest = [
            call
            for call in calls
            if call[4] is not True or call[5] is not None or call[7] is not None
        ]
    hits, others = Counter(keys), Counter(map(_alike, rest))
    fresh = hits.keys() - known
    # Looked for among what is left, which is little; rarely is one there.
    if any(map(is_toolbars_own, fresh)) or any(is_toolbars_own(each[0]) for each in others):
        own = [call for call in calls if not is_toolbars_own(call[3])]
        return condense(own, known) if own else None
    return Condensed(calls, hits, others, fresh)


class Counting:
    """Counts the calls of one ``source`` into one window and its details.

    Plain hits, of one key with nothing else to say, wait until :meth:`settle`; all other calls
    are counted when they are added.
    """

    __slots__ = ("_details", "_hits", "_measure", "_sizes", "_source", "_window")

    def __init__(self, source: Source, window: Window, details: Details, measure: Measure) -> None:
        self._source = source
        self._window = window
        self._details = details
        self._measure = measure
        self._hits: Counter[Hashable] = Counter()
        self._sizes: dict[Hashable, int | None] = {}

    @property
    def waiting(self) -> Set[Hashable]:
        """The keys whose hits wait to be settled."""
        return self._hits.keys()

    def add(self, condensed: Condensed, newest: float) -> None:
        """Count calls, the last of which ended at ``newest``."""
        calls, hits, others, fresh = condensed
        self._window.newest = max(self._window.newest, newest)
        _count_times(self._window.operation(self._source.operation), self._source, calls)
        uses = _Uses(self._source, self._details)
        self._count_alike(uses, others)
        # A value's size is looked up while the value is sure to be there.
        sizes = {key: self._measure(self._source.alias, key, None) for key in fresh}
        if 2 * len(hits) <= hits.total():
            self._hits.update(hits)
            self._sizes.update(sizes)
        else:
            # Hardly alike: there is little to gain by waiting.
            self._count_hits(uses, hits, {**self._sizes, **sizes} if self._sizes else sizes)
        self._add_totals(uses)

    def settle(self) -> None:
        """Count the hits that wait."""
        if self._hits:
            hits, self._hits = self._hits, Counter()
            sizes, self._sizes = self._sizes, {}
            uses = _Uses(self._source, self._details)
            self._count_hits(uses, hits, sizes)
            self._add_totals(uses)

    def _count_hits(
        self, uses: "_Uses", hits: Counter[Hashable], sizes: Mapping[Hashable, int | None]
    ) -> None:
        for key, times in hits.items():
            size = sizes.get(key)
            if size is not None:
                self._window.add_bytes(size * times, False)
            uses.count(str(key), True, size, None, times)

    def _count_alike(self, uses: "_Uses", alike: Counter[Alike]) -> None:
        operation = self._window.operation(self._source.operation)
        for call, times in alike.items():
            key, outcome, _, _, error = call
            if error is not None:
                operation.errors += times
            size = self._size(call)
            if size is not None:
                self._window.add_bytes(size * times, _wrote(self._source, outcome))
            if isinstance(key, tuple):
                found = outcome if isinstance(outcome, tuple) else (None,) * len(key)
                for each, hit in zip(key, found, strict=False):
                    # The size of several values tells nothing of each.
                    uses.count(str(each), hit, None, error, times)
            elif key is not None:
                hit = outcome if isinstance(outcome, bool) else None
                uses.count(str(key), hit, size, error, times)

    def _add_totals(self, uses: "_Uses") -> None:
        operation = self._window.operation(self._source.operation)
        operation.keys += uses.keys
        operation.hits += uses.hits
        operation.misses += uses.misses
        self._details.uses += uses.keys

    def _size(self, call: Alike) -> int | None:
        """The bytes of the value; where the call could not tell, what is stored now."""
        key, outcome, size, version, error = call
        if size is not None or error is not None:
            return size
        source = self._source
        asked = _wrote(source, outcome) or (source.operation in _READS and outcome)
        return self._measure(source.alias, key, version) if asked else None


class _Uses:
    """Counts what one operation did with single keys. Runs once for each different key, which
    with a million of them is nearly once a call: hence no call more than needed."""

    __slots__ = (
        "_alias",
        "_deletes",
        "_details",
        "_produces",
        "_uses_otherwise",
        "_writes",
        "hits",
        "keys",
        "misses",
    )

    def __init__(self, source: Source, details: Details) -> None:
        self._alias = source.alias
        self._details = details
        self._writes = source.operation in _WRITES
        self._produces = source.operation == "get_or_set"
        self._deletes = source.operation in _DELETES
        self._uses_otherwise = source.operation in _OTHER_USES
        self.keys = self.hits = self.misses = 0

    def count(
        self, key: str, hit: bool | None, size: int | None, error: str | None, times: int
    ) -> None:
        """Count ``times`` uses; ``hit`` is None where nothing was looked up."""
        details = self._details
        (shown, group_name, kind), key_hash = name_and_hash(key, self._alias)
        group = details.groups.get(group_name) or details.group(group_name, kind)
        group.add_key(key_hash)
        self.keys += times
        if hit is not None:
            if hit:
                self.hits += times
            else:
                self.misses += times
        elif self._deletes:
            group.deletes += times
        elif self._uses_otherwise:
            group.other_uses += times
        if error is not None:
            group.errors += times
        wrote = self._writes or (self._produces and hit is False)
        if hit is not None or wrote:
            stats = details.hot_keys.entry(shown, group_name)
            group.count(hit, wrote, times, shown)
            stats.count(hit, wrote, times)
            if size is not None:
                group.add_bytes(size * times, wrote)
                stats.bytes = size


def _wrote(source: Source, outcome: object) -> bool:
    """Whether the call stored a value: ``get_or_set`` does so where it missed."""
    return source.operation in _WRITES or (source.operation == "get_or_set" and outcome is False)


def _count_times(operation: OperationStats, source: Source, calls: Sequence[RawCall]) -> None:
    if source.operation == "get_or_set":
        # What the site's own function took is not the cache's time.
        seconds = [max(call[2] - (call[10] or 0.0), 0.0) for call in calls]
    else:
        seconds = [call[2] for call in calls]
    operation.calls += len(seconds)
    operation.seconds += sum(seconds)
    slowest = max(seconds)
    operation.slowest = max(operation.slowest, slowest)
    operation.times.count(seconds)
