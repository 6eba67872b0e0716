"""Evicted takes evidence, and so does lost."""

import pytest

from cache_monitor.trace.events import EvictionReading, thinned
from cache_monitor.trace.history import LossCause, cause_of, why_gone


def counted(*readings: tuple[int, int], boot: str = "a") -> list[EvictionReading]:
    return [EvictionReading(at, evictions, boot) for at, evictions in readings]


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ([], None),
        (counted((0, 5), (15, 5)), None),
        (counted((0, 5), (25, 5)), "lost"),
        (counted((0, 5), (25, 6)), "evicted"),
        (counted((0, 5), (15, 6), (25, 6)), "evicted"),
        (counted((0, 5), (5, 6), (25, 6)), "lost"),
        (counted((0, 5), (25, 5), (35, 9)), "lost"),
        (counted((25, 0)), "lost"),
        (counted((25, 3)), "unknown"),
        (counted((15, 3), (25, 4)), "evicted"),
        (counted((0, 5)) + counted((25, 0), boot="b"), "lost"),
        (counted((0, 5)) + counted((25, 1), boot="b"), "unknown"),
        ([EvictionReading(0, None, "", False), EvictionReading(25, None, "", False)], "lost"),
        ([EvictionReading(0, None, "", False), EvictionReading(25, None, "", True)], "evicted"),
        ([EvictionReading(25, None, "", False)], "unknown"),
        ([EvictionReading(25, None, "", True)], "evicted"),
        ([EvictionReading(0, None), EvictionReading(25, None)], "unknown"),
        # Each of two hosts has a server of its own by the same name.
        (counted((0, 5)) + counted((2, 5), boot="b") + counted((25, 5)), "unknown"),
        (
            counted((-5, 5), boot="b") + counted((0, 5), (25, 5)) + counted((26, 5), boot="b"),
            "unknown",
        ),
        ([EvictionReading(0, 5), EvictionReading(25, 5, behind=True)], "lost"),
        ([EvictionReading(0, None, "", False), EvictionReading(25, None, "b", True)], "evicted"),
        # Either may have been the cause.
        ([EvictionReading(0, None, "a", False), EvictionReading(25, None, "b", True)], "unknown"),
        ([EvictionReading(0, 5), EvictionReading(25, 6, behind=True)], "unknown"),
    ],
)
def test_an_entry_that_went_between_10_and_20(
    readings: list[EvictionReading], expected: str | None
) -> None:
    assert why_gone(10, 20, readings) == expected


def test_of_readings_that_say_the_same_the_first_and_the_last_are_kept() -> None:
    readings = counted((0, 1), (1, 1), (2, 1), (3, 2), (4, 2), (5, 1))
    assert thinned(readings, 100) == counted((0, 1), (2, 1), (3, 2), (4, 2), (5, 1))
    assert thinned(readings, 2) == counted((4, 2), (5, 1))


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        (counted((0, 5), (25, 5)), None),
        (counted((0, 5)) + counted((25, 0), boot="b"), LossCause("restart", 25)),
        (
            [EvictionReading(0, 5), EvictionReading(15, 5, behind=True), EvictionReading(25, 5)],
            LossCause("replica", 15),
        ),
        ([EvictionReading(0, 5, "a", behind=True), EvictionReading(25, 0, "b")], None),
        # A directory that was not there yet, or was not there for a while.
        ([EvictionReading(0, None, "", False), EvictionReading(25, None, "b", False)], None),
        (counted((0, 5)) + counted((35, 0)) + counted((45, 0), boot="b"), None),
    ],
)
def test_what_took_away_an_entry_between_10_and_20(
    readings: list[EvictionReading], expected: LossCause | None
) -> None:
    assert cause_of(10, 20, readings) == expected
