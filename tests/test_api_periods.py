"""Moments and durations as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from cache_monitor.api import AHEAD, parse_duration, parse_moment
from cache_monitor.stats.window import rfc3339
from tests.dashboard.reports import NOW


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", timedelta(minutes=90)),
        ("1h30m", timedelta(minutes=90)),
        ("45s", timedelta(seconds=45)),
        (" 2D ", timedelta(days=2)),
        ("1w", timedelta(weeks=1)),
    ],
)
def test_a_duration_is_read(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected
    assert parse_moment(text, NOW) == NOW - expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T11:00:00Z",
        "2026-11-22T12:00:00+01:00",
        "2026-11-22T12:00:00 01:00",
        "2026-11-22T11:00:00.000Z",
    ],
)
def test_a_time_is_read(text: str) -> None:
    """Also where a URL has turned the offset's plus sign into a space."""
    assert parse_moment(text, NOW) == datetime(2026, 11, 22, 11, tzinfo=UTC)


def test_a_time_without_an_offset_is_in_the_current_zone() -> None:
    with timezone.override("Europe/Paris"):
        assert parse_moment("2026-11-22 12:00", NOW) == datetime(2026, 11, 22, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["", "h", "5", "-5m", "\u0665m", "1.5h", "now", "2026-13-01", "9999999999d"],
)
def test_nonsense_is_refused_with_advice(text: str) -> None:
    with pytest.raises(ValueError, match=r"90m.*RFC 3339"):
        parse_moment(text, NOW)


@pytest.mark.parametrize(
    "text",
    [
        "9999999d",
        "999999999w",
        "3000w",
        "0001-01-01",
        "0001-01-01T00:00:00+14:00",
        "1969-12-31T23:59:59Z",
    ],
)
def test_what_is_too_long_ago_is_told_to_be(text: str) -> None:
    with pytest.raises(ValueError, match="too long ago"):
        parse_moment(text, NOW)


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-14:00", "2027-01-01"])
def test_what_lies_far_ahead_is_brought_near(text: str) -> None:
    """Nothing is known of it, and it would make the report long."""
    assert parse_moment(text, NOW) == NOW + AHEAD


def test_a_long_nonsense_is_cut() -> None:
    with pytest.raises(ValueError, match="…") as caught:
        parse_moment("x" * 10_000, NOW)
    assert len(str(caught.value)) < 300


def test_a_moment_is_written_to_the_second() -> None:
    assert rfc3339(NOW) == "2026-11-22T12:00:00Z"
