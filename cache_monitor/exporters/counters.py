"""The metrics that only grow: sums of the store's windows as Prometheus counts them.

A report covers a period that moves with the clock, so its figures go up and down. A counter must
not: whoever reads it takes each step down for a restart, and all that follows for new. So these
are the sums of everything in the store since the last midnight (UTC). They start again from zero
at the next one, which is what a counter may do, and which costs the readers what was called
between their last look and midnight.

Every process that is asked gives the same sums, whichever it is: they are the store's alone. What
a process has counted and not yet brought there is left out.
"""

from itertools import accumulate
from typing import NamedTuple

from django.conf import settings
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily

from cache_monitor.reports.series import REASONS
from cache_monitor.stats.codec import CorruptPayload, decode
from cache_monitor.stats.histogram import Histogram, buckets_of
from cache_monitor.stats.window import OperationStats, Window
from cache_monitor.stores.opening import get_store

HOUR, DAY = 3600, 86400


class CounterTotals(NamedTuple):
    """What each alias of ``CACHES`` did from ``since`` (Unix time) on, and how many windows of
    the store could not be read."""

    since: int
    windows: dict[str, Window]
    corrupt: int


def since_midnight(now: float, retention: float, alias: str | None = None) -> CounterTotals:
    """The sums of all caches, or of ``alias``. Raises :class:`StoreError`.

    A store that keeps less than a day (``retention``, seconds) would let the sums shrink before
    the day is over; there they start again with every hour.
    """
    since = beginning(now, retention)
    windows = {name: Window(since, DAY) for name in settings.CACHES if alias in (None, name)}
    corrupt = 0
    # In one read: between two, a roll-up could move a row from one to the other. Stretches of
    # all lengths begin with the hour and, but for the shorter ones, with the day.
    for row in get_store().read("window", since, int(now) + HOUR, alias):
        if row.alias in windows:
            try:
                windows[row.alias].merge(decode(row.payload, Window))
            except CorruptPayload:
                corrupt += 1
    return CounterTotals(since, windows, corrupt)


def beginning(now: float, retention: float) -> int:
    """The moment (Unix time) at which the sums of ``now`` began at zero."""
    length = DAY if retention >= DAY else HOUR
    return int(now // length) * length


LOOKUPS = frozenset({"get", "get_many", "get_or_set"})

BOUNDS = tuple(2.0**power for power in range(-19, 2))
"""The upper bounds of the histogram's buckets in seconds, 1.9 µs to 2 s. Powers of two: there our
own buckets end too, so that no call is put into a neighbour."""
_FIRST_ABOVE = buckets_of(BOUNDS)

_PLACES = 4
"""Digits of a sum of seconds. A sum of floats depends on the order of its parts, which a roll-up
changes; the last digits must not make a counter go down."""


class Counters(NamedTuple):
    """The metrics, one family each."""

    lookups: CounterMetricFamily
    errors: CounterMetricFamily
    interrupted: CounterMetricFamily
    misses: CounterMetricFamily
    bytes: CounterMetricFamily
    dropped: CounterMetricFamily
    culled: CounterMetricFamily
    seconds: HistogramMetricFamily


def families() -> Counters:
    """The metrics, without values."""
    return Counters(
        lookups=CounterMetricFamily(
            "cache_monitor_lookups",
            "Keys looked up in the cache, by whether they were there.",
            labels=("alias", "operation", "outcome"),
        ),
        errors=CounterMetricFamily(
            "cache_monitor_errors",
            "Calls of the cache that raised an exception.",
            labels=("alias", "operation"),
        ),
        interrupted=CounterMetricFamily(
            "cache_monitor_interrupted_calls",
            "Calls of the cache that something from outside ended; none of the errors.",
            labels=("alias", "operation"),
        ),
        misses=CounterMetricFamily(
            "cache_monitor_explained_misses",
            "Lookups that missed, by why. Those of unknown reason are in no series.",
            labels=("alias", "reason"),
        ),
        bytes=CounterMetricFamily(
            "cache_monitor_value_bytes",
            "Bytes of the values read and written, of those whose size is known.",
            labels=("alias", "direction"),
        ),
        dropped=CounterMetricFamily(
            "cache_monitor_dropped_calls",
            "Calls of the cache that were made and could not be recorded.",
            labels=("alias",),
        ),
        culled=CounterMetricFamily(
            "cache_monitor_culled_entries",
            "Entries that caches without a counter threw out to keep to MAX_ENTRIES.",
            labels=("alias",),
        ),
        seconds=HistogramMetricFamily(
            "cache_monitor_call_duration_seconds",
            "How long the calls of the cache took.",
            labels=("alias", "operation"),
        ),
    )


def metrics(totals: CounterTotals) -> Counters:
    """The metrics of ``totals``."""
    made = families()
    for alias, window in totals.windows.items():
        _add_window(made, alias, window)
        for name, stats in sorted(window.operations.items()):
            _add_operation(made, alias, name, stats)
    return made


def _add_window(made: Counters, alias: str, window: Window) -> None:
    # Zeros too: of a series that begins above zero nobody can tell how much is new.
    for reason in REASONS:
        made.misses.add_metric((alias, reason), window.reasons.get(reason, 0))
    made.dropped.add_metric((alias,), window.dropped)
    if window.culled is not None:
        made.culled.add_metric((alias,), window.culled)
    for direction, size in (("read", window.bytes_read), ("written", window.bytes_written)):
        if size is not None:
            made.bytes.add_metric((alias, direction), size)


def _add_operation(made: Counters, alias: str, operation: str, stats: OperationStats) -> None:
    labels = (alias, operation)
    if operation in LOOKUPS:
        made.lookups.add_metric((*labels, "hit"), stats.hits)
        made.lookups.add_metric((*labels, "miss"), stats.misses)
    made.errors.add_metric(labels, stats.errors)
    made.interrupted.add_metric(labels, stats.interrupted)
    made.seconds.add_metric(labels, cumulative(stats.times), round(stats.seconds, _PLACES))


def cumulative(times: Histogram) -> list[tuple[str, int]]:
    """Our histogram as Prometheus wants them: upper bound, and how many calls were below it."""
    within = [0] * (len(BOUNDS) + 1)
    for bucket, calls in times.items():
        within[_place(bucket)] += calls
    bounds = [*map(repr, BOUNDS), "+Inf"]
    return list(zip(bounds, accumulate(within), strict=True))


def _place(bucket: int) -> int:
    return next((at for at, above in enumerate(_FIRST_ABOVE) if bucket < above), len(BOUNDS))
