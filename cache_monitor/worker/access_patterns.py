"""What one request asks a cache for again and again, or one by one.

The panel's hints and the site's findings are made of the same rules: what is no repeat for the one
is none for the other.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Generic, NamedTuple, TypeVar

from cache_monitor.calls import ERROR, KEY, OUTCOME, SECONDS, SOURCE, VERSION, RawCall

MANY_REPEATS = 3
"""Lookups of one unchanged entry; two happen where a page asks in its head and in its body."""
MANY_SINGLES = 5
"""Gets of different keys of a group: a loop, not a few fields."""
MOST_KEYS = 1000
"""Different keys of a request that are told apart; about 250 kB."""
MOST_TIMES = 63
"""Calls of one key whose times are kept for their median."""

_LOOKUPS = frozenset({"get", "get_many", "get_or_set"})
_FILLS = frozenset({"set", "set_many", "add"})
_HARMLESS = frozenset({"add", "has_key", "touch", "ttl", "pttl", "keys", "iter_keys"})
"""Operations that leave the value of an entry that is there as it is."""

_Where = tuple[str, Hashable, Hashable]
"""Alias, version and key."""
Loop = TypeVar("Loop", bound=Hashable)
Single = TypeVar("Single")
Entry = TypeVar("Entry", bound=Hashable)


class Runs(Generic[Entry]):
    """Lookups of the same entry that no change of it comes between. An entry is whatever tells it
    from others."""

    __slots__ = ("_lengths", "_missed", "_there")

    def __init__(self) -> None:
        self._lengths: dict[Entry, int] = {}
        self._missed: set[Entry] = set()
        self._there: set[Entry] = set()
        """Those that were found, or written where they had been missed."""

    def __len__(self) -> int:
        return len(self._lengths)

    def entries(self) -> list[Entry]:
        """Those that were looked up."""
        return list(self._lengths)

    def __contains__(self, entry: Entry) -> bool:
        return entry in self._lengths

    def look_up(self, entry: Entry, operation: str, hit: object) -> int:
        """Take in a lookup; how many it makes in its run. One that misses what had been there
        begins another: it expired meanwhile, or had to make room."""
        if hit is False and entry in self._there:
            self._there.discard(entry)
            self._lengths[entry] = 0
        elif hit is not False:
            self._there.add(entry)
        if operation == "get_or_set":
            self._there.add(entry)
        # What was missed by a get_or_set is there after it.
        if hit is False and operation != "get_or_set":
            self._missed.add(entry)
        else:
            self._missed.discard(entry)
        length = self._lengths.get(entry, 0) + 1
        self._lengths[entry] = length
        return length

    def write(self, entry: Entry, operation: str) -> bool:
        """Take in another operation; whether it ended the run."""
        if entry not in self._lengths:
            return False
        has_missed = entry in self._missed
        self._missed.discard(entry)
        # What fills a miss leaves the value as it was asked for.
        if has_missed and operation in _FILLS:
            self._there.add(entry)
            return False
        if operation in _HARMLESS:
            return False
        self._lengths[entry] = 0
        return True


def is_lookup(operation: str) -> bool:
    """Whether it looks entries up."""
    return operation in _LOOKUPS


def changes_unknown_entries(operation: str, has_keys: bool) -> bool:
    """Whether it may change entries that it does not name: a clear, a delete by pattern."""
    return operation not in _HARMLESS and (not has_keys or "pattern" in operation)


def loops(singles: Iterable[tuple[Loop, Single]]) -> Iterator[tuple[Loop, Sequence[Single]]]:
    """Of gets of different keys, by what they have in common, those that are many."""
    found: defaultdict[Loop, list[Single]] = defaultdict(list)
    for loop, single in singles:
        found[loop].append(single)
    for loop, each in found.items():
        if len(each) >= MANY_SINGLES:
            yield loop, each


class RepeatedGet(NamedTuple):
    """A key of the cache ``alias`` that a request has got; ``again`` counts the calls that it could
    have spared, none where these were too few to matter, and ``seconds`` is what so many of them
    usually take: one that the machine held up is no cost of asking again. ``several`` keys
    that were got by one call go by the first of them; a key that was got with the means to make it
    is none that could be got with others either."""

    alias: str
    key: str
    again: int
    seconds: float = 0.0
    several: bool = False
    version: Hashable = None


class _Lookup:
    """A call that looked up one or several entries."""

    __slots__ = ("of", "seconds", "to_spare")

    def __init__(self, of: "_Gets", entries: int, seconds: float) -> None:
        self.of = of
        self.seconds = seconds
        self.to_spare = entries

    def spare(self) -> None:
        """Note that one of its entries need not have been asked for."""
        self.to_spare -= 1
        if not self.to_spare:
            self.of.spare(self.seconds)


class _Gets:
    """Calls that looked up the same, by the same means."""

    __slots__ = ("_times", "again")

    def __init__(self) -> None:
        self.again = 0
        self._times: list[float] = []

    def spare(self, seconds: float) -> None:
        """Note a call that took ``seconds`` and could have been spared."""
        self.again += 1
        if len(self._times) < MOST_TIMES:
            self._times.append(seconds)

    @property
    def seconds(self) -> float:
        """What the calls that could have been spared usually take."""
        return self.again * median(self._times) if self._times else 0.0


class AccessPatterns:
    """Notes the lookups of one request, in bounded memory. Whoever calls holds its lock."""

    __slots__ = ("_gets", "_runs", "_second")

    def __init__(self) -> None:
        self._runs: Runs[_Where] = Runs()
        self._gets: dict[tuple[str, Hashable, Hashable, bool], _Gets] = {}
        self._second: dict[_Where, _Lookup] = {}
        """The calls that are to be spared once their entry is asked for a third time."""

    def note(self, call: RawCall) -> None:
        """Take in the next call."""
        operation, alias, key = call[SOURCE].operation, call[SOURCE].alias, call[KEY]
        if call[ERROR] is not None:
            return
        # A key may be asked for twice by one call.
        keys = tuple(dict.fromkeys(key)) if isinstance(key, tuple) else (key,)
        if is_lookup(operation):
            if key is not None and keys:
                self._look_up(call, keys)
        elif changes_unknown_entries(operation, key is not None):
            for where in self._runs.entries():
                if where[0] == alias:
                    self._write(where, operation)
        else:
            for each in keys:
                self._write((alias, call[VERSION], each), operation)

    def got(self) -> Iterator[RepeatedGet]:
        """The keys that were got."""
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

    def _write(self, where: _Where, operation: str) -> None:
        if self._runs.write(where, operation):
            self._second.pop(where, None)


def _hits(key: Hashable, outcome: object) -> Mapping[Hashable, object]:
    """Of each key that was looked up, whether it was found."""
    if not isinstance(key, tuple):
        return {key: outcome}
    found = outcome if isinstance(outcome, tuple) else (outcome,) * len(key)
    return dict(zip(key, found, strict=False))
