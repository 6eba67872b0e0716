"""Merge the store's rows into a report, into the sums of the last hours, and into the use of single
keys over time.

Rows of the past hardly change, so what was merged of them is kept for the next report. It costs
more to merge details apart than to take each by itself. So where others will join them within
minutes, or where they are still of single processes, they are merged apart only when the same ones
are asked for a second time.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import count
from typing import NamedTuple, TypeVar

from django.conf import settings
from msgspec import Struct
from msgspec.structs import replace

from cache_monitor.keys.grouping import learned, with_more
from cache_monitor.keys.known_keys import bypassing_apps
from cache_monitor.keys.naming import is_chosen
from cache_monitor.reports import SCHEMA_VERSION, Cache, Quality, Report, caches, memory
from cache_monitor.reports.caches import ReportPeriod, Series
from cache_monitor.scan.snapshot import Snapshot
from cache_monitor.stats import codec, sketches
from cache_monitor.stats.codec import CorruptPayload, decode
from cache_monitor.stats.details import (
    OTHER_GROUPS,
    DetailedKeys,
    Details,
    DetailsMerge,
    StoredDetails,
    fold_groups,
    pack_details,
)
from cache_monitor.stats.hot_keys import Columns
from cache_monitor.stats.window import Window, rfc3339
from cache_monitor.stores.base import Kind, Row, get_store
from cache_monitor.stores.rows import (
    DAY,
    HOUR,
    KEYS_KEPT,
    MERGED,
    MINUTE,
    longest,
    merged_windows,
    window_of,
)
from cache_monitor.what_if import StoredPrediction

ANY_NUMBER = 1_000_000
"""Groups that a report may hold: its windows are bounded one by one."""
STEPS_REMEMBERED = 1000
"""Steps of the past, some 20 kB each, that need not be read again: those of five caches."""
BUCKETS_REMEMBERED = 100
"""Those of the last minute, which are not rolled up yet, likewise."""
DETAILS_REMEMBERED = 40
"""Details of the past, up to a megabyte each, likewise: five minutes, hours, days and weeks, and
the minutes that are over."""
SHORT = 5 * MINUTE
"""Rolled-up details of up to so many seconds are joined by others, or rolled up further, within
that time."""
KEYS_REMEMBERED = 500
"""Hot keys in each of these, five times as many as are shown, or as many as each of their rows has.
What is not known of the others goes into a report's ``max_overcount``."""


class PastRows:
    """The name of what is made of some rows, which are let go once that is there: what is
    remembered would else keep the payloads of all processes. Rows that differ go by the same name
    once in 10**19 times."""

    __slots__ = ("_name", "_rows")

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows: Sequence[Row] = rows
        self._name = hash(tuple(rows)), sum(len(row.payload) for row in rows)

    def __hash__(self) -> int:
        return self._name[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PastRows) and self._name == other._name

    def take(self) -> Sequence[Row]:
        """The rows, once."""
        rows, self._rows = self._rows, ()
        return rows


Stored = TypeVar("Stored", bound=Struct)


def _in_one(named: PastRows) -> tuple[Window, int]:
    """Windows in one, which nobody may change, and how many could not be read."""
    rows = named.take()
    start = min(row.start for row in rows)
    return merged_windows(start, max(row.start + row.seconds for row in rows) - start, rows)


def _add_each(rows: Iterable[Row], add: Callable[[Row], None]) -> int:
    """Add the rows that can be read; how many cannot."""
    corrupt = 0
    for row in rows:
        try:
            add(row)
        except CorruptPayload:
            corrupt += 1
    return corrupt


step_of_the_past = lru_cache(maxsize=STEPS_REMEMBERED)(_in_one)
bucket_just_over = lru_cache(maxsize=BUCKETS_REMEMBERED)(_in_one)


def was_there(rows: PastRows) -> bool:
    """Whether the same rows were asked about before."""
    return next(_times_asked(hash(rows))) > 0


@lru_cache(maxsize=STEPS_REMEMBERED)
def _times_asked(_name: int) -> Iterator[int]:
    return count()


@lru_cache(maxsize=DETAILS_REMEMBERED)
def details_of_the_past(named: PastRows) -> tuple[StoredDetails, int]:
    """Details in one, which nobody may change, and how many could not be read."""
    rows = named.take()
    merging = DetailsMerge(rows[0].start, rows[0].seconds, ANY_NUMBER)
    corrupt = _add_each(rows, lambda row: merging.add(decode(row.payload, StoredDetails)))
    most = max(KEYS_REMEMBERED, KEYS_KEPT.get(rows[0].seconds, 0))
    return pack_details(merging.whole(most)), corrupt


def _decoded(rows: Iterable[Row], kind: type[Stored]) -> tuple[list[Stored], int]:
    found: list[Stored] = []
    return found, _add_each(rows, lambda row: found.append(decode(row.payload, kind)))


def fold_learned(details: Details) -> None:
    """Fold the groups of ``details`` by what this process has learned and by what they show
    themselves, which it learns with it: other processes learn at other times, and older rows have
    the single names."""
    names = [
        name
        for name, group in details.groups.items()
        if group.kind == "key" and name != OTHER_GROUPS and not is_chosen(name)
    ]
    folding = with_more(learned.folding, names)
    if folding is not learned.folding:
        learned.learn(folding.templates)
    fold_groups(details, lambda name: name if is_chosen(name) else folding.fold(name))


SILENT_AFTER = 300.0
"""Seconds after which a process that has stopped in the midst of a bucket has ended, or cannot
reach the store."""


class Material(NamedTuple):
    """What a report is made of: the backend of each alias to report on, the stored ``rows`` of all
    kinds, the calls that are known to be missing from them, and why rows are missing, if any
    are."""

    backends: Mapping[str, str]
    rows: Iterable[Row]
    dropped: int
    store_problem: str | None = None


class _CacheRows:
    """The rows of one cache, merged."""

    def __init__(self, period: ReportPeriod, fresh_for: float, silent_after: float) -> None:
        self.merge = DetailsMerge(0, 1, ANY_NUMBER)
        self.series = Series(*period, fresh_for)
        self.corrupt = 0
        self.active: set[int] = set()
        """The processes that have reported within ``silent_after`` seconds."""
        self._now = period.now
        self._active_since = period.now - silent_after

    def add_windows(self, rows: Iterable[Row]) -> None:
        """Add windows; those of the past come merged from memory."""
        steps: defaultdict[int, list[Row]] = defaultdict(list)
        buckets: defaultdict[int, list[Row]] = defaultdict(list)
        for row in rows:
            if row.process == MERGED:
                steps[row.start // self.series.step].append(row)
            else:
                buckets[row.start].append(row)
        for each in steps.values():
            self._add_merged(*step_of_the_past(PastRows(each)))
        for each in buckets.values():
            past = PastRows(each)
            if self._is_over(each) and was_there(past):
                self._add_merged(*bucket_just_over(past))
            else:
                self.corrupt += _add_each(each, lambda row: self._add_window(window_of(row)))

    def add_details(self, rows: Iterable[Row]) -> None:
        """Add details; those of the past come merged from memory."""
        groups: defaultdict[tuple[int, int | None], list[Row]] = defaultdict(list)
        for row in rows:
            # Merged ones of one length together: the longer they are, the seldomer one is added.
            groups[row.seconds, None if row.process == MERGED else row.start].append(row)
        for (seconds, start), each in groups.items():
            past = PastRows(each)
            is_lasting = start is None and seconds > SHORT
            if is_lasting or (self._is_over(each) and was_there(past)):
                details, corrupt = details_of_the_past(past)
                self.merge.add(details)
                self.corrupt += corrupt
            else:
                self.corrupt += _add_each(
                    each, lambda row: self.merge.add(decode(row.payload, StoredDetails))
                )

    def details(self) -> Details:
        """All details in one, with the groups that are known to be one."""
        whole = self.merge.whole(caches.HOT_KEYS_SHOWN)
        fold_learned(whole)
        return whole

    def _add_merged(self, window: Window, corrupt: int) -> None:
        self._add_window(window)
        self.corrupt += corrupt

    def _add_window(self, window: Window) -> None:
        self.series.add(window)
        if window.start + window.seconds > self._active_since:
            self.active |= window.processes

    def _is_over(self, rows: Sequence[Row]) -> bool:
        """Whether the first of ``rows``, and what began with it, will hardly change any more."""
        return rows[0].start + rows[0].seconds <= self._now


class _CacheReport(NamedTuple):
    """What one cache adds to the report."""

    cache: Cache
    total: Window
    active: set[int]
    corrupt: int
    snapshot: Snapshot | None


def build(
    material: Material,
    period: ReportPeriod,
    *,
    fresh_for: float,
    silent_after: float = SILENT_AFTER,
) -> Report:
    """The report on ``material``. A scan that is ``fresh_for`` seconds older than the latest says
    nothing of a cache in the memory of a process. A process that stopped in the midst of a bucket
    has ended when it was silent for ``silent_after`` seconds."""
    rows: defaultdict[tuple[str, Kind], list[Row]] = defaultdict(list)
    for row in material.rows:
        rows[row.alias, row.kind].append(row)

    def report(alias: str, backend: str) -> _CacheReport:
        merged = _CacheRows(period, fresh_for, silent_after)
        merged.add_windows(rows[alias, "window"])
        merged.add_details(rows[alias, "details"])
        scans, corrupt_scans = _decoded(rows[alias, "scan"], Snapshot)
        # What was scanned before the alias got another backend is no more in it.
        snapshots = [each for each in scans if each.backend in {"", backend}]
        predictions, corrupt_predictions = _decoded(rows[alias, "what_if"], StoredPrediction)
        corrupt = merged.corrupt + corrupt_scans + corrupt_predictions
        total = merged.series.total()
        snapshot = memory.latest(snapshots, period.now, fresh_for)
        cache = caches.cache(backend, total, merged.details(), merged.series, snapshot)
        if predictions:
            cache = replace(cache, what_if=predictions[-1].predicted)
        return _CacheReport(cache, total, merged.active, corrupt, snapshot)

    # One after the other, so that what one has learned is there for the next.
    reports = {alias: report(alias, backend) for alias, backend in material.backends.items()}
    memories = memory.with_sharing(
        {alias: each.cache.memory for alias, each in reports.items()},
        {alias: each.snapshot for alias, each in reports.items()},
    )
    return Report(
        schema_version=SCHEMA_VERSION,
        generated_at=rfc3339(period.now),
        since=rfc3339(period.since),
        until=rfc3339(period.until),
        quality=_quality(list(reports.values()), material),
        caches={
            alias: replace(each.cache, memory=memories[alias]) for alias, each in reports.items()
        },
        findings=[],
    )


def merged_details(rows: Iterable[Row], period: ReportPeriod) -> Details:
    """The details of one cache in one."""
    merged = _CacheRows(period, fresh_for=0.0, silent_after=0.0)
    merged.add_details(rows)
    return merged.details()


def _quality(reports: Sequence[_CacheReport], material: Material) -> Quality:
    processes: set[int] = set().union(*(each.total.processes for each in reports))
    unfinished: set[int] = set().union(*(each.total.unfinished for each in reports))
    active: set[int] = set().union(*(each.active for each in reports))
    newest = max((each.total.newest for each in reports), default=0.0)
    return Quality(
        processes=sketches.estimate(processes),
        cut_off_processes=sketches.estimate(unfinished - active),
        newest_record_at=rfc3339(newest) if newest else None,
        dropped_calls=material.dropped + sum(each.total.dropped for each in reports),
        corrupt_windows=sum(each.corrupt for each in reports),
        not_recorded=bypassing_apps(),
        estimated=any(key.max_overcount for each in reports for key in each.cache.hot_keys),
        store_problem=material.store_problem,
    )


def sums_since(since: int, now: float, alias: str | None = None) -> dict[str, Window]:
    """What was counted from ``since`` to ``now`` (Unix times, the first a full hour) in
    each cache, or in that of ``alias``. Raises :class:`StoreError`."""
    sums = {name: Window(since, DAY) for name in settings.CACHES if alias in (None, name)}
    # One read: a roll-up could move a row between two. Buckets of all lengths begin with the hour.
    for row in get_store().read("window", since, int(now) + HOUR, alias):
        if row.alias in sums:
            with suppress(CorruptPayload):  # the report's quality counts them
                sums[row.alias].merge(decode(row.payload, Window))
    return sums


KEY_POINTS = 60


class KeyPoint(Struct, frozen=True, kw_only=True):
    """What is known of one key in one step of time; ``at`` is its beginning.

    Nothing is 0 here, and not None: a key that was not among the hot ones of a step has at most
    as many lookups as the report's ``max_overcount`` says for the whole period.
    """

    at: str
    lookups: int
    hits: int


def key_series(
    keys: Collection[str], rows: Iterable[Row], period: ReportPeriod
) -> dict[str, list[KeyPoint]]:
    """For each of ``keys``, named as the report names them, its steps in order, at most
    ``KEY_POINTS``: all keys have the same ones. ``rows`` are the details of one cache."""
    step = _step(period)
    first, last = int(period.since // step), int(-(-period.until // step))
    lines = {key: ([0] * (last - first), [0] * (last - first)) for key in keys}
    for row in rows:
        at = row.start // step - first
        if 0 <= at < last - first:
            try:
                columns = decode(row.payload, DetailedKeys).hot_keys.columns
            except CorruptPayload:
                continue
            _add(lines, at, columns)
    moments = [rfc3339(number * step) for number in range(first, last)]
    return {
        key: [
            KeyPoint(at=at, lookups=of, hits=found)
            for at, of, found in zip(moments, lookups, hits, strict=True)
        ]
        for key, (lookups, hits) in lines.items()
    }


def _step(period: ReportPeriod) -> int:
    """As fine as the period's oldest rows are, or a multiple of it: none leaves a gap."""
    finest = longest("details", period.now - period.since)
    # One more than fits: a period seldom begins where a step does.
    steps = (period.until - period.since) / finest + 1
    return finest * max(1, int(-(-steps // KEY_POINTS)))


def _add(lines: Mapping[str, tuple[list[int], list[int]]], at: int, columns: Columns) -> None:
    all_lookups = codec.unpack_ints(columns.lookups)
    all_misses = codec.unpack_ints(columns.misses)
    for key, of, missed in zip(columns.keys, all_lookups, all_misses, strict=False):
        if key in lines:
            lookups, hits = lines[key]
            lookups[at] += of
            hits[at] += max(0, of - missed)
