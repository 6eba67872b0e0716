"""Metrics through OpenTelemetry, as a receiver of OTLP gets them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from django.core.cache import caches
from msgspec.structs import replace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

import cache_monitor
from cache_monitor import api
from cache_monitor.apps import start_exporters
from cache_monitor.concurrency import no_pause
from cache_monitor.exporters import opentelemetry
from cache_monitor.listeners import subscribers
from cache_monitor.stores.base import Store, get_store
from cache_monitor.worker import wiring
from tests.dashboard.reports import busy_cache, quiet_cache, report_of
from tests.exporters.receiver import Received, run_receiver


class Telemetry(NamedTuple):
    """What a site reports, what was received of it, and what makes it send."""

    metrics: opentelemetry.CallMetrics
    received: Received
    send: Callable[[], bool]


@pytest.fixture
def telemetry(store: Store) -> Iterator[Telemetry]:
    start_exporters()
    with run_receiver() as received:
        exporter = OTLPMetricExporter(f"{received.url}/v1/metrics")
        provider = MeterProvider([PeriodicExportingMetricReader(exporter, 3_600_000)])
        metrics = opentelemetry.start(provider.get_meter("test"))
        yield Telemetry(metrics, received, provider.force_flush)
        subscribers.remove(metrics)
        provider.shutdown()


def _sent(telemetry: Telemetry) -> Received:
    """What has been received once everything was sent."""
    assert cache_monitor.flush()
    assert telemetry.send()
    return telemetry.received


def test_calls_and_lookups_arrive(telemetry: Telemetry) -> None:
    cache = caches["default"]
    cache.set("user:1", "a", 60)
    for _ in range(3):
        cache.get("user:1")
    cache.get_many(["user:1", "user:2"])
    with pytest.raises(ValueError, match="not found"):
        cache.incr("absent")
    with pytest.raises(TypeError):
        cache.incr("user:1")
    received = _sent(telemetry)

    lookups = received.points("django.cache.lookups")
    assert {label: point.as_int for label, point in lookups.items()} == {
        ("default", "get", "hit"): 3,
        ("default", "get_many", "hit"): 1,
        ("default", "get_many", "miss"): 1,
    }
    durations = received.points("django.cache.operation.duration")
    assert durations["default", "get"].count == 3
    assert durations["default", "incr"].count == 1  # an ordinary answer
    assert durations["default", "incr", "TypeError"].count == 1
    assert 0 < durations["default", "get"].sum < 1
    assert list(durations["default", "get"].explicit_bounds) == opentelemetry.BOUNDARIES


def test_units_and_names_are_as_the_conventions_ask(telemetry: Telemetry) -> None:
    caches["default"].get("absent")
    received = _sent(telemetry)
    units = {each.name: each.unit for each in received.metrics}
    assert units["django.cache.operation.duration"] == "s"
    assert units["django.cache.lookups"] == "{key}"
    assert all(name == name.lower() and name.startswith("django.cache.") for name in units)


def test_reasons_of_misses_arrive(telemetry: Telemetry) -> None:
    caches["default"].get("absent")
    assert cache_monitor.flush()
    wiring.background_worker.stop()
    wiring.background_worker._writer.write(get_store(), last=True, pace=no_pause)
    wiring.background_worker.jobs.roll_trace(get_store(), int(time.time()) + 3600)
    subscribers.notify()
    assert telemetry.send()
    points = telemetry.received.points("django.cache.explained_misses")
    assert {label: point.as_int for label, point in points.items()} == {("default", "never_set"): 1}


def test_what_is_in_the_caches_arrives(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = report_of(default=busy_cache(), other=quiet_cache())
    monkeypatch.setattr(api, "report", lambda **_: report)
    received = _sent(telemetry)
    assert received.points("django.cache.memory.usage")["default",].as_int == 4 * 2**20
    assert received.points("django.cache.stale_entries")["default", "idle"].as_int == 1
    assert ("other",) not in received.points("django.cache.entries")


def test_aliases_of_the_same_entries_are_told_once_with_their_names(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = replace(busy_cache(), memory=replace(busy_cache().memory, counted_in="default"))
    report = report_of(default=busy_cache(), twin=twin)
    monkeypatch.setattr(api, "report", lambda **_: report)
    assert list(_sent(telemetry).points("django.cache.entries")) == [("default", "default, twin")]


def test_calls_that_were_passed_over_are_told(telemetry: Telemetry) -> None:
    telemetry.metrics.on_dropped(7)
    [point] = _sent(telemetry).points("django.cache.uncounted_calls").values()
    assert point.as_int == 7
