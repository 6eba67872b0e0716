"""From single calls to statistics: the counting, off the hot path.

Calls come in batches, and most of a batch is alike: the same few keys, found again and again. So
a batch is first condensed by what the standard library does in C, and only what is left, one item
for each different key and outcome, is counted in Python.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from operator import add, itemgetter

from cache_monitor.calls import RawCall, Source
from cache_monitor.keys.naming import KeyName, name_key
from cache_monitor.keys.toolbar import is_toolbars_own
from cache_monitor.misses import Judged
from cache_monitor.stats import histogram
from cache_monitor.stats.details import Details
from cache_monitor.stats.distinct import hash_of
from cache_monitor.stats.hotkeys import HotKeys
from cache_monitor.stats.window import Window, add_reasons
from cache_monitor.visits import Visit

WINDOW_SECONDS = 10
DETAILS_SECONDS = 60

Measure = Callable[[str, Hashable, Hashable], int | None]
"""The bytes stored under a key of an alias in a version, where that costs next to nothing."""

Part = Window | Details

_READS = frozenset({"get", "get_many", "get_or_set"})
_WRITES = frozenset({"set", "add", "set_many"})
_DELETES = frozenset({"delete", "delete_many"})

_started = itemgetter(1)
_seconds = itemgetter(2)
_details = itemgetter(3, 4, 5, 7, 8)


Alike = tuple[Hashable, bool | tuple[bool, ...] | None, int | None, Hashable, str | None]
"""Key, outcome, size, version and error: calls of one operation that have these in common."""


_remembered: dict[str, tuple[KeyName, int]] = {}
_MOST_REMEMBERED = 16_384


def _name_and_hash(key: str) -> tuple[KeyName, int]:
    """The key's name and hash, remembered but for sessions: a session key is a credential."""
    known = _remembered.get(key)
    if known is None:
        known = name_key(key), hash_of(key)
        if known[0].kind != "session":
            if len(_remembered) >= _MOST_REMEMBERED:
                _remembered.clear()
            _remembered[key] = known
    return known


class Aggregator:
    """Counts the calls of one process into the stretches of time that they ended in.

    Not safe for several threads at once: whoever drains holds a lock.
    """

    def __init__(self, process: str, *, hot_keys: int, key_groups: int, measure: Measure) -> None:
        self._process = hash_of(process)
        self._hot_keys = hot_keys
        self._key_groups = key_groups
        self._measure = measure
        self._windows: dict[tuple[str, int], Window] = {}
        self._details: dict[tuple[str, int], Details] = {}
        self._sealed_to: dict[int, int] = {WINDOW_SECONDS: 0, DETAILS_SECONDS: 0}

    def add(self, calls: Sequence[RawCall], clock_offset: float) -> None:
        """Count ``calls``; ``clock_offset`` makes Unix time of their clock's readings."""
        if not calls:
            return
        ends = [*map(add, map(_started, calls), map(_seconds, calls))]
        newest = max(ends) + clock_offset
        if _begin(min(ends) + clock_offset, WINDOW_SECONDS) == _begin(newest, WINDOW_SECONDS):
            self._add(calls, newest)
            return
        stretches: defaultdict[int, list[RawCall]] = defaultdict(list)
        for call, end in zip(calls, ends, strict=True):
            stretches[_begin(end + clock_offset, WINDOW_SECONDS)].append(call)
        for begin, stretch in stretches.items():
            self._add(stretch, min(newest, begin + WINDOW_SECONDS - 1e-6))

    def add_visit(self, visit: Visit, now: float) -> None:
        """Count a request for its view."""
        for alias, use in visit.uses.items():
            details = self._details_at(alias, now)
            details.uses += 1
            stats = details.view(visit.view)
            stats.requests += 1
            stats.lookups += use.lookups
            stats.misses += use.misses
            stats.seconds += use.seconds

    def add_judged(self, judged: Iterable[Judged]) -> None:
        """Count the reasons of misses, where the misses themselves are counted."""
        for alias, key, at, reason in judged:
            add_reasons(self._window(alias, at).reasons, {reason: 1})
            details = self._details_at(alias, at)
            details.uses += 1
            _, group_name, kind = _name_and_hash(key)[0]
            add_reasons(details.group(group_name, kind).reasons, {reason: 1})

    def add_dropped(self, dropped: Counter[str], now: float) -> None:
        """Count calls that were made and not recorded, by alias."""
        for alias, calls in dropped.items():
            self._window(alias, now).dropped += calls

    def note_memory(self, alias: str, used: int, is_shared: bool, now: float) -> None:
        """Note the bytes that the cache ``alias`` holds, in this process or for all of them."""
        window = self._window(alias, now)
        window.memory_bytes, window.memory_is_shared = used, is_shared

    def parts(self) -> Iterator[tuple[str, Part]]:
        """Alias and part, for all parts at hand."""
        for (alias, _), window in self._windows.items():
            yield alias, window
        for (alias, _), details in self._details.items():
            yield alias, details

    def seal(self, part: Part) -> None:
        """Let ``part`` not change any more: calls that are still to come for its stretch go to
        the next. What the store has of it may then be rolled up."""
        part.final = True
        length = part.seconds
        self._sealed_to[length] = max(self._sealed_to[length], part.start + length)

    def forget(self, alias: str, part: Part) -> None:
        """Drop a part, and seal its stretch: a second part of the same name would take the first
        one's place in the store."""
        self.seal(part)
        parts: dict[tuple[str, int], Window] | dict[tuple[str, int], Details]
        parts = self._windows if isinstance(part, Window) else self._details
        parts.pop((alias, part.start), None)

    def _start(self, at: float, length: int) -> int:
        return max(_begin(at, length), self._sealed_to[length])

    def _window(self, alias: str, at: float) -> Window:
        start = self._start(at, WINDOW_SECONDS)
        window = self._windows.get((alias, start))
        if window is None:
            window = Window(start, WINDOW_SECONDS, processes={self._process})
            self._windows[alias, start] = window
        return window

    def _details_at(self, alias: str, at: float) -> Details:
        start = self._start(at, DETAILS_SECONDS)
        details = self._details.get((alias, start))
        if details is None:
            details = Details(start, DETAILS_SECONDS, HotKeys(self._hot_keys), self._key_groups)
            self._details[alias, start] = details
        return details

    def _add(self, calls: Sequence[RawCall], newest: float) -> None:
        """Count ``calls`` of one stretch of time; ``newest`` is when the last of them ended."""
        by_source: defaultdict[Source, list[RawCall]] = defaultdict(list)
        for call in calls:
            by_source[call[0]].append(call)
        for source, own in by_source.items():
            alike = Counter(map(_details, own))
            if any(is_toolbars_own(details[0]) for details in alike):
                # Looked for among the condensed calls, which are few; rarely is one there.
                own = [call for call in own if not is_toolbars_own(call[3])]  # noqa: PLW2901
                alike = Counter(map(_details, own))
            if own:
                window = self._window(source.alias, newest)
                window.newest = max(window.newest, newest)
                _count_times(window, source, [call[2] for call in own])
                details = self._details_at(source.alias, newest)
                self._count_alike(window, details, source, alike)

    def _count_alike(
        self, window: Window, details: Details, source: Source, alike: Counter[Alike]
    ) -> None:
        operation = window.operation(source.operation)
        uses = _Uses(source, details)
        for call, times in alike.items():
            key, outcome, _, _, error = call
            if error is not None:
                operation.errors += times
            size = self._size(source, call)
            if size is not None:
                window.add_bytes(size * times, _wrote(source, outcome))
            if isinstance(key, tuple):
                found = outcome if isinstance(outcome, tuple) else (None,) * len(key)
                for each, hit in zip(key, found, strict=False):
                    # The size of several values tells nothing of each.
                    uses.count(str(each), hit, None, error, times)
            elif key is not None:
                hit = outcome if isinstance(outcome, bool) else None
                uses.count(str(key), hit, size, error, times)
        operation.keys += uses.keys
        operation.hits += uses.hits
        operation.misses += uses.misses
        details.uses += uses.keys

    def _size(self, source: Source, call: Alike) -> int | None:
        """The bytes of the value; where the call could not tell, what is stored now."""
        key, outcome, size, version, error = call
        if size is not None or error is not None:
            return size
        asked = _wrote(source, outcome) or (source.operation in _READS and outcome)
        return self._measure(source.alias, key, version) if asked else None


class _Uses:
    """Counts what one operation did with single keys. Runs once for each different key, which
    with a million of them is nearly once a call: hence no call more than needed."""

    __slots__ = ("_deletes", "_details", "_produces", "_writes", "hits", "keys", "misses")

    def __init__(self, source: Source, details: Details) -> None:
        self._details = details
        self._writes = source.operation in _WRITES
        self._produces = source.operation == "get_or_set"
        self._deletes = source.operation in _DELETES
        self.keys = self.hits = self.misses = 0

    def count(
        self, key: str, hit: bool | None, size: int | None, error: str | None, times: int
    ) -> None:
        """Count ``times`` uses; ``hit`` is None where nothing was looked up."""
        details = self._details
        (shown, group_name, kind), key_hash = _name_and_hash(key)
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
        if error is not None:
            group.errors += times
        wrote = self._writes or (self._produces and hit is False)
        if hit is not None or wrote:
            stats = details.hot_keys.entry(shown, group_name)
            group.count(hit, wrote, times)
            stats.count(hit, wrote, times)
            if size is not None:
                group.add_bytes(size * times, wrote)
                stats.bytes = size


def _begin(at: float, length: int) -> int:
    """The beginning of the stretch of ``length`` seconds that ``at`` lies in."""
    return int(at // length) * length


def _wrote(source: Source, outcome: object) -> bool:
    """Whether the call stored a value: ``get_or_set`` does so where it missed."""
    return source.operation in _WRITES or (source.operation == "get_or_set" and outcome is False)


def _count_times(window: Window, source: Source, seconds: list[float]) -> None:
    operation = window.operation(source.operation)
    operation.calls += len(seconds)
    operation.seconds += sum(seconds)
    slowest = max(seconds)
    operation.slowest = max(operation.slowest, slowest)
    histogram.add(operation.buckets, Counter(histogram.buckets_of(seconds)))
