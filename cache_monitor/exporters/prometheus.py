"""The caches for Prometheus: counters, histograms of latency, and gauges, read from the store.

Any worker process can be asked, and tells of all of them. See
:mod:`cache_monitor.exporters.counters` for what the counters count, and from when on.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence

from cache_monitor.concurrency import new_lock
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
from cache_monitor.exporters import counters, gauges
from cache_monitor.exporters.counters import since_midnight
from cache_monitor.reports.schema import Finding
from cache_monitor.stores.base import StoreError

__all__ = ["CacheMonitorCollector", "register"]

logger = logging.getLogger("cache_monitor")

FRESH_FOR = 3.0
"""Seconds for which one reading of the store serves every scrape. Below the interval of any
scraper: of two workers asked within it the second could tell less than the first."""
FINDINGS_FRESH_FOR = 60.0
"""Seconds, likewise for the findings."""


class CacheMonitorCollector(Collector):
    """Tells a registry of ``prometheus_client`` about every cache, or about ``alias``.

    Never raises: a store that cannot be read leaves only ``cache_monitor_store_up`` at 0, and all
    that other collectors have to tell.
    """

    def __init__(self, alias: str | None = None, fresh_for: float = FRESH_FOR) -> None:
        self._alias = alias
        self._fresh_for = fresh_for
        self._lock = new_lock()
        self._read_at = float("-inf")
        self._metrics: list[Metric] = []
        self._found: Sequence[Finding] = ()
        self._searched_at = float("-inf")
        self._has_failed = False

    def describe(self) -> Iterable[Metric]:
        """The metrics without their values: registering must not read the store."""
        return [*counters.families(), *gauges.families().values()]

    def collect(self) -> Iterable[Metric]:
        """The metrics as they are now, or were a few seconds ago."""
        with self._lock:
            if time.monotonic() >= self._read_at + self._fresh_for:
                self._metrics = self._read_safely()
                self._read_at = time.monotonic()
            return self._metrics

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
            yield gauges.store_up(False)
            return
        yield gauges.store_up(True)
        yield from counters.metrics(totals)
        yield from gauges.metrics(totals.since, self._findings(), self._alias)

    def _findings(self) -> Sequence[Finding]:
        """What is wrong: that takes a report of an hour, and hardly changes within a minute."""
        if time.monotonic() >= self._searched_at + FINDINGS_FRESH_FOR:
            report = api.report(alias=self._alias)
            if report.quality.store_problem is not None:
                return self._found
            self._found, self._searched_at = report.findings, time.monotonic()
        return self._found


def register(registry: CollectorRegistry = REGISTRY) -> CacheMonitorCollector:
    """Let ``registry``, the process's default one unless given, show the caches.

    Raises ``ValueError`` where it shows them already.
    """
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
