"""From single calls to statistics, off the hot path: which time bucket a call falls into."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from cache_monitor.calls import SECONDS, STARTED, Recorded, Source
from cache_monitor.keys.grouping import learned
from cache_monitor.keys.known_keys import NO_ROUTE
from cache_monitor.keys.naming import is_chosen, learned_group
from cache_monitor.page_cache import PagePass
from cache_monitor.stats.access_patterns import RepeatedGet, loops
from cache_monitor.stats.compute_time import ComputedValue
from cache_monitor.stats.details import OTHER_GROUPS, Details, ViewStats, fold_groups
from cache_monitor.stats.groups import GroupStats
from cache_monitor.stats.hot_keys import HotKeys, KeyStats
from cache_monitor.stats.sketches import SAMPLE_SIZE, Samples, hash_of, with_one_more
from cache_monitor.stats.window import Window, greater
from cache_monitor.worker import requests
from cache_monitor.worker.batch import Batch, deduplicate, name_and_hash
from cache_monitor.worker.counting import Counting, Measure
from cache_monitor.worker.requests import CacheUse, Callers, RequestRecord

WINDOW_SECONDS = 10
DETAILS_SECONDS = 60
MOST_WAITING = 10_000
"""Different keys, of different sizes, whose hits wait to be settled; about 3 MB."""

Bucket = Window | Details


class Aggregator:
    """Counts the calls of one process into the time buckets that they ended in.

    Not safe for several threads at once: whoever drains holds a lock.
    """

    def __init__(self, process: str, *, hot_keys: int, key_groups: int, measure: Measure) -> None:
        self._process = hash_of(process)
        self._own_memory: dict[str, dict[int, int]] = {}
        self._hot_keys = hot_keys
        self._key_groups = key_groups
        self._measure = measure
        self._windows: dict[tuple[str, int], Window] = {}
        self._details: dict[tuple[str, int], Details] = {}
        self._countings: dict[Source, Counting] = {}
        self._counted: tuple[int, int] = (0, 0)
        """Where the buckets begin that ``_countings`` count into."""
        self._sealed_to: dict[int, int] = {WINDOW_SECONDS: 0, DETAILS_SECONDS: 0}
        self.callers = Callers()

    def add(self, calls: Sequence[Recorded], clock_offset: float) -> Batch:
        """Count ``calls``, the first of which ended first; ``clock_offset`` makes Unix time of
        their clock's readings. Returns what is left of them without the toolbar's own.

        A call whose thread had to wait between the clock and the buffer may be counted a moment
        later than it ended: where the first and the last call fall into one bucket, so do all.
        """
        batch = deduplicate(calls)
        if not calls:
            return batch
        oldest, newest = _end(calls[0]) + clock_offset, _end(calls[-1]) + clock_offset
        if _begin(oldest, WINDOW_SECONDS) == _begin(newest, WINDOW_SECONDS):
            self._add(batch, max(oldest, newest))
            return batch
        buckets: defaultdict[int, list[Recorded]] = defaultdict(list)
        for call in calls:
            buckets[_begin(_end(call) + clock_offset, WINDOW_SECONDS)].append(call)
        for bucket in buckets.values():
            self._add(deduplicate(bucket), max(map(_end, bucket)) + clock_offset)
        return batch

    def add_request(self, request_record: RequestRecord, now: float) -> None:
        """Count a request for its view."""
        for alias, use in request_record.stats.uses().items():
            details = self._details_at(alias, now)
            details.uses += 1
            stats = details.view(request_record.view)
            stats.requests += 1
            stats.lookups += use.lookups
            stats.misses += use.misses
            stats.seconds += use.seconds
            stats.calls += use.calls
            stats.request_seconds += request_record.stats.seconds
            self._add_use(details, stats, alias, use)
            stats.sample_hits = _noted(stats.sample_hits, alias, use.found())
            stats.sample_misses = _noted(stats.sample_misses, alias, use.missed())
        self._add_access_patterns(request_record.stats.repeated_gets(), now)

    def add_page(self, page_pass: PagePass, now: float) -> None:
        """Count what the page cache did with a request."""
        details = self._details_at(page_pass.alias, now)
        details.uses += 1
        requests.count(page_pass, details.page(page_pass.route or NO_ROUTE))

    def _add_use(self, details: Details, stats: ViewStats, alias: str, use: CacheUse) -> None:
        """Count what a request did with each group of keys."""
        for key, each in use.keys.items():
            _, group, kind = name_and_hash(str(key), alias)[0]
            of_group = stats.use(group)
            of_group.calls += each.calls
            of_group.lookups += each.lookups
            of_group.hits += each.hits
            of_group.seconds += each.seconds
            if each.rewrites:
                of_group.rewrites += each.rewrites
                details.group(group, kind).rewrites += each.rewrites

    def _add_access_patterns(self, got: Iterable[RepeatedGet], now: float) -> None:
        """Count what a request has got one by one, or again and again."""
        groups: defaultdict[tuple[str, str], list[RepeatedGet]] = defaultdict(list)
        for each in got:
            _, group, kind = name_and_hash(each.key, each.alias)[0]
            if kind == "key":
                groups[each.alias, group].append(each)
        for (alias, group), keys in groups.items():
            again = sum(each.again for each in keys)
            # Those of one version of the keys could be got at once.
            singles = loops((each.version, each) for each in keys if not each.several)
            in_loops = sum(len(gets) for _, gets in singles)
            if again or in_loops:
                stats = self._details_at(alias, now).group(group, "key")
                if again:
                    stats.repeated_gets += again
                    stats.repeated_gets_requests += 1
                    stats.repeated_seconds += sum(each.seconds for each in keys)
                if in_loops:
                    stats.single_gets += in_loops
                    stats.single_gets_requests += 1

    def add_produced(self, alias: str, at: float, values: Iterable[ComputedValue]) -> None:
        """Count values that were produced, where their write, which ended at ``at``, is counted."""
        for key, seconds in values:
            group, hot = self._stats_of(alias, key, at)
            for stats in (group,) if hot is None else (group, hot):
                stats.produced += 1
                stats.produce_seconds += seconds
                stats.produce_squares += seconds * seconds

    def add_dropped(self, dropped: Counter[str], now: float) -> None:
        """Count calls that were made and not recorded, by alias."""
        for alias, calls in dropped.items():
            self._window(alias, now).dropped += calls

    def add_culled(self, culled: Mapping[str, int], now: float) -> None:
        """Count entries that were thrown out to make room, by alias."""
        for alias, entries in culled.items():
            window = self._window(alias, now)
            window.culled = (window.culled or 0) + entries

    def note_memory(self, alias: str, used: int, is_shared: bool, now: float) -> None:
        """Note the bytes that the cache ``alias`` holds, in this process or for all of them."""
        if is_shared:
            window = self._window(alias, now)
            window.memory_bytes, window.memory_is_shared = used, True
        else:
            self._own_memory[alias] = {self._process: used}
            self._window(alias, now).own_memory = self._own_memory[alias]

    def note_end(self, now: float) -> None:
        """Note that this process ends, and with it what it holds."""
        for alias in self._own_memory:
            self._own_memory[alias] = {self._process: 0}
            self._window(alias, now).own_memory = self._own_memory[alias]

    def note_evictions(self, alias: str, counter: int, now: float) -> None:
        """Note what the counter of evictions of the server of ``alias`` stands at."""
        window = self._window(alias, now)
        window.evictions = greater(window.evictions, counter)

    def learn_groups(self) -> None:
        """Learn from the groups that keys have fallen into which of them are one."""
        self.settle()
        before = learned.folding
        for details in self._details.values():
            learned.learn(
                name
                for name, group in details.groups.items()
                if group.kind == "key" and name != OTHER_GROUPS and not is_chosen(name)
            )
        if learned.folding is not before:
            for details in self._details.values():
                fold_groups(details, learned_group)

    def buckets(self) -> Iterator[tuple[str, Bucket]]:
        """All buckets at hand, each with its alias."""
        self.settle()
        self._note_callers()
        for (alias, _), window in self._windows.items():
            yield alias, window
        for (alias, _), details in self._details.items():
            yield alias, details

    def seal(self, bucket: Bucket) -> None:
        """Let ``bucket`` not change any more: calls that are still to come for its time go to the
        next. What the store has of it may then be rolled up."""
        self.settle()
        bucket.final = True
        length = bucket.seconds
        self._sealed_to[length] = max(self._sealed_to[length], bucket.start + length)

    def forget(self, alias: str, bucket: Bucket) -> None:
        """Drop a bucket, and seal its time: a second bucket of the same name would take the first
        one's place in the store."""
        self.seal(bucket)
        buckets: dict[tuple[str, int], Window] | dict[tuple[str, int], Details]
        buckets = self._windows if isinstance(bucket, Window) else self._details
        buckets.pop((alias, bucket.start), None)

    def _start(self, at: float, length: int) -> int:
        return max(_begin(at, length), self._sealed_to[length])

    def _window(self, alias: str, at: float) -> Window:
        start = self._start(at, WINDOW_SECONDS)
        window = self._windows.get((alias, start))
        if window is None:
            window = Window(start, WINDOW_SECONDS, processes={self._process})
            # As it was last seen: looks are rarer than windows.
            window.own_memory = self._own_memory.get(alias, {})
            self._windows[alias, start] = window
        return window

    def _details_at(self, alias: str, at: float) -> Details:
        start = self._start(at, DETAILS_SECONDS)
        details = self._details.get((alias, start))
        if details is None:
            details = Details(start, DETAILS_SECONDS, HotKeys(self._hot_keys), self._key_groups)
            self._details[alias, start] = details
        return details

    def _stats_of(self, alias: str, key: str, at: float) -> tuple[GroupStats, KeyStats | None]:
        """What is counted of the group of ``key``, and of the key itself where it is a hot one."""
        details = self._details_at(alias, at)
        details.uses += 1
        shown, group_name, kind = name_and_hash(key, alias)[0]
        return details.group(group_name, kind), details.hot_keys.table.get(shown)

    def _add(self, batch: Batch, newest: float) -> None:
        """Count calls of one time bucket, the last of which ended at ``newest``."""
        starts = self._start(newest, WINDOW_SECONDS), self._start(newest, DETAILS_SECONDS)
        if starts != self._counted:
            self.settle()
            self._counted = starts
        for source in batch.sources():
            counting = self._countings.get(source) or self._begin_counting(source, newest)
            counting.add(batch, newest)
        if sum(len(counting.waiting) for counting in self._countings.values()) > MOST_WAITING:
            self.settle()

    def _begin_counting(self, source: Source, at: float) -> Counting:
        window, details = self._window(source.alias, at), self._details_at(source.alias, at)
        counting = Counting(source, window, details, self._measure)
        self._countings[source] = counting
        return counting

    def _note_callers(self) -> None:
        """Note which lines of code ask for the keys of groups whose names do not tell."""
        if self.callers.known:
            for (alias, _), details in self._details.items():
                for group, line in self.callers.of(alias).items():
                    stats = details.groups.get(group)
                    if stats is not None and not details.final:
                        stats.called_from = line

    def settle(self) -> None:
        """Count what waits, before anybody looks."""
        for counting in self._countings.values():
            counting.settle()
        self._countings.clear()


def _noted(known: Samples, alias: str, keys: Iterable[Hashable]) -> Samples:
    """``known`` and the names of ``keys`` of the cache ``alias``, unless there are enough."""
    if len(known) >= SAMPLE_SIZE:
        return known
    for key in islice(keys, SAMPLE_SIZE):
        known = with_one_more(known, name_and_hash(str(key), alias)[0].shown)
    return known


def _begin(at: float, length: int) -> int:
    """The beginning of the bucket of ``length`` seconds that ``at`` lies in."""
    return int(at // length) * length


def _end(call: Recorded) -> float:
    return call[STARTED] + call[SECONDS]
