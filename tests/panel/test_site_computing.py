"""What hits save, from what misses cost."""

from __future__ import annotations

import pytest

from cache_monitor.panel import site
from cache_monitor.panel.site import Group, RecentComputeTimes, Saved, computed_in, saved
from tests.panel.making import call, rows_of

PAGE = f"views.decorators.cache.cache_page..GET.{'a' * 32}.{'b' * 32}.en.UTC"
HEADERS = f"views.decorators.cache.cache_header..{'a' * 32}.en.UTC"


def about(seen: dict[Group, tuple[int, float]]) -> dict[Group, tuple[int, float]]:
    return {group: (count, round(total, 3)) for group, (count, total) in seen.items()}


def test_a_miss_and_the_set_that_fills_it_tell_the_time_to_produce() -> None:
    rows = rows_of(
        call("get", "product:1", False, at=0, took=1.0), call("set", "product:1", at=41, took=1.0)
    )
    assert [row["computed"] for row in rows] == [None, 40.0]
    assert about(computed_in(rows)) == {("default", "product:{int}"): (1, 40.0)}


def test_a_set_in_another_thread_or_cache_or_of_another_key_fills_nothing() -> None:
    miss = call("get", "a", False, at=0)
    for other in (
        call("set", "a", at=5, context=8),
        call("set", "a", at=5, alias="files"),
        call("set", "b", at=5),
        call("set", "a", at=5, version=2),
        call("set", "a", at=5, error="OSError"),
    ):
        assert computed_in(rows_of(miss, other)) == {}


def test_a_miss_is_filled_once() -> None:
    rows = rows_of(call("get", "a", False), call("set", "a", at=5), call("set", "a", at=50))
    assert [row["computed"] for row in rows] == [None, 4.0, None]


def test_a_set_many_shares_the_time_among_what_it_fills() -> None:
    rows = rows_of(
        call("get_many", ("p:1", "p:2", "p:3"), (False, True, False), at=0, took=1.0),
        call("set_many", ("p:1", "p:3"), at=21),
    )
    assert about(computed_in(rows)) == {("default", "p:{int}"): (2, 20.0)}


def test_of_values_missed_together_each_took_the_time_since_the_one_before() -> None:
    rows = rows_of(
        call("get", "a", False, at=0, took=1.0),
        call("get", "b", False, at=1, took=1.0),
        call("set", "a", at=22, took=1.0),
        call("set", "b", at=33, took=1.0),
    )
    assert about(computed_in(rows)) == {("default", "a"): (1, 21.0), ("default", "b"): (1, 10.0)}


def test_a_busy_key_saves_what_its_own_values_take() -> None:
    rows = rows_of(call("get", "p:1", True, took=1.0), call("get", "p:2", True, at=1, took=1.0))
    told = saved(rows, {("default", "p:{int}"): 10.0}, {("default", "p:1"): 100.0})
    assert told.milliseconds == pytest.approx(108.0)


def test_a_get_or_set_that_ran_its_callable_tells_the_time_to_produce() -> None:
    rows = rows_of(call("get_or_set", "a", False, took=31.0, produced=30.0))
    assert about(computed_in(rows)) == {("default", "a"): (1, 30.0)}
    assert rows[0]["milliseconds"] == pytest.approx(1.0)


def test_a_page_is_produced_between_the_miss_of_its_headers_and_its_set() -> None:
    rows = rows_of(
        call("get", HEADERS, False, at=0, took=1.0),
        call("set", HEADERS, at=101),
        call("set", PAGE, at=102),
        route="/offers/",
    )
    assert about(computed_in(rows)) == {("default", "page /offers/"): (1, 101.0)}


def test_a_cached_page_saves_its_production_once() -> None:
    rows = rows_of(
        call("get", HEADERS, True, took=1.0), call("get", PAGE, True, at=1), route="/offers/"
    )
    told = saved(rows, {("default", "page /offers/"): 101.0})
    assert told.milliseconds == pytest.approx(100.0)
    assert (told.known, told.hits) == (1, 1)


def test_each_hit_saves_the_time_to_produce_less_its_lookup() -> None:
    rows = rows_of(
        call("get", "product:1", True, took=2.0),
        call("get", "product:2", False, at=2, took=2.0),
        call("get_many", ("product:3", "product:4"), (True, True), at=4, took=4.0),
        call("get", "unknown", True, at=9),
    )
    told = saved(rows, {("default", "product:{int}"): 10.0})
    assert told.milliseconds == pytest.approx(24.0)
    assert (told.known, told.hits) == (3, 4)


def test_a_lookup_that_costs_more_than_the_value_saves_less_than_nothing() -> None:
    told = saved(rows_of(call("get", "a", True, took=3.0)), {("default", "a"): 1.0})
    assert told.milliseconds == pytest.approx(-2.0)


def test_what_nobody_has_seen_being_produced_is_not_known() -> None:
    told = saved(rows_of(call("get", "a", True)), {})
    assert (told.milliseconds, told.known, told.hits) == (None, 0, 1)


def test_a_process_remembers_the_mean_of_what_it_saw() -> None:
    known = RecentComputeTimes()
    known.learn({("default", "a"): (1, 10.0)})
    known.learn({("default", "a"): (3, 90.0)})
    assert known.means() == {("default", "a"): 25.0}


def test_a_process_forgets_the_groups_that_it_saw_longest_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(site, "MOST_GROUPS", 2)
    known = RecentComputeTimes()
    for name in ("a", "b", "a", "c"):
        known.learn({("default", name): (1, 1.0)})
    assert {name for _, name in known.means()} == {"a", "c"}


def test_a_hit_whose_value_is_then_written_anew_saved_nothing() -> None:
    rows = rows_of(
        call("get_many", ("a:1", "b:1"), (True, True), at=0, took=2.0),
        call("set", "a:1", at=40),
    )
    means = {("default", "a:{int}"): 40.0, ("default", "b:{int}"): 10.0}
    assert saved(rows, means) == Saved(9.0, 1, 1)
