"""Merge the store's rows into a report."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cache_monitor.inspectors.merging import merge
from cache_monitor.inspectors.snapshot import Snapshot
from cache_monitor.reports import caches, schema
from cache_monitor.reports.series import Series, moment
from cache_monitor.stats.encoding import CorruptPayload, decode
from cache_monitor.stats.hotkeys import HotKeys
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Row

ANY_NUMBER = 1_000_000
"""Groups that a report may hold: its windows are bounded one by one."""


class Period(NamedTuple):
    """The stretch that a report covers, in Unix time; ``now`` is when it was asked for."""

    since: float
    until: float
    now: float


class Material(NamedTuple):
    """What a report is made of: the backend of each alias to report on, the stored rows, and the
    calls that are known to be missing from them."""

    backends: Mapping[str, str]
    windows: Iterable[Row]
    looks: Iterable[Row]
    dropped: int


class _Alias:
    """One cache's windows merged, in all and step by step."""

    def __init__(self, period: Period, hot_keys: int) -> None:
        self.total = Window(0, 0, HotKeys(hot_keys), ANY_NUMBER)
        self.series = Series(period.since, period.until)

    def add(self, row: Row, window: Window) -> None:
        self.series.add(row.process, window)
        self.total.merge(window)


class _Reading:
    """The rows as far as they could be read."""

    def __init__(self, material: Material, period: Period, hot_keys: int) -> None:
        self.aliases = {alias: _Alias(period, hot_keys) for alias in material.backends}
        self.looks: dict[str, list[Snapshot]] = {alias: [] for alias in material.backends}
        self.processes: set[str] = set()
        self.corrupt = 0
        for row in material.windows:
            self._add_window(row)
        for row in material.looks:
            self._add_look(row)

    def _add_window(self, row: Row) -> None:
        try:
            window = decode(row.payload, Window)
        except CorruptPayload:
            self.corrupt += 1
            return
        self.processes.add(row.process)
        if row.alias in self.aliases:
            self.aliases[row.alias].add(row, window)

    def _add_look(self, row: Row) -> None:
        try:
            snapshot = decode(row.payload, Snapshot)
        except CorruptPayload:
            self.corrupt += 1
            return
        if row.alias in self.looks:
            self.looks[row.alias].append(snapshot)

    def memory(self, alias: str, period: Period, fresh_for: float) -> Snapshot | None:
        """What is in the cache: the latest look, or those of all processes that still run."""
        looks = [each for each in self.looks[alias] if each.scope == "shared"]
        if not looks:
            # A process that has not looked lately has ended, and its memory with it.
            oldest = period.now - fresh_for
            looks = [each for each in self.looks[alias] if each.measured_at > oldest]
        return merge(looks) if looks else None


def build(material: Material, period: Period, *, hot_keys: int, fresh_for: float) -> schema.Report:
    """The report on ``material``. A look older than ``fresh_for`` seconds says nothing of a cache
    in the memory of a process."""
    reading = _Reading(material, period, hot_keys)
    reported = {
        alias: caches.cache(
            backend,
            reading.aliases[alias].total,
            reading.aliases[alias].series,
            reading.memory(alias, period, fresh_for),
        )
        for alias, backend in material.backends.items()
    }
    return schema.Report(
        schema_version=schema.SCHEMA_VERSION,
        generated_at=moment(period.now),
        since=moment(period.since),
        until=moment(period.until),
        quality=_quality(reading, material),
        caches=reported,
        findings=[],
    )


def _quality(reading: _Reading, material: Material) -> schema.Quality:
    totals = [each.total for each in reading.aliases.values()]
    newest = max((each.newest for each in totals), default=0.0)
    return schema.Quality(
        processes=len(reading.processes),
        newest_record_at=moment(newest) if newest else None,
        dropped_calls=material.dropped + sum(each.dropped for each in totals),
        corrupt_windows=reading.corrupt,
        estimated=any(key.missing for total in totals for key in total.hot_keys.table.values()),
    )
