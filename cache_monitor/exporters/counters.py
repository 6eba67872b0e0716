"""The metrics that only grow: sums of the store's windows as Prometheus counts them.

A report's period moves with the clock, so its figures fall. A counter must not fall: readers take
that for a restart. So these are the sums of the store since the last midnight (UTC), where they
start at zero: readers miss the calls between their last scrape and midnight. All processes give the
same sums, without the calls that are not flushed yet.
"""

from itertools import accumulate
from typing import NamedTuple

from django.conf import settings
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric

from cache_monitor.reports.series import REASONS
from cache_monitor.stats.codec import CorruptPayload, decode
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


def families() -> tuple[Counters, HistogramMetricFamily]:
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


def metrics(totals: CounterTotals) -> list[Metric]:
    """The metrics of ``totals``."""
    made, seconds = families()
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
