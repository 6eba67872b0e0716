"""Where the bars of the calls stand."""

from __future__ import annotations

import pytest

from cache_monitor.panel.present import NARROWEST, Colour, Timeline, colour_of, timelines
from cache_monitor.panel.request import CallRow
from tests.panel.making import call, rows_of


def drawn(rows: list[CallRow], ends: float) -> list[Timeline]:
    return timelines(rows, [f"call {number}" for number, _ in enumerate(rows, 1)], ends)


def test_a_call_stands_where_it_was_made_and_is_as_wide_as_it_took() -> None:
    [timeline] = drawn(rows_of(call("get", "a", True, at=25, took=50)), 100.0)
    [lane] = timeline.lanes
    [bar] = lane.bars
    assert (lane.alias, bar.number, bar.colour) == ("default", 1, "hit")
    assert (bar.x, bar.width, bar.title) == (25.0, 50.0, "call 1")


def test_a_short_call_is_wide_enough_to_be_seen_and_stays_on_the_axis() -> None:
    [timeline] = drawn(rows_of(call("get", "a", True, at=99.9999, took=0.00001)), 100.0)
    [bar] = timeline.lanes[0].bars
    assert bar.width == NARROWEST
    assert bar.x + bar.width <= 100.0


def test_each_cache_has_a_lane_in_the_order_of_its_first_call() -> None:
    rows = rows_of(
        call("get", at=0, took=40, alias="files"),
        call("get", at=40, took=40),
        call("get", at=80, took=10, alias="files"),
    )
    [timeline] = drawn(rows, 100.0)
    assert [(lane.alias, len(lane.bars)) for lane in timeline.lanes] == [
        ("files", 2),
        ("default", 1),
    ]


def test_the_work_of_a_miss_reaches_from_its_end_to_the_set_that_fills_it() -> None:
    rows = rows_of(
        call("get", "a", False, at=10, took=5), call("set", "a", at=60, took=5), route=None
    )
    [timeline] = drawn(rows, 100.0)
    [work] = timeline.lanes[0].work
    assert (work.number, work.x, work.width) == (1, 15.0, 45.0)
    assert work.milliseconds == pytest.approx(45.0)


def test_the_work_of_a_get_or_set_is_what_its_callable_took() -> None:
    rows = rows_of(call("get_or_set", "a", False, at=10, took=50, produced=40))
    [timeline] = drawn(rows, 100.0)
    [lane] = timeline.lanes
    assert (lane.bars[0].x, lane.bars[0].width) == (10.0, 10.0)
    assert (lane.work[0].x, lane.work[0].width) == (20.0, 40.0)


def test_calls_close_together_are_shown_enlarged_as_well() -> None:
    rows = rows_of(call("get", "a", True, at=50, took=1), call("get", "b", True, at=51, took=1))
    whole, part = drawn(rows, 100.0)
    assert whole.enlarged is not None
    assert (whole.enlarged.x, whole.enlarged.width) == (50.0, 2.0)
    assert part.begins == pytest.approx(50.0)
    assert part.ends == pytest.approx(52.0)
    assert [bar.width for bar in part.lanes[0].bars] == [50.0, 50.0]


def test_calls_all_over_the_request_are_shown_once() -> None:
    rows = rows_of(call("get", "a", True, at=10, took=1), call("get", "b", True, at=90, took=1))
    assert len(drawn(rows, 100.0)) == 1


def test_the_ticks_reach_from_the_beginning_to_the_end() -> None:
    [timeline] = drawn(rows_of(call("get", at=0, took=10)), 20.0)
    assert [tick.milliseconds for tick in timeline.ticks] == [0.0, 5.0, 10.0, 15.0, 20.0]
    assert [tick.anchor for tick in timeline.ticks] == [
        "start", "middle", "middle", "middle", "end",
    ]  # fmt: skip


def test_a_request_without_calls_has_no_timeline() -> None:
    assert drawn([], 100.0) == []


def test_a_call_that_outlasts_the_request_makes_the_axis_longer() -> None:
    [timeline] = drawn(rows_of(call("get", at=0, took=30)), 20.0)
    assert timeline.ends == pytest.approx(30.0)


@pytest.mark.parametrize(
    ("row", "colour"),
    [
        (call("get", "a", True), "hit"),
        (call("get", "a", False), "miss"),
        (call("get_many", ("a", "b"), (True, False)), "miss"),
        (call("set", "a"), "write"),
        (call("delete", "a"), "write"),
        (call("has_key", "a"), "other"),
        (call("incr", "a", error="ValueError"), "error"),
    ],
    ids=["get, hit", "get, miss", "get_many", "set", "delete", "has_key", "an error"],
)
def test_the_colour_says_what_a_call_did(row: tuple[object, ...], colour: Colour) -> None:
    assert colour_of(rows_of(row)[0]) == colour  # type: ignore[arg-type]  # a RawCall
