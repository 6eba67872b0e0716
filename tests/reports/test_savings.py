"""What hits save, less what the calls took."""

from __future__ import annotations

from typing import Any

import pytest

from cache_monitor.keys.known_keys import CACHALOT_GROUP, CACHALOT_TABLES_GROUP
from cache_monitor.reports.savings import Estimate, Savings, mean_to_produce
from cache_monitor.stats.details import Details, ViewUse
from cache_monitor.stats.groups import GroupStats
from cache_monitor.stats.hot_keys import KeyStats
from tests.reports.synthetic import details

PAGE = "page GET shop:product"
HEADERS = "page headers shop:product"


def _copy(**figures: Any) -> GroupStats:
    """Ten lookups in a second, four misses of which were filled by work of two seconds each."""
    group = GroupStats("key", lookups=10, hits=6, misses=4, sets=4)
    group.produced, group.produce_seconds = 4, 8.0
    group.lookup_seconds, group.other_seconds = 1.0, 0.5
    for name, value in figures.items():
        setattr(group, name, value)
    return group


def _details(**groups: GroupStats) -> Details:
    made = details()
    made.groups.update(groups)
    return made


def _seconds(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.seconds


def _saved(group: GroupStats) -> float | None:
    return _seconds(Savings(_details(a=group)).of_group("a", group))


def test_the_mean_to_produce_is_of_the_values_that_were_seen_being_produced() -> None:
    assert mean_to_produce(GroupStats("key", produced=4, produce_seconds=2.0)) == 0.5
    assert mean_to_produce(GroupStats("key")) is None


def test_a_group_saves_its_hits_times_what_producing_takes_less_all_its_calls() -> None:
    assert _saved(_copy()) == 6 * 2.0 - 1.5


def test_calls_that_take_longer_than_they_save_are_a_loss() -> None:
    assert _saved(_copy(lookup_seconds=20.0)) == 12.0 - 20.5


def test_what_nobody_saw_being_produced_saves_an_unknown_amount() -> None:
    assert _saved(_copy(produced=0, sets=0, misses=0)) is None
    assert Savings(details()).of_all() is None


def test_lookups_in_vain_cost_their_own_time() -> None:
    vain = _copy(hits=0, misses=10, sets=0, produced=0, other_seconds=0.0)
    assert _saved(vain) == -1.0


def test_a_hit_whose_value_is_written_anew_saved_nothing() -> None:
    assert _saved(_copy(rewrites=2)) == 4 * 2.0 - 1.5
    assert _saved(_copy(rewrites=6)) == -1.5


def test_a_page_and_its_list_of_headers_are_one_thing() -> None:
    page = _copy(kind="page")
    headers = GroupStats("page_headers", lookups=10, hits=10, lookup_seconds=0.25)
    made = _details(**{PAGE: page, HEADERS: headers})
    savings = Savings(made)
    assert _seconds(savings.of_group(PAGE, page)) == 6 * 2.0 - 1.75
    assert savings.of_group(HEADERS, headers) is None
    assert _seconds(savings.of_all()) == 6 * 2.0 - 1.75
    view = made.view("shop:product")
    view.groups = {PAGE: ViewUse(3, 3, 2, 0, 0.25), HEADERS: ViewUse(3, 3, 3, 0, 0.125)}
    assert _seconds(savings.of_view(view)) == 2 * 2.0 - 0.375


def test_a_view_saves_what_each_of_its_groups_takes_to_produce() -> None:
    cheap = _copy(produced=4, produce_seconds=0.5)
    made = _details(dear=_copy(), cheap=cheap, unknown=_copy(produced=0, sets=0, misses=0))
    view = made.view("shop:home")
    view.groups = {
        "dear": ViewUse(1, 1, 1, 0, 0.25),
        "cheap": ViewUse(100, 100, 100, 0, 1.0),
        "unknown": ViewUse(50, 50, 50, 0, 9.0),
        "gone": ViewUse(50, 50, 50, 0, 9.0),
    }
    assert _seconds(Savings(made).of_view(view)) == (2.0 - 0.25) + (100 * 0.125 - 1.0)


def test_a_view_of_which_nothing_is_known_saves_an_unknown_amount() -> None:
    made = details()
    assert Savings(made).of_view(made.view("shop:home")) is None


def test_a_key_takes_its_groups_time_where_its_own_is_not_known() -> None:
    savings = Savings(_details(a=_copy()))
    assert _seconds(savings.of_key(KeyStats("a", 3, 3))) == 3 * 2.0 - 3 * 0.1
    own = KeyStats("a", 3, 3, produced=1, produce_seconds=4.0)
    assert _seconds(savings.of_key(own)) == 3 * 4.0 - 3 * 0.1
    assert savings.of_key(KeyStats("elsewhere", 3, 3)) is None


@pytest.mark.parametrize(
    "state",
    [
        # A counter, a lock, a throttle's history, a deny list.
        {"counts": 8, "other_uses": 8, "sets": 1, "misses": 1},
        {"adds": 9, "other_uses": 9, "sets": 9, "lookups": 0, "hits": 0, "produced": 0},
        {"lookups": 100, "hits": 96, "sets": 100, "produce_seconds": 4e-5},
        # A throttle whose visitors mostly come back after its history is gone.
        {"lookups": 10, "hits": 4, "misses": 6, "sets": 10, "rewrites": 4, "produce_seconds": 4e-5},
        {"lookups": 100, "hits": 6, "misses": 94, "sets": 3, "produced": 0},
        # A task's result, which was asked for before it was there, and by whoever wrote it.
        {"lookups": 100, "hits": 80, "misses": 20, "sets": 10, "produce_seconds": 4e-5},
    ],
)
def test_state_saves_nothing_and_costs_nothing(state: dict[str, Any]) -> None:
    group = _copy(**state)
    made = _details(a=group, copy=_copy())
    view = made.view("shop:home")
    view.groups = {"a": ViewUse(1, 1, 1, 0, 9.0), "copy": ViewUse(1, 1, 1, 0, 0.5)}
    savings = Savings(made)
    assert savings.of_group("a", group) == savings.of_key(KeyStats("a", 3, 3)) == (0.0, 0.0)
    assert _seconds(savings.of_view(view)) == 1.5


@pytest.mark.parametrize(
    "copy",
    [
        {},
        # Filled by add, asked for by has_key, written where its source changes, dearly renewed.
        {"adds": 4, "other_uses": 4},
        {"other_uses": 50},
        {"sets": 6},
        {"sets": 10, "rewrites": 6},
    ],
)
def test_what_is_filled_after_its_misses_is_a_copy(copy: dict[str, Any]) -> None:
    assert _saved(_copy(**copy)) not in {0.0, None}


def test_what_a_query_cache_notes_of_tables_saves_nothing() -> None:
    group = _copy()
    assert _seconds(Savings(_details()).of_group(CACHALOT_TABLES_GROUP, group)) == 0.0


def test_what_a_query_gave_is_a_copy_though_it_is_quick_and_written_anew() -> None:
    group = _copy(lookups=100, hits=96, sets=100, produce_seconds=4e-5)
    assert _seconds(Savings(_details(**{CACHALOT_GROUP: group})).of_group(CACHALOT_GROUP, group))


def test_a_session_that_is_stored_anew_need_not_be_loaded() -> None:
    group = _copy(kind="session", rewrites=6)
    assert _saved(group) == 6 * 2.0 - 1.5
    view = _details(a=group).view("shop:home")
    view.groups = {"a": ViewUse(3, 3, 3, 3, 0.25)}
    assert _seconds(Savings(_details(a=group)).of_view(view)) == 3 * 2.0 - 0.25
