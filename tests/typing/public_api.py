"""What a project's own code does with the package, as its type checker sees it.

Nothing here is run: ``tests/typing/test_public_api.py`` has mypy check it, as a project would.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, assert_type

from django.test import SimpleTestCase

import cache_monitor
from cache_monitor.exporters.opentelemetry import CacheSpansMiddleware
from cache_monitor.findings import finding_detected
from cache_monitor.middleware import CacheMonitorMiddleware
from cache_monitor.reports import Cache, Finding, HotKey, KeyGroup, Memory, Report
from cache_monitor.testing import (
    CacheCallsMixin,
    CapturedCalls,
    assert_cache_calls,
    capture_cache_calls,
)


def asks_for_a_report() -> None:
    report = cache_monitor.report(since=datetime.now(UTC), until=None, alias="default")
    assert_type(report, Report)
    cache = report.caches["default"]
    assert_type(cache, Cache)
    assert_type(cache.hits, int)
    assert_type(cache.hit_ratio, float | None)
    assert_type(cache.hot_keys[0], HotKey)
    assert_type(cache.key_groups[0], KeyGroup)
    assert_type(cache.memory, Memory)
    assert_type(report.findings[0], Finding)
    assert_type(cache_monitor.flush(), bool)


def is_told(sender: object, finding: Finding, **kwargs: Any) -> None:
    assert_type(finding.code, str)
    assert_type(finding.key, str | None)


def is_connected() -> None:
    finding_detected.connect(is_told)


def tests_its_own_calls() -> None:
    with capture_cache_calls() as captured:
        assert_type(captured, CapturedCalls)
    assert_type(captured.keys, tuple[str, ...])
    assert_type(captured.of(operation="get").hits, int)
    with assert_cache_calls(misses=0, alias="default") as found:
        assert_type(found, CapturedCalls)


class ItsOwnTests(CacheCallsMixin, SimpleTestCase):
    def test_a_page(self) -> None:
        with self.assertCacheCalls(misses=0) as found:
            assert_type(found, CapturedCalls)


MIDDLEWARE: Mapping[str, type] = {
    "views": CacheMonitorMiddleware,
    "spans": CacheSpansMiddleware,
}
