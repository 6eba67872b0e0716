"""The caches for Prometheus: counters, histograms of latency, and gauges, read from the store.

Any worker process can be scraped, and has the figures of all. Gauges come from the report of the
last minutes. Its period moves with the clock, so its figures fall; a counter must not fall, for
readers take that for a restart. So the counters are the sums of the store's windows since the last
midnight (UTC), where they start at zero: readers miss the calls between their last scrape and
midnight. All processes give the same sums, without the calls that are not flushed yet.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from cache_monitor import api
from cache_monitor.calls import LOOKUPS
from cache_monitor.concurrency import TimedValue
from cache_monitor.conf import get_conf
from cache_monitor.errors import MissingExtra
from cache_monitor.reports import REASONS, Cache, Finding
from cache_monitor.reports.build import sums_since
from cache_monitor.reports.caches import lookups_by_group, once, same_entries
from cache_monitor.scan.base import STALE_REASONS
from cache_monitor.stats.sketches import Histogram, buckets_of
from cache_monitor.stats.window import OperationStats, Window
from cache_monitor.stores.base import StoreError
from cache_monitor.stores.rows import DAY, HOUR

try:
    from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.metrics_core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )
    from prometheus_client.registry import Collector
except ImportError as error:
    raise MissingExtra("prometheus_client") from error

__all__ = ["CacheMonitorCollector", "register"]

logger = logging.getLogger("cache_monitor")


def beginning(now: float, retention: float) -> int:
    """When the sums of ``now`` began at zero (Unix time). With a ``retention`` (seconds) under a
    day they would shrink from midnight on; then they start every hour."""
    length = DAY if retention >= DAY else HOUR
    return int(now // length) * length


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
    "errors": (
        "Calls of the cache that raised an exception; an incr of an absent key is none.",
        "operation",
    ),
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
    counters = {
        name: CounterMetricFamily(f"cache_monitor_{name}", text, labels=("alias", *labels))
        for name, (text, *labels) in _TEXTS.items()
    }
    return counters, HistogramMetricFamily(
        "cache_monitor_call_duration_seconds",
        "How long the calls of the cache took.",
        labels=("alias", "operation"),
    )


def counter_metrics(windows: Mapping[str, Window]) -> list[Metric]:
    made, seconds = counter_families()
    for alias, window in windows.items():
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
    made["errors"].add_metric(labels, stats.faults)
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
_GAUGES = {
    "entries": ("Entries in the cache at its last scan.", *_INSIDE),
    "entries_limit": ("Entries that the cache may hold.", *_INSIDE),
    "memory_bytes": ("Bytes in the cache at its last scan.", *_INSIDE),
    "memory_limit_bytes": ("Bytes that the cache's server may hold.", *_INSIDE),
    "stale_bytes": ("Bytes of the stale entries among those scanned.", *_INSIDE),
    "stale_entries": ("Entries that no longer earn their place, by why.", *_INSIDE, "reason"),
    "key_group_lookups": (
        f"Lookups of the last {MINUTES} minutes in the busiest key groups.",
        *("alias", "key_group", "outcome"),
    ),
    "findings": ("Caching mistakes that the last hour shows.", "alias", "code", "severity"),
    "processes": (f"Processes heard of in the last {MINUTES} minutes.",),
    "newest_record_timestamp_seconds": ("When the newest call was made that is known.",),
    "counters_start_timestamp_seconds": ("When the counters last started at zero.",),
}
"""The help text of each gauge, and its labels."""


def gauge_families() -> Families:
    made: Families = {name: _gauge(name, *about) for name, about in _GAUGES.items()}
    made["evictions"] = CounterMetricFamily(
        "cache_monitor_evictions",
        "Entries that the cache's server has evicted since its start.",
        labels=_INSIDE,
    )
    return made


def store_up(is_up: bool) -> Metric:
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
    made["counters_start_timestamp_seconds"].add_metric((), counted_since)
    found = Counter((each.alias, each.code, each.severity) for each in findings)
    for labels, number in sorted(found.items()):
        made["findings"].add_metric(labels, number)
    made["processes"].add_metric((), report.quality.processes)
    if report.quality.newest_record_at is not None:
        newest = datetime.fromisoformat(report.quality.newest_record_at)
        made["newest_record_timestamp_seconds"].add_metric((), newest.timestamp())
    for name, cache in once(report.caches).items():
        _add_memory(made, name, cache, ", ".join(same_entries(name, report.caches)))
    for name, cache in report.caches.items():
        for group, hits, misses in lookups_by_group(cache.key_groups, GROUPS):
            made["key_group_lookups"].add_metric((name, group, "hit"), hits)
            made["key_group_lookups"].add_metric((name, group, "miss"), misses)
    yield from made.values()


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


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"cache_monitor_{name}", text, labels=labels)


FRESH_FOR = 3.0
"""Seconds for which one reading of the store serves every scrape. Below any scrape interval: the
readings of two workers differ."""
FINDINGS_FRESH_FOR = 60.0
"""Seconds, likewise for the findings."""


class CacheMonitorCollector(Collector):
    """Collects every cache, or ``alias``, for a registry of ``prometheus_client``.

    Never raises: where the store cannot be read, only ``cache_monitor_store_up`` is left, at 0.
    """

    def __init__(self, alias: str | None = None, fresh_for: float = FRESH_FOR) -> None:
        self._alias = alias
        self._fresh_for = fresh_for
        self._metrics: TimedValue[Sequence[Metric]] = TimedValue()
        # It takes a report of an hour, and hardly changes within a minute.
        self._findings: TimedValue[Sequence[Finding]] = TimedValue()
        self._found: Sequence[Finding] = ()
        self._has_failed = False

    def describe(self) -> Iterable[Metric]:
        """The metrics without their values: registering must not read the store."""
        counted, seconds = counter_families()
        return [*counted.values(), seconds, *gauge_families().values()]

    def collect(self) -> Iterable[Metric]:
        """The metrics as they are now, or were a few seconds ago."""
        return self._metrics.get(self._read_safely, self._fresh_for)

    def _read_safely(self) -> list[Metric]:
        try:
            return list(self._read())
        except Exception as error:
            if not self._has_failed:
                self._has_failed = True
                logger.error("The metrics could not be made.", exc_info=error)
            return []

    def _read(self) -> Iterator[Metric]:
        now = time.time()
        since = beginning(now, get_conf().retention)
        try:
            windows = sums_since(since, now, self._alias)
        except StoreError:
            yield store_up(False)
            return
        yield store_up(True)
        yield from counter_metrics(windows)
        with suppress(StoreError):
            self._found = self._findings.get(self._read_findings, FINDINGS_FRESH_FOR)
        yield from gauge_metrics(since, self._found, self._alias)

    def _read_findings(self) -> Sequence[Finding]:
        report = api.report(alias=self._alias)
        if report.quality.store_problem is not None:
            raise StoreError(report.quality.store_problem)
        return report.findings


def register(registry: CollectorRegistry = REGISTRY) -> CacheMonitorCollector:
    """Add the caches to ``registry``; raises ``ValueError`` where it has them."""
    collector = CacheMonitorCollector()
    registry.register(collector)
    return collector


def exposition(alias: str | None = None) -> str:
    """The metrics in Prometheus's text format, read now."""
    text: str = generate_latest(_alone(CacheMonitorCollector(alias, fresh_for=0.0))).decode()
    return text


_scraped = CacheMonitorCollector()


def scrape(accept: str) -> tuple[bytes, str]:
    """The metrics and their content type, in the format that the header ``accept`` asks for."""
    encode, content_type = choose_encoder(accept)
    return encode(_alone(_scraped)), content_type


def _alone(collector: CacheMonitorCollector) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(collector)
    return registry
