"""Merge the store's rows into a report."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from cache_monitor.inspectors.merging import merge
from cache_monitor.inspectors.snapshot import Snapshot
from cache_monitor.reports import caches, schema
from cache_monitor.reports.series import Series, moment
from cache_monitor.stats import distinct
from cache_monitor.stats.details import Details
from cache_monitor.stats.encoding import CorruptPayload, decode
from cache_monitor.stats.hotkeys import HotKeys
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Row

KEYS = 10_000
"""Keys that a report holds while it is made; the more, the closer its bounds."""
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
    details: Iterable[Row]
    looks: Iterable[Row]
    dropped: int


class _Alias:
    """One cache's windows and details merged, and the windows step by step."""

    def __init__(self, period: Period) -> None:
        self.details = Details(0, 1, HotKeys(KEYS), ANY_NUMBER)
        self.series = Series(period.since, period.until)
        self.looks: list[Snapshot] = []

    def add_window(self, row: Row) -> None:
        self.series.add(row.process, decode(row.payload, Window))

    def add_details(self, row: Row) -> None:
        self.details.merge(decode(row.payload, Details))

    def add_look(self, row: Row) -> None:
        self.looks.append(decode(row.payload, Snapshot))

    def memory(self, oldest: float) -> Snapshot | None:
        """What is in the cache: the latest look, or those of all processes that still run.

        A process that has not looked since ``oldest`` has ended, and its memory with it.
        """
        looks = [each for each in self.looks if each.scope == "shared"]
        looks = looks or [each for each in self.looks if each.measured_at > oldest]
        return merge(looks) if looks else None


class _Reading:
    """The rows as far as they could be read."""

    def __init__(self, material: Material, period: Period) -> None:
        self.aliases = {alias: _Alias(period) for alias in material.backends}
        self.corrupt = 0
        self._read(material.windows, _Alias.add_window)
        self._read(material.details, _Alias.add_details)
        self._read(material.looks, _Alias.add_look)

    def _read(self, rows: Iterable[Row], add: Callable[[_Alias, Row], None]) -> None:
        for row in rows:
            if row.alias in self.aliases:
                try:
                    add(self.aliases[row.alias], row)
                except CorruptPayload:
                    self.corrupt += 1


def build(material: Material, period: Period, *, fresh_for: float) -> schema.Report:
    """The report on ``material``. A look older than ``fresh_for`` seconds says nothing of a cache
    in the memory of a process."""
    reading = _Reading(material, period)
    totals = {alias: each.series.total() for alias, each in reading.aliases.items()}
    reported = {
        alias: caches.cache(
            backend,
            totals[alias],
            reading.aliases[alias].details,
            reading.aliases[alias].series,
            reading.aliases[alias].memory(oldest=period.now - fresh_for),
        )
        for alias, backend in material.backends.items()
    }
    return schema.Report(
        schema_version=schema.SCHEMA_VERSION,
        generated_at=moment(period.now),
        since=moment(period.since),
        until=moment(period.until),
        quality=_quality(reading, list(totals.values()), material.dropped),
        caches=reported,
        findings=[],
    )


def _quality(reading: _Reading, totals: Sequence[Window], dropped: int) -> schema.Quality:
    processes: set[int] = set().union(*(each.processes for each in totals))
    newest = max((each.newest for each in totals), default=0.0)
    return schema.Quality(
        processes=distinct.estimate(processes),
        newest_record_at=moment(newest) if newest else None,
        dropped_calls=dropped + sum(each.dropped for each in totals),
        corrupt_windows=reading.corrupt,
        estimated=any(
            key.missing
            for each in reading.aliases.values()
            for key in each.details.hot_keys.table.values()
        ),
    )
