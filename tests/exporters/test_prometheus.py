"""The metrics: their names, their values, and who shows them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from django.core.cache import caches
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import cache_monitor
from cache_monitor import api, exporters
from cache_monitor.exporters import prometheus
from cache_monitor.exporters.prometheus import GROUPS
from cache_monitor.reports import Finding
from cache_monitor.stats.details import OTHER_GROUPS
from cache_monitor.stores.base import Store
from tests.dashboard.reports import HOSTILE, busy_cache, key_group, memory, report_of

GRAFANA = Path(exporters.__file__).parent / "grafana.json"
Samples = dict[tuple[str, ...], float]


def _samples(text: str) -> Samples:
    """Name and label values, in the labels' alphabetical order, of each sample."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _traffic() -> None:
    cache = caches["default"]
    cache.set("user:1", "a" * 100, 60)
    cache.get_many(["user:1", "user:2", "user:3"])
    cache.get("user:1")
    with pytest.raises(ValueError, match="not found"):
        cache.incr("absent")
    with pytest.raises(TypeError):
        cache.incr("user:1")
    assert cache_monitor.flush()


def _finding() -> Finding:
    return Finding(
        code="no-expiry",
        severity="warning",
        alias="default",
        group=None,
        key=None,
        evidence={},
        advice="",
        docs="",
    )


def test_lookups_calls_and_errors_are_counted(store: Store) -> None:
    _traffic()
    found = _samples(prometheus.exposition())
    assert found["cache_monitor_lookups_total", "default", "get_many", "hit"] == 1
    assert found["cache_monitor_lookups_total", "default", "get_many", "miss"] == 2
    assert found["cache_monitor_lookups_total", "default", "get", "hit"] == 1
    assert found["cache_monitor_errors_total", "default", "incr"] == 1
    assert found["cache_monitor_call_duration_seconds_count", "default", "set"] == 1
    assert found["cache_monitor_call_duration_seconds_bucket", "default", "+Inf", "get"] == 1
    assert found["cache_monitor_value_bytes_total", "default", "written"] >= 100
    assert found["cache_monitor_dropped_calls_total", "other"] == 0
    assert found["cache_monitor_store_up",] == 1
    assert found["cache_monitor_key_group_lookups", "default", "user:{int}", "miss"] == 2


def test_one_cache_alone_can_be_asked_for(store: Store) -> None:
    _traffic()
    text = prometheus.exposition("default")
    assert 'alias="default"' in text
    assert 'alias="other"' not in text


def test_what_is_in_the_caches_and_what_is_wrong_are_gauges(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour = replace(report_of(default=busy_cache()), findings=[_finding(), _finding()])
    minutes = report_of(default=busy_cache())
    # The default period is an hour.
    monkeypatch.setattr(api, "report", lambda since=None, alias=None: minutes if since else hour)
    found = _samples(prometheus.exposition())
    assert found["cache_monitor_findings", "default", "no-expiry", "warning"] == 2
    assert found["cache_monitor_memory_bytes", "default", "default"] == 4 * 2**20
    assert found["cache_monitor_entries", "default", "default"] == 30
    assert found["cache_monitor_stale_entries", "default", "default", "idle"] == 1
    assert ("cache_monitor_stale_entries", "default", "default", "expired") not in found
    assert ("cache_monitor_evictions_total", "default", "default") not in found


@pytest.mark.parametrize(("scope", "shown"), [("shared", True), ("per process", False)])
def test_evictions_count_where_the_server_counts_them(
    scope: str, shown: bool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = replace(memory("a"), evictions=7, scope=scope)
    report = report_of(default=replace(busy_cache(), memory=seen))
    monkeypatch.setattr(api, "report", lambda **_: report)
    found = _samples(prometheus.exposition())
    assert (("cache_monitor_evictions_total", "default", "default") in found) is shown


def test_aliases_of_the_same_entries_are_told_once_with_their_names(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = replace(busy_cache(), memory=replace(busy_cache().memory, counted_in="default"))
    report = report_of(default=busy_cache(), twin=twin, other=busy_cache())
    monkeypatch.setattr(api, "report", lambda **_: report)
    found = _samples(prometheus.exposition())
    entries = {key[1:]: value for key, value in found.items() if key[0] == "cache_monitor_entries"}
    assert entries == {("default", "default, twin"): 30, ("other", "other"): 30}
    # What was asked of each is its own.
    assert any(key[:2] == ("cache_monitor_key_group_lookups", "twin") for key in found)


def test_key_groups_are_bounded_and_none_is_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = [key_group(f"group:{number}") for number in range(GROUPS + 30)]
    groups.append(key_group(OTHER_GROUPS))
    report = report_of(default=replace(busy_cache(), key_groups=groups))
    monkeypatch.setattr(api, "report", lambda **_: report)
    found = _samples(prometheus.exposition())
    hits = [value for name, value in found.items() if name[0].endswith("lookups") and "hit" in name]
    assert len(hits) == GROUPS + 1
    assert sum(hits) == sum(each.hits for each in groups)


def test_a_hostile_name_breaks_no_line(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    report = report_of(default=busy_cache(HOSTILE))
    monkeypatch.setattr(api, "report", lambda **_: report)
    assert ("cache_monitor_key_group_lookups", "default", HOSTILE, "hit") in _samples(
        prometheus.exposition()
    )


def test_a_registry_shows_the_caches_beside_its_own(store: Store) -> None:
    _traffic()
    registry = CollectorRegistry()
    Counter("pages", "Pages served.", registry=registry).inc()
    prometheus.register(registry)
    found = _samples(generate_latest(registry).decode())
    assert found["pages_total",] == 1
    assert found["cache_monitor_lookups_total", "default", "get", "hit"] == 1
    with pytest.raises(ValueError, match="Duplicated"):
        prometheus.register(registry)


def test_registering_does_not_read_the_store(broken_store: None) -> None:
    described = {metric.name for metric in prometheus.CacheMonitorCollector().describe()}
    assert "cache_monitor_lookups" in described
    assert all(not metric.samples for metric in prometheus.CacheMonitorCollector().describe())


def test_a_store_that_is_away_leaves_the_other_metrics_alone(broken_store: None) -> None:
    registry = CollectorRegistry()
    Counter("pages", "Pages served.", registry=registry).inc()
    prometheus.register(registry)
    found = _samples(generate_latest(registry).decode())
    assert found["pages_total",] == 1
    assert {name: value for name, value in found.items() if "cache_monitor" in name[0]} == {
        ("cache_monitor_store_up",): 0
    }


def test_a_fault_of_ours_leaves_the_other_metrics_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(api, "report", broken)
    registry = CollectorRegistry()
    Counter("pages", "Pages served.", registry=registry).inc()
    registry.register(prometheus.CacheMonitorCollector(fresh_for=0))
    for _ in range(2):
        assert _samples(generate_latest(registry).decode())["pages_total",] == 1
    assert len(caplog.records) == 1


def test_scrapes_close_together_share_one_reading(store: Store) -> None:
    collector = prometheus.CacheMonitorCollector(fresh_for=3600)
    first = list(collector.collect())
    _traffic()
    assert list(collector.collect()) == first
    assert list(prometheus.CacheMonitorCollector(fresh_for=0).collect()) != first


def _lint(promtool: str, text: str) -> tuple[int, str]:
    """What promtool says of metrics."""
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    return checked.returncode, checked.stdout + checked.stderr


def test_the_names_are_as_prometheus_wants_them(
    store: Store, promtool_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _traffic()
    assert _lint(promtool_path, prometheus.exposition()) == (0, "")
    seen = replace(memory("a"), evictions=7, limit_entries=5)
    report = report_of(default=replace(busy_cache(HOSTILE), memory=seen))
    monkeypatch.setattr(api, "report", lambda **_: replace(report, findings=[_finding()]))
    text = prometheus.exposition()
    described = {each.name for each in prometheus.CacheMonitorCollector().describe()}
    assert all(name in text for name in described)
    assert _lint(promtool_path, text) == (0, "")


def grafana_queries() -> list[str]:
    board = json.loads(GRAFANA.read_text())
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def test_the_dashboard_asks_for_every_metric_and_for_no_other() -> None:
    suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
    known = {
        metric.name + suffix
        for metric in prometheus.CacheMonitorCollector().describe()
        for suffix in suffixes[metric.type]
    }
    known.add("cache_monitor_store_up")
    asked = set(re.findall(r"cache_monitor_\w+", " ".join(grafana_queries())))
    assert asked - known == set()
    left = known - asked
    assert left == {"cache_monitor_counters_start_timestamp_seconds", "cache_monitor_stale_bytes"}


def test_the_panels_of_the_dashboard_lie_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    panels = json.loads(GRAFANA.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
