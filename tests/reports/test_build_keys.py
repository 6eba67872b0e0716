import pytest

from cache_monitor.reports.build import KEY_POINTS, KeyPoint, key_series
from cache_monitor.reports.caches import ReportPeriod
from cache_monitor.stats.details import Details
from cache_monitor.stats.window import rfc3339
from cache_monitor.stores.base import Row
from tests.reports.synthetic import BEGIN, details, merged, row

DAY = 86400


def _uses(start: int, *uses: tuple[str, bool], seconds: int = 60) -> Details:
    made = details(start)
    made.seconds = seconds
    for key, hit in uses:
        made.hot_keys.entry(key, "group").count(hit, False, 1)
    return made


def _drawn(points: list[KeyPoint]) -> dict[str, tuple[int, int]]:
    """The lookups and hits of the steps that have any, by the minute that they begin at."""
    return {each.at: (each.lookups, each.hits) for each in points if each.lookups}


def test_each_key_has_a_line_of_its_own_over_the_same_steps() -> None:
    rows = [
        row(_uses(BEGIN, ("a", True), ("a", False), ("b", True))),
        row(_uses(BEGIN, ("a", True)), process="two"),
        row(_uses(BEGIN + 120, ("b", False), ("unasked", True))),
    ]
    found = key_series(["a", "b"], rows, ReportPeriod(BEGIN, BEGIN + 300, BEGIN + 300))
    assert set(found) == {"a", "b"}
    assert [each.at for each in found["a"]] == [rfc3339(BEGIN + 60 * n) for n in range(5)]
    assert [each.at for each in found["b"]] == [each.at for each in found["a"]]
    assert _drawn(found["a"]) == {rfc3339(BEGIN): (3, 2)}
    assert _drawn(found["b"]) == {rfc3339(BEGIN): (1, 1), rfc3339(BEGIN + 120): (1, 0)}


def test_a_key_that_nobody_used_has_a_line_of_nothing() -> None:
    found = key_series(["a"], [], ReportPeriod(BEGIN, BEGIN + 120, BEGIN + 120))
    assert found == {"a": [KeyPoint(at=rfc3339(BEGIN + n), lookups=0, hits=0) for n in (0, 60)]}


def test_steps_are_as_long_as_the_rows_that_are_rolled_up() -> None:
    begin = BEGIN // DAY * DAY
    rows = [
        merged(_uses(begin, ("a", True), seconds=3600)),
        merged(_uses(begin + 5 * 3600, ("a", True), seconds=300)),
        row(_uses(begin + 5 * 3600 + 600, ("a", False))),
    ]
    found = key_series(["a"], rows, ReportPeriod(begin, begin + 6 * 3600, begin + 6 * 3600))
    assert len(found["a"]) == 6
    assert _drawn(found["a"]) == {rfc3339(begin): (1, 1), rfc3339(begin + 5 * 3600): (2, 1)}


@pytest.mark.parametrize("length", [60, 900, 3600, 7200, DAY, 3 * DAY, 30 * DAY, 365 * DAY])
def test_a_line_has_no_more_points_than_stated(length: int) -> None:
    since = BEGIN + 7
    [line] = key_series(["a"], [], ReportPeriod(since, since + length, since + length)).values()
    assert 1 <= len(line) <= KEY_POINTS


def test_a_short_period_of_long_ago_has_long_steps() -> None:
    period = ReportPeriod(BEGIN, BEGIN + 3600, BEGIN + 30 * DAY)
    rows = [merged(_uses(BEGIN // DAY * DAY, ("a", True), seconds=DAY))]
    [point] = key_series(["a"], rows, period)["a"]
    assert (point.at, point.lookups) == (rfc3339(BEGIN // DAY * DAY), 1)


def test_rows_that_cannot_be_read_are_left_out() -> None:
    rubbish = Row("details", "one", "default", BEGIN, 60, b"\x01rubbish")
    rows = [rubbish, row(_uses(BEGIN, ("a", True)))]
    [point] = key_series(["a"], rows, ReportPeriod(BEGIN, BEGIN + 60, BEGIN + 60))["a"]
    assert (point.lookups, point.hits) == (1, 1)
