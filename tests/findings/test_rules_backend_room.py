from typing import Any

import pytest
from msgspec.structs import replace

from cache_monitor.findings.context import Environment
from cache_monitor.reports import HotKey, LargestEntry, Lives, Memory, MissReasons
from tests.findings.healthy import LOCMEM, cache, codes, findings, group, hot_key, operation

ALONE = Environment(is_debug=False, processes={"default": 1})


def crowded(evicted: int = 4000, **parts: Any) -> Any:
    reasons = MissReasons(evicted=evicted, never_set=100)
    big = group("big", misses=evicted, sets=evicted, hits=10_000 - evicted, miss_reasons=reasons)
    ill = {
        "backend": LOCMEM,
        "hits": 9900 - evicted,
        "misses": 100 + evicted,
        "miss_reasons": reasons,
        "key_groups": [group("small"), big],
        **parts,
    }
    return cache(**ill)


def test_entries_that_go_for_want_of_room_are_found_with_the_setting_to_change() -> None:
    [finding] = findings(crowded(), ALONE)
    assert (finding.code, finding.group) == ("evicted-early", "big")
    assert "MAX_ENTRIES" in finding.advice
    assert finding.evidence["lost_seconds"] == 80.0


def test_a_full_cache_that_loses_little_is_no_finding() -> None:
    assert codes(cache(miss_reasons=MissReasons(evicted=100))) == []
    assert codes(crowded(1500, lookups=100_000), ALONE) == []


@pytest.mark.parametrize(("evictions", "found"), [(0, False), (1, True), (None, True)])
def test_where_the_server_counts_evictions_there_must_be_some(
    evictions: int | None, found: bool
) -> None:
    points = [replace(each, evictions=evictions) for each in cache().series]
    assert bool(codes(crowded(series=points), ALONE)) is found


def test_a_cache_that_was_never_full_has_not_evicted() -> None:
    half_empty = Memory(entries=100, limit_entries=300)
    assert codes(crowded(memory=half_empty), ALONE) == []
    culled = Memory(entries=200, limit_entries=300)
    assert codes(crowded(memory=culled), ALONE) == [("evicted-early", "big")]


def test_a_full_cache_whose_groups_nobody_knows_is_found_all_the_same() -> None:
    assert codes(crowded(9000, key_groups=[]), ALONE) == [("evicted-early", None)]
    assert codes(crowded(9000, key_groups=[group("small")]), ALONE) == [("evicted-early", None)]


def test_large_values_are_found_once_a_group_by_their_largest() -> None:
    size = 300 * 1024
    hot = [hot_key(key=f"export:{n}", group="export:{int}", bytes=size + n) for n in (1, 2)]
    memory = Memory(entries=10, largest=[LargestEntry(key="dump:7", bytes=size)])
    found = findings(cache(hot_keys=hot, memory=memory))
    assert [(each.code, each.group, each.key) for each in found] == [
        ("large-values", "export:{int}", "export:2"),
        ("large-values", "dump:{int}", "dump:7"),
    ]
    assert codes(cache(hot_keys=hot, memory=memory), large_value_bytes=size + 2) == []


def test_a_clear_that_makes_many_lookups_miss_is_found() -> None:
    ill = cache(
        operations={"get": operation(), "clear": operation(1)},
        miss_reasons=MissReasons(cleared=2000),
        misses=2000,
    )
    [finding] = findings(ill)
    assert finding.code == "clear-under-traffic"
    assert finding.evidence == {
        "clears": 1,
        "misses_by_clear": 2000,
        "misses": 2000,
        "lost_seconds": 40.0,
    }


@pytest.mark.parametrize(
    "harmless",
    [
        {"operations": {"clear": operation(1)}},
        {"operations": {"clear": operation(1)}, "miss_reasons": MissReasons(cleared=1000)},
        {"miss_reasons": MissReasons(cleared=2000)},
    ],
    ids=["nobody asked", "soon produced again", "cleared by another"],
)
def test_a_clear_that_costs_little_is_no_finding(harmless: Any) -> None:
    assert codes(cache(**harmless)) == []


def busy(**figures: Any) -> HotKey:
    return hot_key(share=0.9, lookups=1_000_000, **figures)


def test_a_key_that_keeps_the_server_busy_is_found() -> None:
    [finding] = findings(cache(hot_keys=[busy()]))
    assert (finding.code, finding.key, finding.group) == ("hot-key", "user:1", "user:{int}")
    assert finding.evidence["load_share"] == pytest.approx(1_000_000 * 2e-4 / 3600)
    [finding] = findings(cache(hot_keys=[busy(max_overcount=1000)]))
    # What may be counted too much is not said.
    assert finding.evidence["lookups"] == 999_000


def test_a_key_that_is_only_asked_for_more_often_than_others_is_no_finding() -> None:
    assert codes(cache(hot_keys=[hot_key(share=0.9)])) == []
    assert codes(cache(hot_keys=[busy(max_overcount=900_000)])) == []
    assert codes(cache(hot_keys=[hot_key(lookups=1_000_000, share=0.2)])) == []


@pytest.mark.parametrize("kind", ["page", "page_headers", "session"])
def test_a_page_that_everybody_visits_is_no_finding(kind: str) -> None:
    assert codes(cache(hot_keys=[busy()], key_groups=[group(kind=kind)])) == []


def test_entries_that_were_gone_with_nothing_evicted_are_lost() -> None:
    reasons = MissReasons(lost=4000, never_set=1000)
    big = group("big", hits=5_000, misses=5_000, sets=5_000, miss_reasons=reasons)
    ill = cache(lookups=10_000, hits=5_000, misses=5_000, miss_reasons=reasons, key_groups=[big])
    [finding] = findings(ill, ALONE)
    assert (finding.code, finding.group) == ("lost-entries", "big")
    assert finding.evidence["lost"] == 4000
    assert finding.worth.seconds is not None
    # Of many groups together nobody knows whose they are.
    many = replace(big, group="(other groups)")
    assert codes(replace(ill, key_groups=[many]), ALONE) == [("lost-entries", None)]


def test_lost_entries_tell_what_is_known_of_what_took_them_away() -> None:
    reasons = MissReasons(lost=4000, never_set=1000)
    lives = Lives(lost_by_restart=3900, restarted_at="2026-07-01T12:03:00Z")
    groups = [
        group("big", hits=5_000, misses=5_000, sets=5_000, miss_reasons=reasons, lives=lives),
        group("small", lives=Lives(lost_by_restart=5, restarted_at="2026-07-01T11:00:00Z")),
    ]
    ill = cache(lookups=10_000, hits=5_000, misses=5_000, miss_reasons=reasons, key_groups=groups)
    [finding] = findings(ill, ALONE)
    assert finding.evidence["lost_by_restart"] == 3905
    assert finding.evidence["restarted_at"] == "2026-07-01T12:03:00Z"


@pytest.mark.parametrize(
    ("lives", "evidence"),
    [
        (Lives(), {}),
        (Lives(lost_by_refusal=3000), {"lost_by_refusal": 3000}),
        (Lives(lost_by_replica=70), {"lost_by_replica": 70}),
    ],
)
def test_only_a_cause_that_is_known_is_told(lives: Lives, evidence: dict[str, int]) -> None:
    reasons = MissReasons(lost=4000, never_set=1000)
    big = group("big", hits=5_000, misses=5_000, sets=5_000, miss_reasons=reasons, lives=lives)
    ill = cache(lookups=10_000, hits=5_000, misses=5_000, miss_reasons=reasons, key_groups=[big])
    [finding] = findings(ill, ALONE)
    assert {name: each for name, each in finding.evidence.items() if "lost_by" in name} == evidence


def test_a_cache_of_files_is_told_that_its_directory_was_made_anew() -> None:
    reasons = MissReasons(lost=4000, never_set=1000)
    lives = Lives(lost_by_restart=3900, restarted_at="2026-07-01T12:03:00Z")
    big = group("big", hits=5_000, misses=5_000, sets=5_000, miss_reasons=reasons, lives=lives)
    ill = cache(
        backend="django.core.cache.backends.filebased.FileBasedCache",
        lookups=10_000,
        hits=5_000,
        misses=5_000,
        miss_reasons=reasons,
        key_groups=[big],
        memory=replace(cache().memory, limit_entries=300),
    )
    [finding] = findings(ill, ALONE)
    assert finding.evidence["lost_by_new_directory"] == 3900
    assert finding.evidence["new_directory_at"] == "2026-07-01T12:03:00Z"


def test_a_few_lost_entries_as_after_a_restart_are_no_finding() -> None:
    reasons = MissReasons(lost=90, never_set=10)
    assert codes(cache(miss_reasons=reasons), ALONE) == []
