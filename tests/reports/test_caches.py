import pytest

from cache_monitor.reports import REASONS, HotKey, MissReasons
from cache_monitor.stats import sketches
from cache_monitor.stats.details import Details, ViewUse
from cache_monitor.stats.sketches import hash_of
from tests.reports.synthetic import cache_of, calls, details, window

LOOKUP = 0.25
"""What a lookup takes in these windows, in seconds."""


def _total(reasons: MissReasons) -> int:
    return sum(getattr(reasons, name) for name in (*REASONS, "unknown"))


def _produced(made: Details, group: str, hits: int, misses: int, seconds: float) -> None:
    stats = made.group(group, "key")
    stats.lookups, stats.hits, stats.misses = hits + misses, hits, misses
    stats.produced, stats.produce_seconds = misses, seconds * misses


def test_a_cache_that_nobody_called_has_figures_of_nothing() -> None:
    cache = cache_of()
    assert (cache.lookups, cache.hit_ratio, cache.seconds_saved) == (0, None, None)
    assert (cache.hot_keys, cache.key_groups, cache.views) == ([], [], [])
    assert _total(cache.miss_reasons) == 0


def test_operations_that_look_nothing_up_have_neither_hits_nor_misses() -> None:
    cache = cache_of(window(get=calls(1, 2, 0.1, 0.2, 0.3), set=calls(0, 0, 0.1)))
    assert (cache.operations["get"].hits, cache.operations["get"].misses) == (1, 2)
    assert (cache.operations["set"].hits, cache.operations["set"].misses) == (None, None)
    assert cache.hit_ratio == 0.3333


def test_percentiles_are_those_of_the_calls() -> None:
    seconds = [n / 1000 for n in range(1, 101)]
    found = cache_of(window(get=calls(100, 0, *seconds))).operations["get"].seconds
    assert found.p50 == pytest.approx(0.050, rel=0.05)
    assert found.p90 == pytest.approx(0.090, rel=0.05)
    assert found.p99 == pytest.approx(0.099, rel=0.05)
    assert found.max == 0.1


def test_the_reasons_of_a_cache_add_up_to_its_misses() -> None:
    made = window(get=calls(0, 5))
    made.reasons, made.traced_misses, made.classified_misses = {"expired": 2, "evicted": 1}, 3, 3
    reasons = cache_of(made).miss_reasons
    assert (reasons.expired, reasons.evicted, reasons.unknown) == (2, 1, 2)
    assert _total(reasons) == 5


def test_the_reasons_of_a_group_and_of_a_key_add_up_to_their_misses() -> None:
    made = details()
    group = made.group("user:{int}", "key")
    group.count(False, False, 4)
    group.reasons, group.traced_misses, group.classified_misses = {"expired": 3}, 3, 3
    key = made.hot_keys.entry("user:1", "user:{int}")
    key.count(False, False, 2)
    key.add_reasons({"deleted": 1})
    cache = cache_of(made)
    of_group, of_key = cache.key_groups[0].miss_reasons, cache.hot_keys[0].miss_reasons
    assert (of_group.expired, of_group.unknown, _total(of_group)) == (3, 1, 4)
    assert (of_key.deleted, of_key.unknown, _total(of_key)) == (1, 1, 2)


def test_reasons_found_later_than_their_misses_are_not_more_than_these() -> None:
    made = details()
    group = made.group("a", "key")
    group.count(False, False, 1)
    group.reasons, group.traced_misses, group.classified_misses = {"expired": 2, "evicted": 2}, 4, 4
    reasons = cache_of(made).key_groups[0].miss_reasons
    assert (reasons.expired, reasons.evicted, reasons.unknown) == (1, 0, 0)


def test_what_groups_keys_and_views_save_is_told_with_them() -> None:
    made = details()
    _produced(made, "pays", hits=8, misses=2, seconds=2.0)
    _produced(made, "costs", hits=1, misses=3, seconds=0.5)
    made.groups["pays"].lookup_seconds = 10 * LOOKUP
    made.groups["costs"].lookup_seconds = 4 * LOOKUP
    made.hot_keys.entry("pays", "pays").count(True, False, 3)
    made.view("shop:home").use("pays").hits = 2
    cache = cache_of(window(get=calls(9, 5, *[LOOKUP] * 14)), made)
    groups = {each.group: (each.produce_seconds, each.seconds_saved) for each in cache.key_groups}
    assert groups == {
        "pays": (2.0, 8 * 2.0 - 10 * LOOKUP),
        "costs": (0.5, 1 * 0.5 - 4 * LOOKUP),
    }
    assert cache.seconds_saved == 13.5 - 0.5
    assert [each.seconds_saved for each in cache.hot_keys] == [3 * 2.0 - 3 * LOOKUP]
    assert [each.seconds_saved for each in cache.views] == [2 * 2.0]


def test_a_key_that_was_away_may_have_been_looked_up_more_often_than_it_saved_time() -> None:
    made = details()
    _produced(made, "a", hits=5, misses=1, seconds=4.0)
    made.groups["a"].lookup_seconds = 6 * LOOKUP
    stats = made.hot_keys.entry("a", "a")
    stats.count(True, False, 3)
    stats.missing = made.hot_keys.floor = 2
    [key] = cache_of(window(get=calls(5, 1, *[LOOKUP] * 6)), made).hot_keys
    assert (key.lookups, key.max_overcount) == (5, 2)
    assert key.seconds_saved == 3 * 4.0 - 3 * LOOKUP


def test_no_more_keys_are_told_than_were_named() -> None:
    made = details()
    group = made.group("a:{int}", "key")
    group.count(False, False, 600)
    group.add_keys([hash_of(str(number)) for number in range(600)])
    [found] = cache_of(made).key_groups
    assert found.distinct_keys is not None
    assert 500 < found.distinct_keys <= 600


def test_groups_and_views_show_a_few_keys_that_were_found_and_missed() -> None:
    one, two = details(), details()
    one.group("a", "key").count(True, False, 1, "a:1")
    two.group("a", "key").count(False, False, 1, "a:2")
    two.view("shop:home").sample_misses = ("a:2",)
    cache = cache_of(one, two)
    [group], [view] = cache.key_groups, cache.views
    assert (group.sample_hits, group.sample_misses) == (["a:1"], ["a:2"])
    assert (view.sample_hits, view.sample_misses) == ([], ["a:2"])


def test_misses_per_request_are_those_of_all_views() -> None:
    made = details()
    for number in range(300):
        view = made.view(f"shop:{number}")
        view.requests, view.misses = 2, number % 3
    assert cache_of(made).misses_per_request == 0.5
    assert cache_of(details()).misses_per_request is None


def test_the_share_of_a_key_is_that_of_all_lookups() -> None:
    made = details()
    made.group("a", "key").count(True, False, 8)
    made.hot_keys.entry("a", "a").count(True, False, 2)
    assert cache_of(made).hot_keys[0].share == 0.25


def test_the_age_of_values_is_told_in_percentiles() -> None:
    made = details()
    group = made.group("a", "key")
    for bucket in sketches.buckets_of([float(n) for n in range(1, 101)]):
        group.ages[bucket] = group.ages.get(bucket, 0) + 1
    [found] = cache_of(made).key_groups
    assert found.age_p50 == pytest.approx(50, rel=0.05)
    assert found.age_p90 == pytest.approx(90, rel=0.05)


def test_an_age_that_nobody_knows_is_not_nothing() -> None:
    made = details()
    made.group("a", "key").count(True, False, 1)
    [found] = cache_of(made).key_groups
    assert (found.age_p50, found.age_p90) == (None, None)


def test_a_view_takes_its_share_of_its_requests_with_the_groups_it_used() -> None:
    made = details()
    view = made.view("shop:product")
    view.requests, view.lookups, view.misses, view.seconds, view.calls = 4, 8, 2, 2.0, 9
    view.request_seconds = 16.0
    view.use("slow").merge(ViewUse(5, 4, 3, 0, 1.5))
    view.use("quick").merge(ViewUse(4, 4, 3, 0, 0.5))
    cache = cache_of(window(get=calls(6, 2, *[LOOKUP] * 8)), made)
    [found] = cache.views
    assert (found.misses_per_request, found.calls) == (0.5, 9)
    assert (found.request_seconds, found.share_of_request) == (16.0, 0.125)
    assert [(each.group, each.keys, each.seconds) for each in found.groups] == [
        ("slow", 5, 1.5),
        ("quick", 4, 0.5),
    ]


def test_a_view_whose_requests_were_not_timed_has_no_share() -> None:
    made = details()
    made.view("shop:product").requests = 1
    [found] = cache_of(made).views
    assert (found.request_seconds, found.share_of_request, found.seconds_saved) == (None,) * 3


def test_calls_that_overlap_are_at_most_the_whole_request() -> None:
    made = details()
    view = made.view("shop:product")
    view.requests, view.seconds, view.request_seconds = 1, 3.0, 2.0
    assert cache_of(made).views[0].share_of_request == 1.0


def test_the_ratio_of_a_key_that_may_be_counted_too_often_is_of_what_is_known() -> None:
    key = HotKey(
        key="a",
        group="a",
        lookups=30,
        hits=8,
        misses=2,
        sets=0,
        share=None,
        max_overcount=20,
        bytes=None,
        seconds_saved=None,
    )
    assert key.hit_ratio == 0.8
