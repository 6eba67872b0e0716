"""Figures as people read them."""

from __future__ import annotations

import pytest
from django.utils import translation

from cache_monitor.dashboard import formats


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (0.0, "0%"),
        (1.0, "100%"),
        (0.9167, "91.7%"),
        (0.99999, ">99.9%"),
        (0.00001, "<0.1%"),
    ],
)
def test_only_a_true_ratio_of_one_reads_as_100_per_cent(value: float | None, expected: str) -> None:
    assert formats.ratio(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, "–"),
        (0.0, "0 s"),
        (0.0000004, "0.40 µs"),
        (0.000238, "238 µs"),
        (0.0021, "2.10 ms"),
        (0.0136, "13.6 ms"),
        (1.5, "1.50 s"),
        (4000.0, "1 h 6 min"),
    ],
)
def test_a_duration_has_the_unit_that_fits(seconds: float | None, expected: str) -> None:
    assert formats.duration(seconds).replace("\u202f", " ") == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, "–"),
        (-1.0, "0 s"),
        (59.4, "59 s"),
        (60.0, "1 min"),
        (7260.0, "2 h 1 min"),
        (90000.0, "1 d 1 h"),
    ],
)
def test_an_age_has_its_two_largest_units(seconds: float | None, expected: str) -> None:
    assert formats.age(seconds).replace("\u202f", " ") == expected


def test_figures_are_localised() -> None:
    with translation.override("de"):
        assert formats.count(1234567) == "1.234.567"
        assert formats.ratio(0.9167) == "91,7 %"
        assert formats.duration(0.0021) == "2,10\u202fms"


def test_what_nobody_knows_is_a_dash() -> None:
    assert formats.count(None) == formats.size(None) == "–"
    assert formats.about("–", exact=False) == "–"


def test_an_estimate_is_marked() -> None:
    assert formats.about("12", exact=False) == "~12"
    lost = formats.duration(-5)
    assert formats.about(lost, exact=False) == f"~\u202f{lost}"
    assert formats.about("12", exact=True) == formats.about("12", exact=None) == "12"


def test_a_long_key_keeps_its_ends() -> None:
    shown = formats.cut("begin" + "x" * 5000 + "end")
    assert len(shown) == 100
    assert shown.startswith("begin")
    assert shown.endswith("end")


def test_characters_that_nobody_sees_are_written_out() -> None:
    assert formats.visible("a\u202eb\nc\x00") == "a\\u202eb\\nc\\x00"
    assert formats.visible("schlüssel:é") == "schlüssel:é"


@pytest.mark.parametrize(
    ("now", "before", "text"),
    [
        (120, 100, "+20.0%"),
        (75, 100, "\u221225.0%"),
        (100, 100, "±0"),
        (5000, 100, "+4,900%"),
        (0, 100, "\u2212100.0%"),
        (5, 0, ""),
        (None, 5, ""),
        (5, None, ""),
        (-1.0, 2.0, ""),
        (1.0, -2.0, ""),
    ],
)
def test_a_change_is_told_where_it_says_something(
    now: float | None, before: float | None, text: str
) -> None:
    assert formats.change(now, before) == text


def test_a_ratio_changes_by_points() -> None:
    assert formats.points(0.9, 0.875) == "+2.5 points"
    assert formats.points(0.5, 0.75) == "\u221225.0 points"
    assert formats.points(None, 0.75) == ""


def test_time_lost_has_a_minus() -> None:
    assert formats.duration(-0.0424) == "\u2212" + formats.duration(0.0424)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (0.25, "0.25"), (1.5, "1.5"), (8.0, "8"), (13.0, "13"), (0.00423, "0.0042")],
)
def test_a_factor_has_two_significant_digits(value: float, text: str) -> None:
    assert formats.significant(value) == text
