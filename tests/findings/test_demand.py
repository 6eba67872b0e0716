from typing import Any

import pytest
from msgspec.structs import replace

from cache_monitor.reports.schema import MissReasons
from tests.findings.healthy import LOCMEM, cache, codes, findings, group
from tests.findings.test_capacity import ALONE

UNREAD = {"sets": 4000, "lookups": 60, "hits": 50, "misses": 10, "distinct_keys": 4000}
EXPLODED = {"sets": 4000, "lookups": 4000, "hits": 0, "misses": 4000, "distinct_keys": 3900}
OVERWRITTEN = {"sets": 4000, "lookups": 100, "hits": 99, "misses": 1, "distinct_keys": 10}
MISSED = {"lookups": 10_000, "hits": 1000, "misses": 9000, "hit_ratio": 0.1, "sets": 50}


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


def test_what_is_asked_for_and_never_stored_is_found() -> None:
    ill = wasted(sets=0, lookups=9000, hits=0, misses=9000, distinct_keys=9000)
    [finding] = findings(ill)
    assert (finding.code, finding.severity) == ("low-hit-ratio", "info")


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
