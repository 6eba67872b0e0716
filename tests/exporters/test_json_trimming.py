"""The top of each list."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from cache_monitor.exporters.json import parse_top, trim
from tests.dashboard.reports import busy_cache, hot_key, report_of


def test_lists_are_cut_and_figures_stay() -> None:
    keys = [hot_key(f"user:{number}") for number in range(5)]
    report = report_of(default=replace(busy_cache(), hot_keys=keys))
    cut = trim(report, 2).caches["default"]
    assert cut.hot_keys == keys[:2]
    assert cut.lookups == report.caches["default"].lookups
    assert cut.series == report.caches["default"].series
    assert trim(report, 5) == report


def test_a_number_is_read() -> None:
    assert parse_top("10") == 10


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "ten", "", "٣", "1" * 5000, "100001"])
def test_anything_else_is_told_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="Write a whole number from 1 to 100000"):
        parse_top(text)
