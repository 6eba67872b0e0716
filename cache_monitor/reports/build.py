"""Merge the store's rows into a report.

Processes learn at different times, and rows of before have the single names: the sums of these are
added up when a report is made, and nothing is lost.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import structs
from msgspec.structs import replace

from cache_monitor.keys.grouping import learned, with_more
from cache_monitor.keys.known_keys import bypassing_apps
from cache_monitor.keys.naming import is_chosen
from cache_monitor.reports import caches, past_rows, schema
from cache_monitor.reports.predictions import StoredPrediction
from cache_monitor.reports.schema import Cache
from cache_monitor.reports.series import Series, moment
from cache_monitor.scan.snapshot import Snapshot, StaleReason, merge
from cache_monitor.stats import distinct
from cache_monitor.stats.codec import CorruptPayload, decode
from cache_monitor.stats.details import OTHER_GROUPS, Details, StoredDetails
from cache_monitor.stats.merge import DetailsMerge, fold_groups
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Row
from cache_monitor.stores.rows import MERGED, window_of


def fold_learned(details: Details) -> None:
    """Fold the groups of ``details`` by what this process has learned and by what they show
    themselves, which it learns with it."""
    names = [
        name
        for name, group in details.groups.items()
        if group.kind == "key" and name != OTHER_GROUPS and not is_chosen(name)
    ]
    folding = with_more(learned.folding, names)
    if folding is not learned.folding:
        learned.learn(folding.templates)
    fold_groups(details, lambda name: name if is_chosen(name) else folding.fold(name))


class Sharing(NamedTuple):
    """The aliases that share a store, and the one of them in which entries count that are the same;
    None for that one itself."""

    aliases: list[str]
    counted_in: str | None


def sharing(looks: Mapping[str, Snapshot | None]) -> dict[str, Sharing]:
    """What the aliases share that have a store in common, as the last ``looks`` found.

    Of those whose keys have the same prefix, version and function too, the entries are the same:
    they count in the first of them.
    """
    stores: defaultdict[str, list[str]] = defaultdict(list)
    first: dict[tuple[str, str], str] = {}
    known = {alias: look for alias, look in looks.items() if look is not None and look.store}
    for alias, look in known.items():
        stores[look.store].append(alias)
        first.setdefault((look.store, look.keys), alias)
    found = {}
    for alias, look in known.items():
        counted_in = first[look.store, look.keys]
        if len(stores[look.store]) > 1:
            found[alias] = Sharing(stores[look.store], counted_in if counted_in != alias else None)
    return found


def told_together(
    caches: Mapping[str, Cache], looks: Mapping[str, Snapshot | None]
) -> dict[str, Cache]:
    """``caches`` with the names of those that share a store. What one of them evicts may be
    another's: where they count it themselves, it is the store's, as it is a server's."""
    found = dict(caches)
    for alias, (aliases, counted_in) in sharing(looks).items():
        memory = replace(found[alias].memory, aliases=aliases, counted_in=counted_in)
        if memory.evictions_since is not None:
            evicted = sum(caches[each].memory.evictions or 0 for each in aliases)
            memory = replace(memory, evictions=evicted)
        found[alias] = replace(found[alias], memory=memory)
    return found


def same_entries(alias: str, caches: Mapping[str, Cache]) -> list[str]:
    """``alias`` and those whose entries count in it."""
    return [alias, *(each for each, it in caches.items() if it.memory.counted_in == alias)]


def once(caches: Mapping[str, Cache]) -> dict[str, Cache]:
    """``caches`` without those whose entries are another's as well, which stands for them; all of
    them where that one is not among them."""
    return {
        alias: cache for alias, cache in caches.items() if cache.memory.counted_in not in caches
    }


def stale_total(caches: Mapping[str, Cache], reason: StaleReason) -> int | None:
    """The entries of all caches that are stale for ``reason``, those that are shared once; None
    where it is known of no cache."""
    counts = [getattr(cache.stale, reason) for cache in once(caches).values()]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


STANDS_FOR = 3600.0
"""Seconds for which the last look stands where nobody has called the cache since."""


SILENT_AFTER = 300.0
"""Seconds after which a process that has stopped in the midst of a bucket has ended, or cannot
reach the store."""


class ReportPeriod(NamedTuple):
    """The period that a report covers, in Unix time; ``now`` is when it was asked for."""

    since: float
    until: float
    now: float


class Material(NamedTuple):
    """What a report is made of: the backend of each alias to report on, the stored rows, and the
    calls that are known to be missing from them, and why rows are missing, if any are."""

    backends: Mapping[str, str]
    windows: Iterable[Row]
    details: Iterable[Row]
    looks: Iterable[Row]
    dropped: int
    store_problem: str | None = None
    predictions: Iterable[Row] = ()


class _Alias:
    """One cache's windows and details merged, and the windows step by step."""

    def __init__(self, period: ReportPeriod, told_for: float, silent_after: float) -> None:
        self.merging = DetailsMerge(0, 1, past_rows.ANY_NUMBER)
        self.series = Series(*period, told_for)
        self.looks: list[Snapshot] = []
        self.predicted: schema.CacheWhatIf | None = None
        self.corrupt = 0
        self.now = period.now
        self.heard: set[int] = set()
        """The processes that have just been heard of."""
        self._lately = self.now - silent_after

    def read_windows(self, rows: Iterable[Row]) -> None:
        """Add windows, and take from memory the steps that are of the past."""
        steps: defaultdict[int, list[Row]] = defaultdict(list)
        young: defaultdict[int, list[Row]] = defaultdict(list)
        for row in rows:
            if row.process == MERGED:
                steps[row.start // self.series.step].append(row)
            else:
                young[row.start].append(row)
        for those in steps.values():
            self.add_whole(*past_rows.step_of_the_past(past_rows.PastRows(those)))
        for those in young.values():
            named = past_rows.PastRows(those)
            if self.is_over(those) and past_rows.was_there(named):
                self.add_whole(*past_rows.bucket_just_over(named))
            else:
                self.read(those, self.add_window)

    def is_over(self, rows: Sequence[Row]) -> bool:
        """Whether the first of ``rows``, and what began with it, will hardly change any more."""
        return rows[0].start + rows[0].seconds <= self.now

    def add_whole(self, window: Window, corrupt: int) -> None:
        """Add what several windows were merged into."""
        self._add(window)
        self.corrupt += corrupt

    def read_details(self, rows: Iterable[Row]) -> None:
        """Add details, and take from memory those of the past."""
        young: list[Row] = []
        past: defaultdict[tuple[int, int | None], list[Row]] = defaultdict(list)
        for row in rows:
            if row.process == MERGED:
                # Those of one length: the longer, the more seldom there is another one.
                past[row.seconds, None].append(row)
            else:
                past[row.seconds, row.start].append(row)
        for (seconds, start), those in past.items():
            named = past_rows.PastRows(those)
            lasting = start is None and seconds > past_rows.SHORT
            if not (lasting or (self.is_over(those) and past_rows.was_there(named))):
                young.extend(those)
                continue
            details, corrupt = past_rows.details_of_the_past(named)
            self.merging.add(details)
            self.corrupt += corrupt
        self.read(young, self.add_details)

    def read(self, rows: Iterable[Row], add: Callable[[Row], None]) -> None:
        """Add the rows that can be read, and count the others."""
        for row in rows:
            try:
                add(row)
            except CorruptPayload:
                self.corrupt += 1

    def add_window(self, row: Row) -> None:
        self._add(window_of(row))

    def _add(self, window: Window) -> None:
        self.series.add(window)
        if window.start + window.seconds > self._lately:
            self.heard |= window.processes

    def add_details(self, row: Row) -> None:
        self.merging.add(decode(row.payload, StoredDetails))

    def add_look(self, row: Row) -> None:
        self.looks.append(decode(row.payload, Snapshot))

    def add_prediction(self, row: Row) -> None:
        self.predicted = decode(row.payload, StoredPrediction).predicted

    def details(self) -> Details:
        """All details in one, with the groups that are known to be one."""
        whole = self.merging.whole(caches.HOT_KEYS_SHOWN)
        fold_learned(whole)
        return whole

    def memory(self, now: float, fresh_for: float) -> Snapshot | None:
        """What is in the cache: the latest look, or those of all processes that still run.

        A process whose look is ``fresh_for`` seconds older than the latest has ended, and its
        memory with it. Where nobody calls a cache nobody looks either, and what was seen last
        stands, but no longer than an hour.
        """
        looks = [each for each in self.looks if each.scope == "shared"]
        latest = max((each.measured_at for each in self.looks), default=0.0)
        oldest = min(latest, now) - fresh_for
        if not looks and latest > now - STANDS_FOR:
            looks = [each for each in self.looks if each.measured_at > oldest]
        return merge(looks) if looks else None


class _Rows(NamedTuple):
    """What is stored of one cache."""

    windows: list[Row]
    details: list[Row]
    looks: list[Row]
    predictions: list[Row]


class _CacheReport(NamedTuple):
    """What one cache adds to the report."""

    cache: schema.Cache
    total: Window
    heard: set[int]
    corrupt: int
    look: Snapshot | None


def build(
    material: Material,
    period: ReportPeriod,
    *,
    fresh_for: float,
    silent_after: float = SILENT_AFTER,
) -> schema.Report:
    """The report on ``material``. A look that is ``fresh_for`` seconds older than the latest says
    nothing of a cache in the memory of a process; one that has stopped in the midst of a bucket
    has ended when it was silent for ``silent_after`` seconds."""
    windows, details, looks, predictions = (
        _by_alias(rows)
        for rows in (material.windows, material.details, material.looks, material.predictions)
    )
    # One after the other, so that what one took in memory is there for the next.
    parts = {
        alias: _part(
            backend,
            period,
            fresh_for,
            silent_after,
            _Rows(windows[alias], details[alias], looks[alias], predictions[alias]),
        )
        for alias, backend in material.backends.items()
    }
    return schema.Report(
        schema_version=schema.SCHEMA_VERSION,
        generated_at=moment(period.now),
        since=moment(period.since),
        until=moment(period.until),
        quality=_quality(list(parts.values()), material),
        caches=told_together(
            {alias: part.cache for alias, part in parts.items()},
            {alias: part.look for alias, part in parts.items()},
        ),
        findings=[],
    )


def merged_details(rows: Iterable[Row], period: ReportPeriod) -> Details:
    """The details of one cache in one."""
    alias = _Alias(period, told_for=0.0, silent_after=0.0)
    alias.read_details(rows)
    return alias.details()


def _by_alias(rows: Iterable[Row]) -> defaultdict[str, list[Row]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.alias].append(row)
    return found


def _part(
    backend: str, period: ReportPeriod, fresh_for: float, silent_after: float, rows: _Rows
) -> _CacheReport:
    alias = _Alias(period, fresh_for, silent_after)
    alias.read_windows(rows.windows)
    alias.read_details(rows.details)
    alias.read(rows.looks, alias.add_look)
    alias.read(rows.predictions, alias.add_prediction)
    total = alias.series.total()
    whole = alias.details()
    look = alias.memory(period.now, fresh_for)
    cache = caches.cache(backend, total, whole, alias.series, look)
    cache = structs.replace(cache, what_if=alias.predicted)
    return _CacheReport(cache, total, alias.heard, alias.corrupt, look)


def _quality(parts: Sequence[_CacheReport], material: Material) -> schema.Quality:
    processes: set[int] = set().union(*(each.total.processes for each in parts))
    unfinished: set[int] = set().union(*(each.total.unfinished for each in parts))
    heard: set[int] = set().union(*(each.heard for each in parts))
    newest = max((each.total.newest for each in parts), default=0.0)
    return schema.Quality(
        processes=distinct.estimate(processes),
        cut_off_processes=distinct.estimate(unfinished - heard),
        newest_record_at=moment(newest) if newest else None,
        dropped_calls=material.dropped + sum(each.total.dropped for each in parts),
        corrupt_windows=sum(each.corrupt for each in parts),
        not_recorded=bypassing_apps(),
        estimated=any(key.max_overcount for each in parts for key in each.cache.hot_keys),
        store_problem=material.store_problem,
    )
