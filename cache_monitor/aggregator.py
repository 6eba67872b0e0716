"""From single calls to windows: the counting, off the hot path.

Calls come in batches, and most of a batch is alike: the same few keys, found again and again. So
a batch is first condensed by what the standard library does in C, and only what is left, one item
for each different key and outcome, is counted in Python.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from cache_monitor.calls import RawCall, Source
from cache_monitor.keys.naming import KeyName, name_key
from cache_monitor.stats import histogram
from cache_monitor.stats.distinct import hash_of
from cache_monitor.stats.hotkeys import HotKeys
from cache_monitor.stats.window import Window

Measure = Callable[[str, Hashable, Hashable], int | None]
"""The bytes stored under a key of an alias in a version, where that costs next to nothing."""

_READS = frozenset({"get", "get_many", "get_or_set"})
_WRITES = frozenset({"set", "add", "set_many"})
_DELETES = frozenset({"delete", "delete_many"})
_TOOLBAR_PREFIX = "djdt:"

_started = itemgetter(1)
_details = itemgetter(3, 4, 5, 7, 8)


def is_toolbars_own(key: Hashable) -> bool:
    """Whether the debug toolbar made this call to keep its own data: no news for anybody."""
    first = key[0] if isinstance(key, tuple) and key else key
    return isinstance(first, str) and first.startswith(_TOOLBAR_PREFIX)


class _Alike(NamedTuple):
    """Calls of one operation that do not differ in what is counted for their keys."""

    key: Hashable
    outcome: bool | tuple[bool, ...] | None
    size: int | None
    version: Hashable
    error: str | None

    def keys(self) -> tuple[str, ...]:
        """The keys of each of the calls."""
        if isinstance(self.key, tuple):
            return self.key
        return () if self.key is None else (str(self.key),)

    def found(self) -> tuple[bool | None, ...]:
        """For each of the keys whether it was there; None where nothing was looked up."""
        if isinstance(self.outcome, tuple):
            return self.outcome
        return (self.outcome,) * len(self.keys())


@lru_cache(maxsize=16_384)
def _name_and_hash(key: str) -> tuple[KeyName, int]:
    return name_key(key), hash_of(key)


class Aggregator:
    """Counts calls into the window of their cache and stretch of time.

    Not safe for several threads at once: whoever drains holds a lock.
    """

    def __init__(
        self, *, window_seconds: int, hot_keys: int, key_groups: int, measure: Measure
    ) -> None:
        self._window_seconds = window_seconds
        self._hot_keys = hot_keys
        self._key_groups = key_groups
        self._measure = measure
        self._windows: dict[tuple[str, int], Window] = {}

    def add(self, calls: Sequence[RawCall], clock_offset: float) -> None:
        """Count ``calls``; ``clock_offset`` makes Unix time of their start."""
        if not calls:
            return
        first = self._start_of(min(map(_started, calls)) + clock_offset)
        newest = max(map(_started, calls)) + clock_offset
        if first == self._start_of(newest):
            self._add(calls, newest)
            return
        stretches: defaultdict[int, list[RawCall]] = defaultdict(list)
        for call in calls:
            stretches[self._start_of(call[1] + clock_offset)].append(call)
        for stretch in stretches.values():
            self._add(stretch, max(map(_started, stretch)) + clock_offset)

    def add_dropped(self, dropped: Counter[str], now: float) -> None:
        """Count calls that were made and not recorded, by alias."""
        for alias, calls in dropped.items():
            self._window(alias, now).dropped += calls

    def note_memory(self, alias: str, used: int, now: float) -> None:
        """Note the bytes that the cache ``alias`` holds."""
        self._window(alias, now).memory_bytes = used

    def windows(self) -> Iterator[tuple[str, Window]]:
        """Alias and window, for all windows at hand."""
        for (alias, _), window in self._windows.items():
            yield alias, window

    def forget(self, alias: str, window: Window) -> None:
        """Drop a window."""
        self._windows.pop((alias, window.start), None)

    def _start_of(self, at: float) -> int:
        return int(at // self._window_seconds) * self._window_seconds

    def _window(self, alias: str, at: float) -> Window:
        start = self._start_of(at)
        window = self._windows.get((alias, start))
        if window is None:
            window = self._windows[alias, start] = Window(
                start, self._window_seconds, HotKeys(self._hot_keys), self._key_groups
            )
        return window

    def _add(self, calls: Sequence[RawCall], newest: float) -> None:
        """Count ``calls`` of one stretch of time; ``newest`` is when the last of them started."""
        by_source: defaultdict[Source, list[RawCall]] = defaultdict(list)
        for call in calls:
            by_source[call[0]].append(call)
        for source, own in by_source.items():
            alike = Counter(map(_details, own))
            if any(is_toolbars_own(details[0]) for details in alike):
                own = [call for call in own if not is_toolbars_own(call[3])]  # noqa: PLW2901
                alike = Counter(map(_details, own))
            if own:
                window = self._window(source.alias, newest)
                window.newest = max(window.newest, newest)
                _count_times(window, source, [call[2] for call in own])
                for details, times in alike.items():
                    self._count(window, source, _Alike(*details), times)

    def _count(self, window: Window, source: Source, call: _Alike, times: int) -> None:
        keys, found = call.keys(), call.found()
        operation = window.operation(source.operation)
        operation.keys += len(keys) * times
        operation.hits += found.count(True) * times
        operation.misses += found.count(False) * times
        if call.error is not None:
            operation.errors += times
        wrote = _wrote(source, call.outcome)
        size = self._size(source, call)
        if size is not None:
            window.add_bytes(size * times, wrote)
        for key, hit in zip(keys, found, strict=False):
            name, key_hash = _name_and_hash(key)
            group = window.group(name.group, name.kind)
            group.add_key(key_hash)
            group.errors += times if call.error is not None else 0
            group.deletes += times if source.operation in _DELETES else 0
            wrote = _wrote(source, hit)
            if hit is None and not wrote:
                continue
            stats = window.hot_keys.entry(name.shown, name.group)
            group.count(hit, wrote, times)
            stats.count(hit, wrote, times)
            if size is not None and len(keys) == 1:
                group.add_bytes(size * times, wrote)
                stats.bytes = size

    def _size(self, source: Source, call: _Alike) -> int | None:
        """The bytes of the value; where the call could not tell, what is stored now."""
        if call.size is not None or call.error is not None:
            return call.size
        if source.operation in _READS:
            asked = call.outcome is not False
        else:
            asked = source.operation in _WRITES
        return self._measure(source.alias, call.key, call.version) if asked else None


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
