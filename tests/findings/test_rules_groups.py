from typing import Any

import pytest
from msgspec.structs import replace

from cache_monitor.reports import GroupOfView, MissReasons, View, Worth
from tests.findings.healthy import LOCMEM, cache, codes, findings, group, hot_key
from tests.findings.test_rules_backend_room import ALONE

UNREAD = {"sets": 4000, "lookups": 60, "hits": 50, "misses": 10, "distinct_keys": 4000}
EXPLODED = {"sets": 4000, "lookups": 4000, "hits": 0, "misses": 4000, "distinct_keys": 3900}
OVERWRITTEN = {"sets": 4000, "lookups": 100, "hits": 99, "misses": 1, "distinct_keys": 10}
MISSED = {"lookups": 10_000, "hits": 1000, "misses": 9000, "hit_ratio": 0.1, "sets": 9000}


def wasted(**figures: Any) -> Any:
    return cache(key_groups=[group("report:{int}", **figures)])


@pytest.mark.parametrize(
    ("code", "figures"),
    [
        ("never-read", UNREAD),
        ("key-explosion", EXPLODED),
        ("overwritten", OVERWRITTEN),
        ("low-hit-ratio", MISSED),
    ],
)
def test_what_is_cached_for_nobody_is_found_once(code: str, figures: Any) -> None:
    assert codes(wasted(**figures)) == [(code, "report:{int}")]


@pytest.mark.parametrize("figures", [UNREAD, EXPLODED, OVERWRITTEN, MISSED])
def test_what_costs_little_is_no_finding(figures: Any) -> None:
    assert codes(wasted(**figures, produce_seconds=0.003)) == []


@pytest.mark.parametrize("figures", [UNREAD, EXPLODED, OVERWRITTEN])
def test_what_takes_much_room_in_vain_is_found_though_it_is_soon_produced(figures: Any) -> None:
    assert codes(wasted(**figures, produce_seconds=0.003, bytes_written=20_000_000)) != []


@pytest.mark.parametrize("figures", [UNREAD, EXPLODED, OVERWRITTEN])
def test_what_it_takes_is_unknown_where_sizes_are(figures: Any) -> None:
    [finding] = findings(wasted(**figures, bytes_written=None))
    assert finding.worth.bytes is None
    assert finding.evidence.get("written_bytes") is None


@pytest.mark.parametrize("kind", ["session", "page_headers"])
@pytest.mark.parametrize("figures", [UNREAD, EXPLODED, OVERWRITTEN, MISSED])
def test_what_django_itself_reads_and_writes_is_not_the_projects_mistake(
    kind: str, figures: Any
) -> None:
    assert codes(wasted(kind=kind, **figures)) == []


@pytest.mark.parametrize("figures", [UNREAD, OVERWRITTEN])
def test_locks_counters_and_flags_are_used_without_a_lookup(figures: Any) -> None:
    assert codes(wasted(**figures, other_uses=4000)) == []


def test_a_page_is_written_by_who_asked_for_it_under_another_key() -> None:
    assert codes(wasted(**UNREAD, kind="page")) == []
    never_asked_for = {**EXPLODED, "lookups": 10, "misses": 10}
    assert codes(wasted(**never_asked_for, kind="page")) == [("key-explosion", "report:{int}")]


def test_a_cache_that_still_warms_up_is_no_finding() -> None:
    """Every key is asked for the first time, and one in fifty has been there."""
    first = {"sets": 4000, "lookups": 4080, "hits": 80, "misses": 4000, "distinct_keys": 4000}
    assert codes(wasted(**first)) == []


VAIN: dict[str, Any] = {
    "sets": 0,
    "lookups": 9000,
    "hits": 0,
    "misses": 9000,
    "distinct_keys": 90,
    "produced": 0,
    "produce_seconds": None,
    "lookup_seconds": 1.8,
}


def test_what_is_asked_for_again_and_again_and_never_stored_is_found() -> None:
    loops = {"single_gets": 5200, "single_gets_requests": 100}
    [finding] = findings(wasted(**VAIN, **loops))
    assert (finding.code, finding.group) == ("never-stored", "report:{int}")
    assert finding.worth == Worth(seconds=1.8, failed_calls=9000)
    assert finding.evidence["lookups_share"] == 0.9


@pytest.mark.parametrize(
    "harmless",
    [
        {},
        {"other_uses": 1, "single_gets": 9000, "single_gets_requests": 10},
        {"sets": 1, "single_gets": 900, "single_gets_requests": 10},
        {"single_gets": None, "repeated_gets": None},
    ],
    ids=["a flag asked once in a request", "a counter", "a deny list", "no middleware"],
)
def test_what_is_the_answer_where_it_is_missing_is_no_finding(harmless: dict[str, Any]) -> None:
    assert ("never-stored", "report:{int}") not in codes(wasted(**{**VAIN, **harmless}))


def test_what_lookups_in_vain_cost_is_what_they_took() -> None:
    assert codes(wasted(**{**VAIN, "lookup_seconds": 35.0})) == []
    assert codes(wasted(**{**VAIN, "lookup_seconds": 37.0})) == [("never-stored", "report:{int}")]


def test_entries_that_had_no_time_to_be_read_are_no_finding() -> None:
    unread = {**UNREAD, "first_set_at": "2026-11-22T12:50:00Z"}
    # Some had been there for the hour, most were written a moment ago.
    assert codes(wasted(**UNREAD, mean_set_at="2026-11-22T12:58:00Z")) == []
    assert codes(wasted(**unread)) == []
    assert codes(wasted(**unread, timeout=1260.0)) == []
    assert codes(wasted(**unread, timeout=1140.0)) == [("never-read", "report:{int}")]


def test_what_is_state_is_not_called_useless() -> None:
    for figures in (UNREAD, EXPLODED, OVERWRITTEN, MISSED):
        assert codes(wasted(**figures, is_state=True)) == []
    assert codes(wasted(produce_seconds=0.0001, is_state=True)) == []


def test_a_large_value_that_is_written_anew_each_time_is_found() -> None:
    ring = {"sets": 700, "lookups": 700, "hits": 699, "misses": 1, "distinct_keys": 1}
    small = group("ring", **ring, is_state=True, bytes_written=9_000_000, seconds=5.0)
    assert codes(cache(key_groups=[small])) == []
    [finding] = findings(cache(key_groups=[replace(small, bytes_written=68_000_000)]))
    assert (finding.code, finding.group) == ("overwritten", "ring")
    assert finding.worth.bytes == pytest.approx(68_000_000, rel=0.01)
    assert finding.worth.seconds == 3.0


def test_keys_of_one_kind_within_a_good_group_are_found() -> None:
    good = {"sets": 4100, "lookups": 54_100, "hits": 49_900, "misses": 4200, "distinct_keys": 4020}
    hot = [
        hot_key(key=f"report:{n}", group="report:{int}", lookups=2500, hits=2495, misses=5, sets=5)
        for n in range(20)
    ]
    ill = replace(wasted(**good), hot_keys=hot)
    [finding] = findings(ill)
    assert (finding.code, finding.group) == ("key-explosion", "report:{int}")
    assert finding.evidence["one_of_a_kind"] == 4000
    assert codes(wasted(**good)) == []
    # What they take of the group's bytes is by the mean of all its values.
    large = replace(ill, key_groups=wasted(**good, bytes_written=8_200_000).key_groups)
    [finding] = findings(large)
    assert finding.worth.bytes == finding.evidence["written_bytes"] == 8_000_000
    assert "written_bytes" in finding.evidence_errors


def test_a_page_that_is_never_asked_for_twice_misses_on_its_list_of_headers() -> None:
    page = {"sets": 4000, "lookups": 0, "hits": 0, "misses": 0, "distinct_keys": 4000}
    headers = {"sets": 4000, "lookups": 4000, "hits": 0, "misses": 4000, "distinct_keys": 4000}
    ill = cache(
        key_groups=[
            group("page GET shop:search", kind="page", **page),
            group("page headers shop:search", kind="page_headers", **headers),
        ]
    )
    [finding] = findings(ill)
    assert (finding.code, finding.group) == ("key-explosion", "page GET shop:search")
    assert finding.evidence["lookups"] == 4000


def test_few_values_or_some_that_are_seldom_found_again_do_not_make_a_value_cheap() -> None:
    cheap = {"produce_seconds": 0.0001}
    assert codes(wasted(**cheap, produced=9)) == []
    assert codes(wasted(**cheap, sets=2600)) == []


def _view(name: str, misses: int = 0) -> View:
    """One whose nine requests look a key of the group ``name`` up."""
    hits = 9 - misses
    use = GroupOfView(group=name, keys=9, lookups=9, hits=hits, seconds=1.0)
    return View(
        view="shop:home",
        requests=9,
        lookups=9,
        misses=misses,
        misses_per_request=misses / 9,
        seconds=1.0,
        groups=[use],
    )


def test_what_is_written_by_others_than_those_who_ask_is_not_called_cheap() -> None:
    """A task has its result before it looks whether that is there."""
    result = group("result:{uuid}", produced=10, produce_seconds=1e-6)
    asked = {
        misses: cache(key_groups=[result], views=[_view(result.group, misses)]) for misses in (0, 8)
    }
    assert codes(asked[0]) == []
    assert codes(asked[8]) == [("cheap-to-recompute", "result:{uuid}")]


def test_a_finding_on_a_hash_names_the_view_that_uses_it() -> None:
    views = [_view("cachalot {hash}")]
    ill = cache(key_groups=[group("cachalot {hash}", **EXPLODED)], views=views)
    [finding] = findings(ill)
    assert finding.evidence["view"] == "shop:home"


def test_a_finding_on_a_hash_that_no_view_uses_names_a_line_of_code() -> None:
    exploded = group("cachalot {hash}", **EXPLODED, called_from="shop/tasks.py:12")
    [finding] = findings(cache(key_groups=[exploded]))
    assert finding.evidence["called_from"] == "shop/tasks.py:12"
    named = group("user:{int}", **EXPLODED, called_from="shop/tasks.py:12")
    [finding] = findings(cache(key_groups=[named]))
    assert "called_from" not in finding.evidence


def test_keys_that_are_filled_after_each_miss_are_not_overwritten() -> None:
    filled = {"sets": 4000, "lookups": 6000, "hits": 2000, "misses": 4000, "distinct_keys": 10}
    assert codes(wasted(**filled)) == []


def deleted(**figures: Any) -> Any:
    ill = {
        "sets": 4000,
        "deletes": 4000,
        "lookups": 6000,
        "hits": 2000,
        "misses": 4000,
        "miss_reasons": MissReasons(deleted=3900, never_set=100),
        **figures,
    }
    return wasted(**ill)


def test_keys_that_are_deleted_before_they_are_read_are_found() -> None:
    [finding] = findings(deleted())
    assert (finding.code, finding.group) == ("deleted-early", "report:{int}")
    assert finding.evidence["lost_seconds"] == 78.0


@pytest.mark.parametrize(
    "harmless",
    [
        {"hits": 40_000, "lookups": 44_000},
        {"other_uses": 4000},
        {"miss_reasons": MissReasons(version_changed=3900)},
        {"produce_seconds": 0.005},
    ],
    ids=["read in between", "locks", "other reasons", "soon produced"],
)
def test_deletions_that_cost_little_are_no_finding(harmless: Any) -> None:
    assert codes(deleted(**harmless)) == []


def test_values_that_are_made_as_fast_as_looked_up_are_found() -> None:
    [finding] = findings(wasted(produce_seconds=0.0001))
    assert (finding.code, finding.severity) == ("cheap-to-recompute", "info")
    assert finding.evidence["lookup_seconds"] == pytest.approx(0.0002)


def test_a_few_slow_lookups_do_not_make_a_value_cheap() -> None:
    assert codes(wasted(produce_seconds=0.0003)) == []


def test_a_light_value_among_heavy_ones_is_looked_up_faster_in_a_processs_own_memory() -> None:
    light = group(produce_seconds=0.0001, bytes_read=990_000)
    heavy = cache(key_groups=[light], bytes_read=9_900_000)
    assert codes(heavy) == [("cheap-to-recompute", "user:{int}")]
    assert codes(replace(heavy, backend=LOCMEM), ALONE) == []
    unknown = replace(heavy, key_groups=[replace(light, bytes_read=None)], backend=LOCMEM)
    assert codes(unknown, ALONE) == []


def test_a_few_calls_tell_nothing() -> None:
    assert codes(wasted(sets=99, lookups=0, hits=0, misses=0, produce_seconds=9.0)) == []
    few = {"sets": 1, "lookups": 99, "hits": 0, "misses": 99, "hit_ratio": 0.0}
    assert codes(wasted(**few, produce_seconds=9.0)) == []


def test_groups_that_share_a_name_for_want_of_room_are_not_judged() -> None:
    assert codes(cache(key_groups=[group("(other groups)", **UNREAD)])) == []
