"""From the calls of one operation to the statistics of the time bucket that they fall into.

What is counted has been deduplicated (see :mod:`cache_monitor.worker.batch`) to one item for
each different key and outcome. What is found most often, plain hits, waits for later batches to add
to it, and is counted once for all of them; where the shape of a key tells its group, for a whole
group at once.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from operator import itemgetter

from cache_monitor.calls import (
    ERROR,
    KEY,
    LOOKUPS,
    OUTCOME,
    PRODUCED,
    SECONDS,
    RaisedAfter,
    RawCall,
    Source,
    actual_timeout,
    is_failure,
    is_fault,
    is_interrupted,
)
from cache_monitor.keys.naming import known_group
from cache_monitor.stats.details import Details
from cache_monitor.stats.groups import GroupStats
from cache_monitor.stats.sketches import SAMPLE_SIZE, hash_of
from cache_monitor.stats.window import Window, greater
from cache_monitor.worker.batch import Alike, Batch, HitRun, Hits, alike, name_and_hash

Measure = Callable[[str, Hashable, Hashable], int | None]
"""The bytes stored under a key of an alias in a version, where that costs next to nothing."""

Seconds = defaultdict[Hashable, float]
"""What the calls on each key took; those on several keys at once by the tuple of these."""

_Several = defaultdict[tuple[bool | None, bool], Counter[str]]
"""Keys of calls on several at once, and how often they came, by whether they were found (None where
nothing was looked up) and whether the call failed."""

_WRITES = frozenset({"set", "add", "set_many"})
_TAKE_TIMEOUT = _WRITES | {"get_or_set"}
_LONGEST = 100 * 365 * 86400.0
"""Seconds; what is stored for longer has no end to wait for."""
_DELETES = frozenset({"delete", "delete_many"})
_OTHER_USES = frozenset({"add", "has_key", "incr", "decr", "touch"})
"""Operations that have the use of an entry without looking it up: locks, counters, flags."""
_COUNTERS = frozenset({"incr", "decr"})
"""Operations that change a value where it is: it is no copy of anything."""


class Counting:
    """Counts the calls of one ``source`` into one window and its details.

    Plain hits, of one key with nothing else to say, wait until :meth:`settle`; all other calls
    are counted when they are added.
    """

    __slots__ = ("_details", "_measure", "_source", "_window", "waiting")

    def __init__(self, source: Source, window: Window, details: Details, measure: Measure) -> None:
        self._source = source
        self._window = window
        self._details = details
        self._measure = measure
        self.waiting: dict[str, HitRun] = {}
        """Plain hits that are not counted yet."""

    def add(self, batch: Batch, newest: float) -> None:
        """Count the calls of the source in ``batch``, the last of which ended at ``newest``."""
        self._window.newest = max(self._window.newest, newest)
        uses = _Uses(self._source, self._details)
        operation = self._window.operation(self._source.operation)
        if others := batch.by_source.get(self._source):
            operation.count(_own_times(self._source, others))
            if self._source.operation in _TAKE_TIMEOUT:
                uses.note_writes(others, newest)
            uses.note_times(others)
            self._count_alike(uses, Counter(map(alike, others)))
            operation.absent += sum(
                type(call[PRODUCED]) is RaisedAfter and is_failure(call[ERROR]) for call in others
            )
        if misses := batch.misses.get(self._source):
            operation.count([*map(itemgetter(SECONDS), misses)])
            self._count_misses(uses, misses)
        if hits := batch.hits.get(self._source):
            operation.count(hits.times)
            self._add_hits(uses, hits)
        self._add_totals(uses)

    def _add_hits(self, uses: "_Uses", hits: Hits) -> None:
        waiting = self.waiting
        # Where hardly any are alike there is little to gain by waiting.
        waits = 2 * len(hits.runs) <= len(hits.times)
        for key, run in hits.runs.items():
            before = waiting.get(key)
            if before is not None and waits:
                before.merge(run)
                continue
            if run.sized < run.count:
                # A value's size is looked up while the value is sure to be there.
                run.stored = self._measure(self._source.alias, key, None)
            if waits:
                waiting[key] = run
        if not waits:
            self._count_hits(uses, hits.runs)

    def _count_misses(self, uses: "_Uses", calls: Sequence[RawCall]) -> None:
        # Not a list or an object for each key: of a million the garbage collector would visit all.
        times: dict[str, int] = Counter(map(itemgetter(KEY), calls))
        spent: defaultdict[str, float] = defaultdict(float)
        for call in calls:
            spent[call[KEY]] += call[SECONDS]  # type: ignore[index]  # a plain miss's is a text
        groups: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
        for key, misses in times.items():
            group = known_group(key)
            if group is None:
                # That names it, and with it what its like are called in the same batch.
                uses.count_misses_singly(key, misses, spent[key])
            else:
                groups[group].append((key, misses))
        for group, keys in groups.items():
            uses.count_misses(group, keys, sum([spent[key] for key, _ in keys]))

    def settle(self) -> None:
        """Count the hits that wait."""
        if self.waiting:
            runs, self.waiting = self.waiting, {}
            uses = _Uses(self._source, self._details)
            self._count_hits(uses, runs)
            self._add_totals(uses)

    def _count_hits(self, uses: "_Uses", runs: Mapping[str, HitRun]) -> None:
        groups: defaultdict[str, list[tuple[str, HitRun]]] = defaultdict(list)
        found = []
        for key, run in runs.items():
            group = known_group(key)
            if group is None:
                # That names it, and with it what its like are called in the same batch.
                found.append(uses.count_hits_singly(key, run))
            else:
                groups[group].append((key, run))
        found += [uses.count_hits(group, keys) for group, keys in groups.items()]
        for read in found:
            if read is not None:
                self._window.add_bytes(read, False)

    def _count_alike(self, uses: "_Uses", alike: Counter[Alike]) -> None:
        operation = self._window.operation(self._source.operation)
        several: _Several = defaultdict(Counter)
        for call, times in alike.items():
            key, outcome, _, _, error = call
            failed = is_fault(self._source.operation, error)
            if error is not None:
                operation.errors += times * is_failure(error)
                operation.absent += times * (is_failure(error) - failed)
                operation.interrupted += times * is_interrupted(error)
            size = self._size(call)
            if size is not None:
                self._window.add_bytes(size * times, _wrote(self._source, outcome))
            if isinstance(key, tuple):
                uses.part(key)
                _add_several(several, call, failed, times)
            elif key is not None:
                hit = outcome if isinstance(outcome, bool) else None
                uses.count(str(key), hit, size, failed, times)
            elif isinstance(outcome, bool):
                uses.count_nameless(outcome, times)
        uses.count_several(several)

    def _add_totals(self, uses: "_Uses") -> None:
        operation = self._window.operation(self._source.operation)
        operation.keys += uses.keys
        operation.hits += uses.hits
        operation.misses += uses.misses
        self._details.uses += uses.keys

    def _size(self, call: Alike) -> int | None:
        """The bytes of the value; where the call could not tell, what is stored now."""
        key, outcome, size, version, error = call
        if size is not None or error is not None or key is None:
            return size
        source = self._source
        asked = _wrote(source, outcome) or (source.operation in LOOKUPS and outcome)
        return self._measure(source.alias, key, version) if asked else None


class _Uses:
    """Counts what one operation did with single keys. Runs once for each different key, which
    with a million of them is nearly once a call: hence no call more than needed."""

    __slots__ = (
        "_alias",
        "_details",
        "_looks_up",
        "_operation",
        "_seconds",
        "_source",
        "hits",
        "keys",
        "misses",
    )

    def __init__(self, source: Source, details: Details) -> None:
        self._source = source
        self._alias = source.alias
        self._details = details
        self._seconds: Seconds = defaultdict(float)
        self._operation = source.operation
        self._looks_up = source.operation in LOOKUPS
        self.keys = self.hits = self.misses = 0

    def note_times(self, calls: Sequence[RawCall]) -> None:
        """Note what each of ``calls`` took, which is charged to its key."""
        seconds = self._seconds
        for call, time in zip(calls, _own_times(self._source, calls), strict=True):
            seconds[call[KEY]] += time

    def note_writes(self, calls: Sequence[RawCall], at: float) -> None:
        """Note when ``calls`` wrote, the last of which ended at ``at``, and their timeouts."""
        longest: defaultdict[str, float] = defaultdict(float)
        for call in calls:
            if call[OUTCOME] is not True and call[ERROR] is None:
                key = call[KEY][0] if isinstance(call[KEY], tuple) and call[KEY] else call[KEY]
                longest[str(key)] = max(longest[str(key)], _seconds_of(actual_timeout(call)))
        details = self._details
        for text, timeout in longest.items():
            name = name_and_hash(text, self._alias)[0]
            details.group(name.group, name.kind).note_set(at, timeout)

    def part(self, keys: tuple[Hashable, ...]) -> None:
        """Charge each of ``keys`` its share of the calls on all of them, which may be none."""
        seconds = self._seconds.pop(keys, 0.0)
        if seconds and keys:
            share = seconds / len(keys)
            for key in keys:
                self._seconds[key] += share

    def count(self, key: str, hit: bool | None, size: int | None, failed: bool, times: int) -> None:
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
        elif self._operation in _DELETES:
            group.deletes += times
        elif self._operation in _OTHER_USES:
            self._count_other_use(group, times)
        if failed:
            group.errors += times
        # All that was spent on a key is charged once, with whichever of its calls comes first.
        group.add_seconds(self._seconds.pop(key, 0.0), self._looks_up)
        operation = self._operation
        wrote = operation in _WRITES or (hit is False and operation == "get_or_set")
        if hit is not None or wrote:
            stats = details.hot_keys.entry(shown, group_name)
            group.count(hit, wrote, times, shown)
            stats.count(hit, wrote, times)
            if size is not None:
                group.add_bytes(size * times, wrote)
                stats.bytes = greater(stats.bytes, size)

    def _count_other_use(self, group: GroupStats, times: int) -> None:
        group.other_uses += times
        if self._operation in _COUNTERS:
            group.counts += times
        elif self._operation == "add":
            group.adds += times

    def count_several(self, several: _Several) -> None:
        """Count keys that calls on several at once were made for."""
        for (hit, failed), counts in several.items():
            for key, times in counts.items():
                # The size of several values tells nothing of each.
                self.count(key, hit, None, failed, times)

    def count_nameless(self, hit: bool, times: int) -> None:
        """Count lookups of a key that the call gave under a name which nobody knows."""
        self.keys += times
        if hit:
            self.hits += times
        else:
            self.misses += times

    def count_hits(self, group_name: str, keys: Sequence[tuple[str, HitRun]]) -> int | None:
        """Count keys of a group that were found, which may be shown as they are; the bytes of their
        values, where any is known."""
        hits = sum([run.count for _, run in keys])
        self.keys += hits
        self.hits += hits
        group = self._details.group(group_name, "key")
        group.add_keys([hash_of(key) for key, _ in keys])
        group.add_seconds(sum([run.seconds for _, run in keys]), True)
        sizes = [run.sizes() for _, run in keys]
        known = [read for read, _ in sizes if read is not None]
        read = sum(known) if known else None
        group.count_lookups(True, [key for key, _ in keys[:SAMPLE_SIZE]], hits)
        if read is not None:
            group.add_bytes(read, False)
        self._details.hot_keys.count_hits(
            group_name,
            [(key, size, run.count) for (key, run), (_, size) in zip(keys, sizes, strict=True)],
        )
        return read

    def count_hits_singly(self, key: str, run: HitRun) -> int | None:
        """The same for a key whose shape does not tell the group, or how it may be shown."""
        details = self._details
        (shown, group_name, kind), key_hash = name_and_hash(key, self._alias)
        group = details.groups.get(group_name) or details.group(group_name, kind)
        group.add_key(key_hash)
        group.add_seconds(run.seconds, True)
        read, largest = run.sizes()
        group.count(True, False, run.count, shown)
        stats = details.hot_keys.entry(shown, group_name)
        stats.count(True, False, run.count)
        if read is not None:
            group.add_bytes(read, False)
            stats.bytes = greater(stats.bytes, largest)
        self.keys += run.count
        self.hits += run.count
        return read

    def count_misses(
        self, group_name: str, keys: Sequence[tuple[str, int]], seconds: float
    ) -> None:
        """Count keys of a group that were missed, which may be shown as they are: for each the key
        and how many times. All misses took so many ``seconds``."""
        misses = sum([times for _, times in keys])
        self.keys += misses
        self.misses += misses
        group = self._details.group(group_name, "key")
        group.add_keys([hash_of(key) for key, _ in keys])
        group.count_lookups(False, [key for key, _ in keys[:SAMPLE_SIZE]], misses)
        group.add_seconds(seconds, True)
        self._details.hot_keys.count_misses(group_name, keys)

    def count_misses_singly(self, key: str, times: int, seconds: float) -> None:
        """The same for a key whose shape does not tell the group, or how it may be shown."""
        self._seconds[key] += seconds
        self.count(key, False, None, False, times)


def _add_several(several: _Several, call: Alike, failed: bool, times: int) -> None:
    """Count the keys of a call on several at once, which was made so many ``times``."""
    keys, outcome = call[0], call[1]
    if not isinstance(keys, tuple):
        return
    found: Sequence[bool | None] = outcome if isinstance(outcome, tuple) else (None,) * len(keys)
    for hit in {*found}:
        is_all = found.count(hit) == len(keys)
        own = (
            keys if is_all else [key for key, each in zip(keys, found, strict=False) if each is hit]
        )
        several[hit, failed].update([*map(str, own)] * times)


def _wrote(source: Source, outcome: object) -> bool:
    """Whether the call stored a value: ``get_or_set`` does so where it missed."""
    return source.operation in _WRITES or (source.operation == "get_or_set" and outcome is False)


def _seconds_of(timeout: object) -> float:
    """A timeout that a call gave; 0 where it gave none, or what is no number."""
    is_number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    # Not a number is between nothing.
    return float(timeout) if is_number and 0 < timeout < _LONGEST else 0.0  # type: ignore[operator, arg-type]  # a number by then


def _own_times(source: Source, calls: Sequence[RawCall]) -> list[float]:
    """What each of ``calls`` took of the cache's own time."""
    if source.operation == "get_or_set":
        # What the site's own function took is not the cache's time.
        return [max(call[SECONDS] - (call[PRODUCED] or 0.0), 0.0) for call in calls]
    return [call[SECONDS] for call in calls]
