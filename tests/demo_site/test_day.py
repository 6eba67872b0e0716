"""The day that the demo's traffic follows."""

from __future__ import annotations

from itertools import pairwise

import pytest
from shop.day import HOURS, Day

HOURLY = Day(seconds=HOURS)
"""A day whose seconds are hours."""


def test_every_moment_has_visitors_and_none_more_than_the_busiest() -> None:
    shares = [HOURLY.share(minute / 60) for minute in range(HOURS * 60)]

    assert min(shares) > 0
    assert max(shares) == 1


def test_the_evening_is_busy_and_the_night_is_quiet() -> None:
    assert HOURLY.share(20) == 1
    assert HOURLY.share(4) < HOURLY.share(12) / 5


def test_it_changes_without_jumps() -> None:
    shares = [HOURLY.share(minute / 60) for minute in range(HOURS * 60 + 1)]

    assert max(abs(a - b) for a, b in pairwise(shares)) < 0.01


def test_a_day_is_followed_by_the_same_day() -> None:
    day = Day(seconds=240, starts_at=6)

    assert [day.share(240 + second) for second in range(240)] == [
        pytest.approx(day.share(second)) for second in range(240)
    ]


def test_it_begins_with_the_hour_that_is_asked_for() -> None:
    assert Day(seconds=240, starts_at=20).share(0) == HOURLY.share(20)
