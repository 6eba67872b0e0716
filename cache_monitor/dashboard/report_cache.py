"""One reading of the store serves everybody who looks within a few seconds.

A page, its charts' JSON, the refreshes of several viewers and the programs that poll the JSON ask
the same question. Whoever asks first reads the store, which the process flushes to first; the
others wait for the answer instead of reading it again beside.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Final, NamedTuple

from cache_monitor import api
from cache_monitor.concurrency import TimedValues, call_in_forked_children
from cache_monitor.conf import SETTING, forget_on_change, get_conf
from cache_monitor.dashboard.query import Query
from cache_monitor.reports.key_history import KeyPoint
from cache_monitor.reports.schema import Report

KeyLines = Mapping[str, Sequence[KeyPoint]]
"""The use of keys over time, by key."""

MOST = 16
"""Readings that a process keeps: each may weigh a megabyte."""
FRESH_FOR = 2.0
"""Seconds that a reading is used; no more than half of the time between two refreshes."""
FRESH_FOR_LONG = 30.0
"""Seconds that the reading of a long period is used."""
FRESH_SHARE = 1 / 2880
"""The part of a period for which its reading is used: half a minute of a day."""


class CachedReport(NamedTuple):
    """A report, and what is wrong with the store that it comes from, if anything."""

    report: Report
    store_problem: str | None


readings: Final[TimedValues[CachedReport]] = TimedValues(MOST)
key_lines: Final[TimedValues[KeyLines]] = TimedValues(MOST)
for _each in (readings, key_lines):
    call_in_forked_children(_each.clear)
    forget_on_change((SETTING, "CACHES"), _each.clear)


def cached_report(query: Query) -> CachedReport:
    """The report that ``query`` asks for. Raises :class:`~cache_monitor.api.UnknownAlias`."""

    def read() -> CachedReport:
        # A period that ends now is left open: calls are recorded while the report is made.
        until = None if query.live else query.until
        report = api.report(since=query.since, until=until, alias=query.alias)
        return CachedReport(report, api.problem_of(report))

    return _kept((*query.period.values(), query.alias), read, query)


def report_before(query: Query) -> Report | None:
    """The report of the period before; None where that begins before 1970."""
    if query.before.timestamp() < 0:
        return None

    def read() -> CachedReport:
        report = api.report(since=query.before, until=query.since, alias=query.alias)
        return CachedReport(report, report.quality.store_problem)

    return _kept(("before", *query.period.values(), query.alias), read, query).report


def _kept(question: Hashable, read: Callable[[], CachedReport], query: Query) -> CachedReport:
    """A long period has long steps: it is read more rarely than the page refreshes itself, unless
    the store failed."""
    length = (query.until - query.since).total_seconds()
    briefly = min(FRESH_FOR, get_conf().refresh_seconds / 2)
    kept = readings.get(question, read, max(briefly, min(FRESH_FOR_LONG, length * FRESH_SHARE)))
    return kept if kept.store_problem is None else readings.get(question, read, briefly)
