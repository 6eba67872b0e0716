"""The charts' figures as tables."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from cache_monitor.dashboard.overview import (
    begins_at,
    chart_labels,
    chart_units,
    is_chart_empty,
    series,
)
from cache_monitor.dashboard.tables import AnySpec, Caches
from cache_monitor.reports import MissReasons, Point
from tests.dashboard.reports import NOW, at, busy_cache, point, quiet_cache, report_of


def spec(name: str, caches: Caches) -> AnySpec:
    return next(each for each in series(report_of(**caches)) if each.name == name)


def with_points(*points: Point) -> Caches:
    return {"default": replace(busy_cache(), series=list(points))}


def test_the_misses_of_all_caches_are_added_up_by_reason() -> None:
    one = replace(point(0), misses=3, miss_reasons=MissReasons(expired=2, evicted=1))
    other = replace(point(0), misses=4, miss_reasons=MissReasons(expired=4))
    caches = {
        "one": replace(busy_cache(), series=[one]),
        "other": replace(busy_cache(), series=[other]),
    }
    (record,) = spec("hit_ratio", caches).records()
    assert (record["misses.expired"], record["misses.evicted"]) == (6, 1)
    assert record["one.hit_ratio"] == 0.9
    assert {name for name in record if name.startswith("misses.")} == {
        f"misses.{name}" for name in chart_labels("hit_ratio")
    }


def test_a_step_without_lookups_has_no_reasons() -> None:
    nothing = replace(point(1), lookups=0, hits=0, misses=0, miss_reasons=None)
    newest, _ = spec("hit_ratio", with_points(point(0), nothing)).records()
    assert newest["misses.expired"] is None
    assert newest["default.hit_ratio"] is None


def test_the_latency_has_a_column_for_each_percentile() -> None:
    (record,) = spec("latency", with_points(point(0))).records()
    assert [record[f"default.{name}"] for name in ("p50", "p90", "p99")] == [0.0002, 0.001, 0.002]


def test_a_rate_is_of_whole_steps() -> None:
    """Half a step would look as if the traffic had ended."""
    records = spec("rate", with_points(*(point(place) for place in range(121)))).records()
    # 30 seconds each; the one that has just begun is not over.
    assert records[0]["default.operations_per_second"] is None
    assert records[1]["default.operations_per_second"] == 0.4
    assert (records[1]["default.hits"], records[1]["default.misses"]) == (9, 1)
    (alone,) = spec("rate", with_points(point(0))).records()
    assert alone["default.operations_per_second"] is None


def test_a_step_that_began_before_the_first_row_has_no_rate() -> None:
    """Steps of a day are longer than its rows: the oldest would look like a third of the others."""
    report = report_of(default=replace(busy_cache(), series=[point(n) for n in range(120)]))
    # Rows of a minute, the first from 11:01.
    report = replace(report, since=at(NOW - timedelta(minutes=58, seconds=30)))
    [rate] = [each for each in series(report) if each.name == "rate"]
    *_, third, second, first = (each["default.operations_per_second"] for each in rate.records())
    assert (first, second, third) == (None, None, 0.4)
    assert report.counted_seconds == 59 * 60


def test_the_memory_has_a_column_for_the_evictions_of_a_cache_whose_server_counts_them() -> None:
    counted = [replace(point(0), evictions=None), replace(point(1), evictions=0)]
    caches = {
        "default": replace(busy_cache(), series=[*counted, replace(point(2), evictions=1234)]),
        "files": busy_cache(),
    }
    memory = spec("memory", caches)
    assert [record["default.evictions"] for record in memory.records()[-3:]] == [1234, 0, None]
    assert {*memory.records()[0]} == {
        *("at", "default.memory", "default.evictions", "files.memory"),
    }
    assert [field.label for field in memory.columns][2] == "default evictions"
    assert "evicted" in chart_units(caches)["memory"]


def test_where_no_server_counts_evictions_the_memory_is_alone() -> None:
    caches = with_points(point(0))
    (record,) = spec("memory", caches).records()
    assert {*record} == {"at", "default.memory"}
    assert chart_units(caches)["memory"] == "bytes in the cache"


def test_evictions_are_drawn_where_the_memory_itself_is_not_known() -> None:
    caches = with_points(replace(point(0), memory_bytes=None, evictions=0))
    assert not is_chart_empty("memory", caches)


def test_the_scripts_are_told_how_to_call_the_evictions_of_a_cache() -> None:
    assert chart_labels("memory") == {"evictions": "Evictions", "evictions_of": "%s evictions"}


def test_every_chart_is_empty_where_nothing_was_measured() -> None:
    blank = replace(point(0), lookups=0, hits=0, misses=0, calls=0, p99=None, memory_bytes=None)
    caches = with_points(blank)
    assert series(report_of(**caches)) == []
    assert begins_at(caches) is None
    names = [each.name for each in series(report_of(default=busy_cache()))]
    assert [is_chart_empty(name, caches) for name in names] == [True] * 5
    assert [is_chart_empty(name, {"default": busy_cache()}) for name in names] == [False] * 5


def test_a_cache_that_did_nothing_has_no_column() -> None:
    caches = {"default": busy_cache(), "files": quiet_cache()}
    assert not [name for name in spec("latency", caches).records()[0] if "files" in name]
