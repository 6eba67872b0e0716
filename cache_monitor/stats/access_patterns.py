"""Access patterns within a request: repeated gets of one key, and single gets in a loop (N+1).

The panel's hints and the site's findings use the same rules.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Generic, NamedTuple, TypeVar

from cache_monitor.calls import (
    ERROR,
    KEY,
    LOOKUPS,
    OUTCOME,
    SECONDS,
    SOURCE,
    VERSION,
    RawCall,
)

# Gets that a request could have spared

MANY_REPEATS = 3
"""Lookups of one unchanged entry; two are common, as in the head and in the body of a page."""
MANY_SINGLES = 5
"""Gets of different keys of a group; fewer may be a few fields, not a loop."""
MOST_KEYS = 1000
"""The most keys of a request that are told apart; about 250 kB."""
MOST_TIMES = 63
"""The most calls of one key whose times are kept for their median."""

_FILLS = frozenset({"set", "set_many", "add"})
_HARMLESS = frozenset({"add", "has_key", "touch", "ttl", "pttl", "keys", "iter_keys"})
"""Operations that do not change the value of an existing entry."""

_CacheEntry = tuple[str, Hashable, Hashable]
"""Alias, version and key."""
Loop = TypeVar("Loop", bound=Hashable)
Single = TypeVar("Single")
Entry = TypeVar("Entry", bound=Hashable)


class Runs(Generic[Entry]):
    """Runs of lookups of the same entry without a change of it between them. An entry is any
    hashable that identifies it."""

    __slots__ = ("_lengths", "_missed", "_there")

    def __init__(self) -> None:
        self._lengths: dict[Entry, int] = {}
        self._missed: set[Entry] = set()
        self._there: set[Entry] = set()
        """The entries that were found, or written after a miss."""

    def __len__(self) -> int:
        return len(self._lengths)

    def entries(self) -> list[Entry]:
        return list(self._lengths)

    def __contains__(self, entry: Entry) -> bool:
        return entry in self._lengths

    def look_up(self, entry: Entry, operation: str, hit: object) -> int:
        """Add a lookup; returns the length of its run. A miss of an entry that was there begins a
        new run: it expired or was evicted meanwhile."""
        if hit is False and entry in self._there:
            self._there.discard(entry)
            self._lengths[entry] = 0
        elif hit is not False:
            self._there.add(entry)
        if operation == "get_or_set":
            self._there.add(entry)
        # After a get_or_set that missed the entry is there.
        if hit is False and operation != "get_or_set":
            self._missed.add(entry)
        else:
            self._missed.discard(entry)
        length = self._lengths.get(entry, 0) + 1
        self._lengths[entry] = length
        return length

    def write(self, entry: Entry, operation: str) -> bool:
        """Add another operation; returns whether it ended the run."""
        if entry not in self._lengths:
            return False
        has_missed = entry in self._missed
        self._missed.discard(entry)
        # A write that fills a miss is no change.
        if has_missed and operation in _FILLS:
            self._there.add(entry)
            return False
        if operation in _HARMLESS:
            return False
        self._lengths[entry] = 0
        return True


def changes_unknown_entries(operation: str, has_keys: bool) -> bool:
    """Whether the operation may change entries without their keys: a clear, a pattern delete."""
    return operation not in _HARMLESS and (not has_keys or "pattern" in operation)


def loops(singles: Iterable[tuple[Loop, Single]]) -> Iterator[tuple[Loop, Sequence[Single]]]:
    """The groups of single gets that are large enough for a loop."""
    found: defaultdict[Loop, list[Single]] = defaultdict(list)
    for loop, single in singles:
        found[loop].append(single)
    for loop, each in found.items():
        if len(each) >= MANY_SINGLES:
            yield loop, each


class RepeatedGet(NamedTuple):
    """A key that a request got. ``again``: the calls that were not needed, 0 if too few to matter.
    ``seconds``: so many times the median call, since a delay of the machine is no cost of
    repeating. ``several``: it is the first of several keys of one call, or was got by
    ``get_or_set``, so it could not be combined with others."""

    alias: str
    key: str
    again: int
    seconds: float = 0.0
    several: bool = False
    version: Hashable = None


class _Lookup:
    """A call that looked up one or several entries. ``to_spare``: those that were needed."""

    __slots__ = ("of", "seconds", "to_spare")

    def __init__(self, of: "_Gets", entries: int, seconds: float) -> None:
        self.of = of
        self.seconds = seconds
        self.to_spare = entries

    def spare(self) -> None:
        self.to_spare -= 1
        if not self.to_spare:
            self.of.spare(self.seconds)


class _Gets:
    """The calls that looked up the same keys by the same operation."""

    __slots__ = ("_times", "again")

    def __init__(self) -> None:
        self.again = 0
        self._times: list[float] = []

    def spare(self, seconds: float) -> None:
        self.again += 1
        if len(self._times) < MOST_TIMES:
            self._times.append(seconds)

    @property
    def seconds(self) -> float:
        """The typical time of all calls that were not needed."""
        return self.again * median(self._times) if self._times else 0.0


class AccessPatterns:
    """The lookups of one request, in bounded memory. The caller holds a lock."""

    __slots__ = ("_gets", "_runs", "_second")

    def __init__(self) -> None:
        self._runs: Runs[_CacheEntry] = Runs()
        self._gets: dict[tuple[str, Hashable, Hashable, bool], _Gets] = {}
        self._second: dict[_CacheEntry, _Lookup] = {}
        """The second lookup of each entry: not needed if a third comes."""

    def note(self, call: RawCall) -> None:
        operation, alias, key = call[SOURCE].operation, call[SOURCE].alias, call[KEY]
        if call[ERROR] is not None:
            return
        # One call may have a key twice.
        keys = tuple(dict.fromkeys(key)) if isinstance(key, tuple) else (key,)
        if operation in LOOKUPS:
            if key is not None and keys:
                self._look_up(call, keys)
        elif changes_unknown_entries(operation, key is not None):
            for where in self._runs.entries():
                if where[0] == alias:
                    self._write(where, operation)
        else:
            for each in keys:
                self._write((alias, call[VERSION], each), operation)

    def repeated_gets(self) -> Iterator[RepeatedGet]:
        """The keys that were looked up."""
        for (alias, version, key, is_single), gets in self._gets.items():
            first = key[0] if isinstance(key, tuple) else key
            yield RepeatedGet(alias, str(first), gets.again, gets.seconds, not is_single, version)

    def _look_up(self, call: RawCall, keys: Sequence[Hashable]) -> None:
        operation, alias, outcome = call[SOURCE].operation, call[SOURCE].alias, call[OUTCOME]
        place = alias, call[VERSION], call[KEY], operation == "get"
        gets = self._gets.get(place)
        if gets is None:
            if len(self._gets) >= MOST_KEYS:
                return
            gets = self._gets[place] = _Gets()
        lookup = _Lookup(gets, len(keys), call[SECONDS])
        hits = _hits(call[KEY], outcome)
        for each in keys:
            where = alias, call[VERSION], each
            if where not in self._runs and len(self._runs) >= MOST_KEYS:
                continue
            length = self._runs.look_up(where, operation, hits.get(each))
            if length == MANY_REPEATS - 1:
                self._second[where] = lookup
            elif length >= MANY_REPEATS:
                if (second := self._second.pop(where, None)) is not None:
                    second.spare()
                lookup.spare()

    def _write(self, where: _CacheEntry, operation: str) -> None:
        if self._runs.write(where, operation):
            self._second.pop(where, None)


def _hits(key: Hashable, outcome: object) -> Mapping[Hashable, object]:
    """Whether each key was found."""
    if not isinstance(key, tuple):
        return {key: outcome}
    found = outcome if isinstance(outcome, tuple) else (outcome,) * len(key)
    return dict(zip(key, found, strict=False))
