"""Whose work the time between misses and writes was."""

from __future__ import annotations

from cache_monitor.stats.compute_time import Spans


def test_what_stands_alone_takes_its_whole_time() -> None:
    spans = Spans()
    assert spans.since(1.0, 4.0, 4.5) == 1.0
    assert spans.since(5.0, 6.0, 6.5) == 5.0


def test_what_was_missed_before_another_was_written_takes_the_time_from_there() -> None:
    spans = Spans()
    assert spans.since(1.0, 4.0, 4.5) == 1.0
    assert spans.since(2.0, 6.0, 6.5) == 4.5
    assert spans.since(3.0, 7.0, 7.5) == 6.5


def test_what_was_made_meanwhile_is_a_part() -> None:
    spans = Spans()
    assert spans.since(2.0, 3.0, 3.5) == 2.0
    assert spans.since(4.0, 5.0, 5.5) == 4.0
    assert spans.since(1.0, 7.0, 7.5) == 1.0
    # And that one stands before what was missed meanwhile and is written now.
    assert spans.since(4.5, 8.0, 8.5) == 7.5


def test_a_time_is_never_less_than_nothing() -> None:
    spans = Spans()
    spans.since(1.0, 4.0, 5.0)
    assert spans.since(2.0, 4.5, 6.0) == 4.5
