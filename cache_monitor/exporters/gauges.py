"""The gauges, from the report of the last minutes."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from cache_monitor import api
from cache_monitor.reports.build import once, same_entries
from cache_monitor.reports.schema import Cache, Finding, KeyGroup, Report
from cache_monitor.scan.snapshot import STALE_REASONS
from cache_monitor.stats.details import OTHER_GROUPS

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


def families() -> Families:
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


def metrics(
    counted_since: int, findings: Iterable[Finding], alias: str | None = None
) -> Iterator[Metric]:
    """The metrics of all caches, or of ``alias``; the counters began at ``counted_since``."""
    report = api.report(since=datetime.now(UTC) - timedelta(minutes=MINUTES), alias=alias)
    if report.quality.store_problem is not None:
        return  # rather than false zeros
    made = families()
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
