"""The caches for Prometheus: counters, histograms of latency, and gauges, read from the store.

Any worker process can be scraped, and has the figures of all. For when the counters begin see
:mod:`cache_monitor.exporters.metrics`.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from cache_monitor.concurrency import TimedValue
from cache_monitor.errors import MissingExtra

try:
    from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector
except ImportError as error:
    raise MissingExtra("prometheus_client") from error

from cache_monitor import api
from cache_monitor.conf import get_conf
from cache_monitor.exporters import metrics
from cache_monitor.exporters.metrics import since_midnight
from cache_monitor.reports.schema import Finding
from cache_monitor.stores.base import StoreError

__all__ = ["CacheMonitorCollector", "register"]

logger = logging.getLogger("cache_monitor")

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
        counted, seconds = metrics.counter_families()
        return [*counted.values(), seconds, *metrics.gauge_families().values()]

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
        try:
            totals = since_midnight(time.time(), get_conf().retention, self._alias)
        except StoreError:
            yield metrics.store_up(False)
            return
        yield metrics.store_up(True)
        yield from metrics.counter_metrics(totals)
        with suppress(StoreError):
            self._found = self._findings.get(self._read_findings, FINDINGS_FRESH_FOR)
        yield from metrics.gauge_metrics(totals.since, self._found, self._alias)

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
