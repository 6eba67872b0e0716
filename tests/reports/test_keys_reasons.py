"""Reasons add up to the misses, and say how well they are known."""

import pytest

from cache_monitor.reports import REASONS, MissReasons
from cache_monitor.reports.keys import miss_reasons
from cache_monitor.stats.window import Reasons, Window


def reasons_of(misses: int, known: Reasons, traced: int, classified: int) -> MissReasons:
    window = Window(0, 10, reasons=known, traced_misses=traced, classified_misses=classified)
    return miss_reasons(misses, window, hours=0.0)


def total(reasons: MissReasons) -> int:
    return sum(getattr(reasons, name) for name in (*REASONS, "unknown"))


def test_where_every_miss_is_traced_each_reason_is_exact() -> None:
    reasons = reasons_of(10, {"expired": 6, "lost": 2, "unknown": 1}, 9, 8)
    assert (reasons.expired, reasons.lost, reasons.unknown) == (6, 2, 2)
    assert (reasons.judged, reasons.error, reasons.exact) == (8, 0.0, True)


def test_of_a_sample_the_reasons_have_its_shares_of_all_misses() -> None:
    reasons = reasons_of(1003, {"expired": 300, "lost": 100, "unknown": 100}, 125, 100)
    assert (reasons.expired, reasons.lost, reasons.unknown) == (602, 201, 200)
    assert total(reasons) == 1003
    assert (reasons.judged, reasons.error, reasons.exact) == (100, 0.1, False)


@pytest.mark.parametrize("misses", [0, 1, 2, 7, 99])
def test_they_add_up_to_the_last_miss(misses: int) -> None:
    known = {"expired": 5, "deleted": 5, "cleared": 5, "never_set": 1}
    assert total(reasons_of(misses, known, 4, 4)) == misses
    assert total(reasons_of(misses, known, 16, 16)) == misses


def test_where_no_miss_was_judged_nothing_is_said_of_the_error() -> None:
    reasons = reasons_of(5, {}, 0, 0)
    assert (reasons.unknown, reasons.judged, reasons.error) == (5, 0, None)
