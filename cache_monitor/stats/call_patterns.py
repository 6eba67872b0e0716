"""What several calls show together: how long values took to compute, repeated gets of one key
within a request, and single gets in a loop (N+1).

The panel's hints and the site's findings use the same rules for repeated and for single gets.

The function of a ``get_or_set`` is timed by itself. Otherwise a value was computed between the end
of the lookup that missed and the beginning of the next write of the same key (same alias, same
version, as the caller gave it) in the same context, which is a thread or a task:

* An ``add`` counts like a ``set``, even if another value was faster: the work was done.
* If several keys miss before the first of them is written, the second takes the time since the
  first was written, and so on; otherwise time would count twice. A value that is missed and written
  while another is computed is a part of that, whose time counts whole.
* ``set_many`` divides the time evenly among the keys it writes.
* ``cache_page`` looks a page up only if it knows by which headers the page varies. If that list was
  missing, the page's key was never looked up: its write then belongs to the miss of the list for
  the same address. The list itself takes no work, so its own writes count nothing.

Not seen are a value that is written by another thread or task than the one that missed, a failed
call, and a write more than ``MOST_SECONDS`` after the miss. A thread's misses end with its request.
A later task may get the identity of an earlier one: if it writes a key without a lookup that the
earlier one missed, it counts as the earlier one.
"""

import re
from collections import OrderedDict, defaultdict, deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from statistics import median
from typing import Generic, NamedTuple, TypeVar

from cache_monitor.calls import (
    CONTEXT,
    ERROR,
    KEY,
    LOOKUPS,
    OUTCOME,
    PRODUCED,
    SECONDS,
    SOURCE,
    STARTED,
    VERSION,
    RawCall,
)
from cache_monitor.keys.known_keys import is_bookkeeping

_MOST = 16
"""The most spans that are kept: more than are open at a time, but for batches, of which the last is
enough."""


class Spans:
    """The spans from miss to write of one thread or task."""

    __slots__ = ("_spans",)

    def __init__(self) -> None:
        # None lies within another: a later miss was written later.
        self._spans: deque[tuple[float, float]] = deque(maxlen=_MOST)

    def since(self, missed: float, started: float, written: float) -> float:
        """When the computation of a value began, from the times of its miss and its write."""
        spans = self._spans
        while spans and spans[-1][0] > missed:
            # It was computed within this one.
            spans.pop()
        since = max(missed, spans[-1][1]) if spans else missed
        spans.append((missed, written))
        return min(since, started)


_MOST_COMPUTED = 2048
"""Computations whose end is remembered; 0.4 MB."""


class Computations:
    """When each thread or task last finished to compute the value of an entry.

    It computes nothing twice at once: where one computation contains another of the same value, as
    in a ``get_or_set`` within a ``get_or_set``, only what follows the inner one is traced, or the
    two would be a stampede.
    """

    __slots__ = ("_ended",)

    def __init__(self) -> None:
        self._ended: OrderedDict[int, int] = OrderedDict()
        """By a hash of the context and the entry."""

    def time_after_inner(
        self, where: tuple[int | None, str, int, str], ended: int, took: int
    ) -> int:
        """Of a computation that ``took`` so long, the time after one that it contains."""
        name = hash(where)
        inner = self._ended.pop(name, 0)
        self._ended[name] = ended
        if len(self._ended) > _MOST_COMPUTED:
            self._ended.popitem(last=False)
        return max(0, min(took, ended - inner))


MOST_PENDING = 10_000
"""The most misses that wait for their write; about 1 MB. The oldest are dropped."""
MOST_SECONDS = 600.0
"""A write this long after the miss was hardly computed all the time."""

_WRITES = frozenset({"set", "add", "set_many"})

# The forms of django.utils.cache; both hold the MD5 of the same address.
_LIST = "views.decorators.cache.cache_header."
_PAGE = re.compile(
    r"views\.decorators\.cache\.cache_page\.(?P<prefix>.*)\.[A-Z]+"
    r"\.(?P<address>[0-9a-f]{32})\.[0-9a-f]{32}(?P<rest>.*)",
    re.DOTALL,
)

_Scope = tuple[int | None, str, Hashable]
"""Context, alias and version."""


class ComputedValue(NamedTuple):
    """A value that was computed, and the seconds that this took."""

    key: str
    seconds: float


class MissSetMatcher:
    """Matches misses with the writes that follow them. Not thread-safe."""

    def __init__(self, most: int = MOST_PENDING) -> None:
        self._most = most
        self._pending: dict[int, float] = {}
        """The ends of misses by a hash of context, alias, version and key: a key may be secret and
        would stay for long if it is never written."""
        self._begun: OrderedDict[int | None, float] = OrderedDict()
        self._spans: OrderedDict[int | None, Spans] = OrderedDict()

    def begin(self, context: int, at: float) -> None:
        """Forget the misses of ``context`` before ``at``."""
        self._begun[context] = at
        self._begun.move_to_end(context)
        if len(self._begun) > self._most:
            self._begun.popitem(last=False)

    def match(
        self, calls: Sequence[RawCall], begun: deque[tuple[float, int]]
    ) -> dict[int, Sequence[ComputedValue]]:
        """The values that ``calls`` wrote, by the index of the call. ``begun``: the beginnings of
        requests, each with its context."""
        found: dict[int, Sequence[ComputedValue]] = {}
        for index, call in enumerate(calls):
            while begun and begun[0][0] <= call[STARTED]:
                at, context = begun.popleft()
                self.begin(context, at)
            source = call[SOURCE]
            if source.operation != "get":
                if values := self._computed_by(call, call[CONTEXT]):
                    found[index] = values
            elif call[OUTCOME] is False and call[ERROR] is None:
                # Inlined: there may be very many.
                where = call[CONTEXT], source.alias, call[VERSION], call[KEY]
                self._pending[hash(where)] = call[STARTED] + call[SECONDS]
                if len(self._pending) > self._most:
                    self._forget_oldest()
        return found

    def _computed_by(self, call: RawCall, context: int | None) -> Sequence[ComputedValue]:
        """The values that a call, which is no ``get``, wrote."""
        operation = call[SOURCE].operation
        source, started, seconds, key, outcome, _, _, version, error, *_ = call
        if error is not None:
            return ()
        ended = started + seconds
        if operation in _WRITES:
            if not self._pending:
                return ()
            return self._written((context, source.alias, version), key, started, ended)
        if operation == "get_many":
            self._note_each((context, source.alias, version), key, outcome, ended)
        elif operation == "get_or_set" and outcome is False and call[PRODUCED] is not None:
            return [ComputedValue(str(key), call[PRODUCED])]
        return ()

    def _note_each(self, where: _Scope, keys: Hashable, outcome: object, miss: float) -> None:
        if isinstance(keys, tuple) and isinstance(outcome, tuple) and False in outcome:
            for each, hit in zip(keys, outcome, strict=False):
                if hit is False:
                    self._pending[hash((*where, each))] = miss
            if len(self._pending) > self._most:
                self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Forget the misses that wait longest: several, for a dict is slow to find its first."""
        pending = self._pending
        too_many = len(pending) - self._most
        for key in list(islice(pending, too_many + self._most // 10 - 1)):
            del pending[key]

    def _written(
        self, where: _Scope, key: Hashable, started: float, ended: float
    ) -> Sequence[ComputedValue]:
        begun = self._begun.get(where[0], 0.0)
        missed, keys = started, []
        for each in key if isinstance(key, tuple) else (key,):
            missed_at = self._miss_of(where, str(each))
            if missed_at is not None and begun <= missed_at <= started:
                keys.append(str(each))
                missed = min(missed, missed_at)
        if not keys or started - missed > MOST_SECONDS:
            return ()
        seconds = started - self._spans_of(where[0]).since(missed, started, ended)
        return [ComputedValue(each, seconds / len(keys)) for each in keys]

    def _spans_of(self, context: int | None) -> Spans:
        spans = self._spans.pop(context, None) or Spans()
        self._spans[context] = spans
        if len(self._spans) > self._most:
            self._spans.popitem(last=False)
        return spans

    def _miss_of(self, where: _Scope, key: str) -> float | None:
        if key.startswith(_LIST) or is_bookkeeping(key):
            return None
        miss = self._pending.pop(hash((*where, key)), None)
        if miss is None and (page := _PAGE.fullmatch(key)):
            headers = f"{_LIST}{page['prefix']}.{page['address']}{page['rest']}"
            miss = self._pending.pop(hash((*where, headers)), None)
        return miss


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
