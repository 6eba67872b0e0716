"""The metrics for Prometheus: counters from the store's windows, gauges from the last minutes'
report.

A report's period moves with the clock, so its figures fall. A counter must not fall: readers take
that for a restart. So these are the sums of the store since the last midnight (UTC), where they
start at zero: readers miss the calls between their last scrape and midnight. All processes give the
same sums, without the calls that are not flushed yet.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import NamedTuple

from django.conf import settings
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from cache_monitor import api
from cache_monitor.reports.build import once, same_entries
from cache_monitor.reports.schema import Cache, Finding, KeyGroup, Report
from cache_monitor.reports.series import REASONS
from cache_monitor.scan.snapshot import STALE_REASONS
from cache_monitor.stats.codec import CorruptPayload, decode
from cache_monitor.stats.details import OTHER_GROUPS
from cache_monitor.stats.histogram import Histogram, buckets_of
from cache_monitor.stats.window import OperationStats, Window
from cache_monitor.stores.opening import get_store

HOUR, DAY = 3600, 86400


class CounterTotals(NamedTuple):
    """The window of each alias since ``since`` (Unix time), and the number of unreadable rows."""

    since: int
    windows: dict[str, Window]
    corrupt: int


def since_midnight(now: float, retention: float, alias: str | None = None) -> CounterTotals:
    """The sums of all caches, or of ``alias``. Raises :class:`StoreError`.

    With a ``retention`` (seconds) under a day the sums would shrink; then they start every hour.
    """
    since = beginning(now, retention)
    windows = {name: Window(since, DAY) for name in settings.CACHES if alias in (None, name)}
    corrupt = 0
    # One read: a roll-up could move a row between two. Buckets of all lengths begin with the hour.
    for row in get_store().read("window", since, int(now) + HOUR, alias):
        if row.alias in windows:
            try:
                windows[row.alias].merge(decode(row.payload, Window))
            except CorruptPayload:
                corrupt += 1
    return CounterTotals(since, windows, corrupt)


def beginning(now: float, retention: float) -> int:
    """When the sums of ``now`` began at zero (Unix time)."""
    length = DAY if retention >= DAY else HOUR
    return int(now // length) * length


LOOKUPS = frozenset({"get", "get_many", "get_or_set"})

BOUNDS = tuple(2.0**power for power in range(-19, 2))
"""The upper bounds of the histogram's buckets in seconds, 1.9 µs to 2 s; powers of two, where the
recorded buckets end too."""
_FIRST_ABOVE = buckets_of(BOUNDS)

_PLACES = 4
"""Digits of a sum of seconds: a roll-up changes the order of the addition, and with it the last
digits, which must not make a counter fall."""


Counters = dict[str, CounterMetricFamily]

_TEXTS = {
    "lookups": ("Keys looked up in the cache, by whether they were there.", "operation", "outcome"),
    "errors": ("Calls of the cache that raised an exception.", "operation"),
    "interrupted_calls": (
        "Calls of the cache that something from outside ended; none of the errors.",
        "operation",
    ),
    "explained_misses": (
        "Lookups that missed, by why. Those of unknown reason are in no series.",
        "reason",
    ),
    "value_bytes": (
        "Bytes of the values read and written, of those whose size is known.",
        "direction",
    ),
    "dropped_calls": ("Calls of the cache that were made and could not be recorded.",),
    "culled_entries": ("Entries that caches without a counter threw out to keep to MAX_ENTRIES.",),
}
"""The help text of each counter, and its labels beside the alias."""


def counter_families() -> tuple[Counters, HistogramMetricFamily]:
    """The metrics, without values."""
    counters = {
        name: CounterMetricFamily(f"cache_monitor_{name}", text, labels=("alias", *labels))
        for name, (text, *labels) in _TEXTS.items()
    }
    return counters, HistogramMetricFamily(
        "cache_monitor_call_duration_seconds",
        "How long the calls of the cache took.",
        labels=("alias", "operation"),
    )


def counter_metrics(totals: CounterTotals) -> list[Metric]:
    """The metrics of ``totals``."""
    made, seconds = counter_families()
    for alias, window in totals.windows.items():
        _add_window(made, alias, window)
        for name, stats in sorted(window.operations.items()):
            _add_operation(made, alias, name, stats)
            total = round(stats.seconds, _PLACES)
            seconds.add_metric((alias, name), cumulative(stats.times), total)
    return [*made.values(), seconds]


def _add_window(made: Counters, alias: str, window: Window) -> None:
    # Zeros too: the first value of a series counts as no increase.
    for reason in REASONS:
        made["explained_misses"].add_metric((alias, reason), window.reasons.get(reason, 0))
    made["dropped_calls"].add_metric((alias,), window.dropped)
    if window.culled is not None:
        made["culled_entries"].add_metric((alias,), window.culled)
    for direction, size in (("read", window.bytes_read), ("written", window.bytes_written)):
        if size is not None:
            made["value_bytes"].add_metric((alias, direction), size)


def _add_operation(made: Counters, alias: str, operation: str, stats: OperationStats) -> None:
    labels = (alias, operation)
    if operation in LOOKUPS:
        made["lookups"].add_metric((*labels, "hit"), stats.hits)
        made["lookups"].add_metric((*labels, "miss"), stats.misses)
    made["errors"].add_metric(labels, stats.errors)
    made["interrupted_calls"].add_metric(labels, stats.interrupted)


def cumulative(times: Histogram) -> list[tuple[str, int]]:
    """``times`` as Prometheus has histograms: each upper bound with the calls up to it."""
    within = [0] * (len(BOUNDS) + 1)
    for bucket, calls in times.items():
        within[next((at for at, above in enumerate(_FIRST_ABOVE) if bucket < above), -1)] += calls
    bounds = [*map(repr, BOUNDS), "+Inf"]
    return list(zip(bounds, accumulate(within), strict=True))


MINUTES = 5
GROUPS = 50
"""Key groups of a cache that have series of their own; the others share one."""

Families = dict[str, GaugeMetricFamily | CounterMetricFamily]

_INSIDE = ("alias", "aliases")
"""The labels of a cache's contents, once for all aliases with these entries."""
_WITH_ALIAS = {
    "entries": "Entries in the cache at its last scan.",
    "entries_limit": "Entries that the cache may hold.",
    "memory_bytes": "Bytes in the cache at its last scan.",
    "memory_limit_bytes": "Bytes that the cache's server may hold.",
    "stale_bytes": "Bytes of the stale entries among those scanned.",
}


def gauge_families() -> Families:
    """The metrics, without values."""
    made: Families = {name: _gauge(name, text, *_INSIDE) for name, text in _WITH_ALIAS.items()}
    made["evictions"] = CounterMetricFamily(
        "cache_monitor_evictions",
        "Entries that the cache's server has evicted since its start.",
        labels=_INSIDE,
    )
    made["stale_entries"] = _gauge(
        "stale_entries", "Entries that no longer earn their place, by why.", *_INSIDE, "reason"
    )
    made["key_group_lookups"] = _gauge(
        "key_group_lookups",
        f"Lookups of the last {MINUTES} minutes in the busiest key groups.",
        *("alias", "key_group", "outcome"),
    )
    made["findings"] = _gauge(
        "findings", "Caching mistakes that the last hour shows.", "alias", "code", "severity"
    )
    made["processes"] = _gauge("processes", f"Processes heard of in the last {MINUTES} minutes.")
    made["newest_record"] = _gauge(
        "newest_record_timestamp_seconds", "When the newest call was made that is known."
    )
    made["counters_start"] = _gauge(
        "counters_start_timestamp_seconds", "When the counters last started at zero."
    )
    return made


def store_up(is_up: bool) -> Metric:
    """Whether the store could be read."""
    metric = _gauge("store_up", "Whether the monitor's store could be read.")
    metric.add_metric((), int(is_up))
    return metric


def gauge_metrics(
    counted_since: int, findings: Iterable[Finding], alias: str | None = None
) -> Iterator[Metric]:
    """The metrics of all caches, or of ``alias``; the counters began at ``counted_since``."""
    report = api.report(since=datetime.now(UTC) - timedelta(minutes=MINUTES), alias=alias)
    if report.quality.store_problem is not None:
        return  # rather than false zeros
    made = gauge_families()
    made["counters_start"].add_metric((), counted_since)
    _add_findings(made, findings)
    _add_quality(made, report)
    for name, cache in once(report.caches).items():
        _add_memory(made, name, cache, ", ".join(same_entries(name, report.caches)))
    for name, cache in report.caches.items():
        for group, hits, misses in _groups(cache.key_groups):
            made["key_group_lookups"].add_metric((name, group, "hit"), hits)
            made["key_group_lookups"].add_metric((name, group, "miss"), misses)
    yield from made.values()


def _add_findings(made: Families, findings: Iterable[Finding]) -> None:
    found = Counter((each.alias, each.code, each.severity) for each in findings)
    for labels, number in sorted(found.items()):
        made["findings"].add_metric(labels, number)


def _add_quality(made: Families, report: Report) -> None:
    made["processes"].add_metric((), report.quality.processes)
    if report.quality.newest_record_at is not None:
        newest = datetime.fromisoformat(report.quality.newest_record_at)
        made["newest_record"].add_metric((), newest.timestamp())


def _add_memory(made: Families, alias: str, cache: Cache, aliases: str) -> None:
    memory, stale = cache.memory, cache.stale
    counted_by_server = memory.scope == "shared" and memory.evictions_since is None
    known = {
        "entries": memory.entries,
        "entries_limit": memory.limit_entries,
        "memory_bytes": memory.bytes,
        "memory_limit_bytes": memory.limit_bytes,
        # The sum over processes shrinks when one ends.
        "evictions": memory.evictions if counted_by_server else None,
        "stale_bytes": stale.bytes,
    }
    for name, figure in known.items():
        if figure is not None:
            made[name].add_metric((alias, aliases), figure)
    for reason in STALE_REASONS:
        number = getattr(stale, reason)
        if number is not None:
            made["stale_entries"].add_metric((alias, aliases, reason), number)


def _groups(groups: list[KeyGroup]) -> Iterator[tuple[str, int, int]]:
    """Name, hits and misses of the busiest groups, and of all the others together."""
    named = [each for each in groups if each.group != OTHER_GROUPS]
    for each in named[:GROUPS]:
        yield each.group, each.hits, each.misses
    others = [*named[GROUPS:], *(each for each in groups if each.group == OTHER_GROUPS)]
    if others:
        yield OTHER_GROUPS, sum(each.hits for each in others), sum(each.misses for each in others)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"cache_monitor_{name}", text, labels=labels)
