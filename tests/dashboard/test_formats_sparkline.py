"""The lines beside a figure."""

from __future__ import annotations

from cache_monitor.dashboard.formats import sparkline


def test_all_hits_are_at_the_top_and_all_misses_at_the_bottom() -> None:
    assert sparkline([1.0, 0.0]) == ["0.0,1.0 100.0,19.0"]


def test_steps_without_lookups_interrupt_the_line() -> None:
    lines = sparkline([0.5, 0.5, None, 0.5, 0.5])
    assert lines == ["0.0,10.0 25.0,10.0", "75.0,10.0 100.0,10.0"]


def test_a_new_site_begins_at_its_first_lookup() -> None:
    assert sparkline([*[None] * 50, 1.0, 1.0]) == ["0.0,1.0 100.0,1.0"]


def test_a_single_step_is_a_dot() -> None:
    assert sparkline([None, 1.0]) == ["0.0,1.0 0.0,1.0"]


def test_without_lookups_there_is_no_line() -> None:
    assert sparkline([None] * 3) == []
    assert sparkline([]) == []
