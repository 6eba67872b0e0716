"""The lines beside a figure: of hit ratios, of counts."""

from __future__ import annotations

from msgspec.structs import replace

from cache_monitor.dashboard.formats import counts, sparkline
from cache_monitor.reports.schema import Point
from tests.dashboard.reports import point


def step(lookups: int, hits: int = 0) -> Point:
    return replace(point(0), lookups=lookups, hits=hits, misses=lookups - hits)


def test_all_hits_are_at_the_top_and_all_misses_at_the_bottom() -> None:
    assert sparkline([step(4, 4), step(4, 0)]) == ["0.0,1.0 100.0,19.0"]


def test_steps_without_lookups_interrupt_the_line() -> None:
    lines = sparkline([step(2, 1), step(2, 1), step(0), step(2, 1), step(2, 1)])
    assert lines == ["0.0,10.0 25.0,10.0", "75.0,10.0 100.0,10.0"]


def test_a_new_site_begins_at_its_first_lookup() -> None:
    assert sparkline([*[step(0)] * 50, step(1, 1), step(1, 1)]) == ["0.0,1.0 100.0,1.0"]


def test_a_single_step_is_a_dot() -> None:
    assert sparkline([step(0), step(1, 1)]) == ["0.0,1.0 0.0,1.0"]


def test_counts_rise_from_the_bottom_to_the_most() -> None:
    assert counts([0, 5, 10]) == "0.0,19.0 50.0,10.0 100.0,1.0"
    assert counts([0, 0]) == "0.0,19.0 100.0,19.0"
    assert counts([7]) == "0.0,1.0 0.0,1.0"


def test_without_lookups_there_is_no_line() -> None:
    assert sparkline([step(0)] * 3) == []
    assert sparkline([]) == []
