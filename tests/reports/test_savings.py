import pytest

from cache_monitor.reports.savings import mean_lookup, mean_to_produce, saved
from cache_monitor.stats.details import GroupStats
from tests.reports.synthetic import calls, window


def test_hits_save_what_producing_takes_less_what_all_lookups_take() -> None:
    assert saved(3, 4, to_produce=0.5, lookup=0.125) == 3 * 0.5 - 4 * 0.125


def test_lookups_that_take_longer_than_they_save_are_a_loss() -> None:
    assert saved(1, 10, to_produce=0.25, lookup=0.125) == 0.25 - 1.25


@pytest.mark.parametrize(("to_produce", "lookup"), [(None, 0.1), (0.1, None), (None, None)])
def test_what_nobody_measured_saves_an_unknown_amount(
    to_produce: float | None, lookup: float | None
) -> None:
    assert saved(0, 0, to_produce, lookup) is None


def test_the_mean_to_produce_is_of_the_values_that_were_seen_being_produced() -> None:
    assert mean_to_produce(GroupStats("key", produced=4, produce_seconds=2.0)) == 0.5
    assert mean_to_produce(GroupStats("key")) is None


def test_a_lookup_takes_its_share_of_the_calls_that_look_up() -> None:
    total = window(
        get=calls(1, 1, 0.5, 1.5),
        get_many=calls(5, 3, 2.0),
        set=calls(0, 0, 100.0),
    )
    assert mean_lookup(total) == (0.5 + 1.5 + 2.0) / 10


def test_what_get_or_set_takes_to_produce_is_no_time_of_a_lookup() -> None:
    total = window(get_or_set=calls(3, 2, 0.001, 0.001, 0.001, 2.0, 3.0))
    assert mean_lookup(total) == pytest.approx(0.001, rel=0.05)


def test_without_lookups_there_is_no_mean() -> None:
    assert mean_lookup(window(set=calls(0, 0, 1.0))) is None


def test_get_or_set_without_a_hit_does_not_tell_what_a_lookup_takes() -> None:
    assert mean_lookup(window(get_or_set=calls(0, 2, 2.0, 3.0))) is None
