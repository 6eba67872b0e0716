from typing import Any

import pytest

from cache_monitor.reports.schema import (
    Changes,
    FreedWithin,
    Memory,
    MemoryGroup,
    MissReasons,
    Stale,
)
from tests.findings.healthy import cache, codes, findings, group, stale_entry


def expiring(**figures: Any) -> Any:
    ill = {
        "misses": 3000,
        "hits": 7000,
        "sets": 3000,
        "miss_reasons": MissReasons(expired=2900, never_set=100),
        **figures,
    }
    return cache(key_groups=[group("menu", **ill)])


def test_a_group_that_expires_while_it_is_asked_for_wants_a_longer_timeout() -> None:
    [finding] = findings(expiring())
    assert (finding.code, finding.group, finding.alias) == ("short-timeout", "menu", "default")
    assert finding.evidence == {
        "lookups": 10_000,
        "misses": 3000,
        "distinct_keys": 100,
        "expired": 2900,
        "lost_seconds": 58.0,
    }
    assert finding.evidence_errors == {"lost_seconds": None}
    assert "timeout" in finding.advice


def test_what_a_sample_tells_has_its_error() -> None:
    [finding] = findings(
        expiring(
            lookups=50_000,
            hits=47_000 - 10_000,
            misses=13_000,
            sets=13_000,
            distinct_keys=1000,
            miss_reasons=MissReasons(expired=12_900, never_set=100, judged=400, error=0.05),
        )
    )
    assert (finding.code, finding.evidence["expired"]) == ("short-timeout", 12_900)
    errors = {"expired": 650, "distinct_keys": 300, "lost_seconds": None}
    assert finding.evidence_errors == errors
    few = MissReasons(expired=2900, never_set=100, judged=4, error=0.5)
    assert codes(expiring(miss_reasons=few)) == []


@pytest.mark.parametrize(
    "harmless",
    [
        {"produce_seconds": 0.01},
        {"distinct_keys": 5000},
        {"miss_reasons": MissReasons(expired=1400, evicted=1600)},
        {"kind": "session"},
        {"misses": 3000, "hits": 9000, "lookups": 12_000},
    ],
    ids=[
        "values that are soon produced",
        "keys asked for twice",
        "other reasons",
        "sessions",
        "found three times and more before they expire",
    ],
)
def test_expiries_that_cost_little_or_would_not_end_are_no_finding(harmless: Any) -> None:
    assert codes(expiring(**harmless)) == []


def test_where_values_mostly_change_a_longer_timeout_is_no_advice() -> None:
    [finding] = findings(expiring(changes=Changes(rewrites=2900, unchanged=0.8)))
    assert (finding.code, finding.evidence["unchanged_share"]) == ("short-timeout", 0.8)
    assert codes(expiring(changes=Changes(rewrites=2900, unchanged=0.4))) == []


def rewritten(unchanged: float | None = 0.95, **figures: Any) -> Any:
    ill = {
        "lookups": 15_000,
        "misses": 3000,
        "hits": 12_000,
        "sets": 3000,
        "miss_reasons": MissReasons(expired=2900, never_set=100),
        "changes": Changes(rewrites=2900, unchanged=unchanged),
        **figures,
    }
    return cache(key_groups=[group("menu", **ill)])


def test_values_that_are_produced_anew_and_are_the_same_are_found() -> None:
    [finding] = findings(rewritten())
    assert (finding.code, finding.group) == ("unchanged-rewrites", "menu")
    assert finding.evidence == {
        "expired_rewrites": 2900,
        "unchanged_share": 0.95,
        "lost_seconds": 55.1,
    }


@pytest.mark.parametrize(
    "harmless",
    [
        {"unchanged": None},
        {"unchanged": 0.8},
        {"produce_seconds": 0.001},
        {"kind": "session"},
        {"is_state": True},
    ],
    ids=["nobody knows", "some change", "soon produced", "sessions", "state"],
)
def test_rewrites_that_change_something_or_cost_little_are_no_finding(harmless: Any) -> None:
    assert codes(rewritten(**harmless)) == []


def test_old_values_that_have_not_changed_are_no_finding() -> None:
    def served(stale: float | None) -> Any:
        return cache(key_groups=[group(age_p90=90_000.0, changes=Changes(stale_share=stale))])

    assert codes(served(0.05)) == []
    [finding] = findings(served(0.3))
    assert (finding.code, finding.evidence["stale_share"]) == ("aged-content", 0.3)


def test_what_a_value_takes_to_produce_is_assumed_where_nobody_has_seen_it() -> None:
    unseen = expiring(produce_seconds=None)
    assert codes(unseen) == []
    assert codes(unseen, assumed_produce_seconds=0.02) == [("short-timeout", "menu")]


def endless(counts: dict[str, int | None], no_expiry: int = 300, **figures: Any) -> Any:
    groups = [
        MemoryGroup(group=name, entries=400, bytes=None, no_expiry=count)
        for name, count in counts.items()
    ]
    memory = Memory(**{"entries": 1000, "exact": True, "groups": groups, **figures})
    # Of those shown most are of "a", which tells nothing of the others.
    shown = [*[stale_entry("no_expiry", "a")] * 2, stale_entry("no_expiry", "b")]
    return cache(memory=memory, stale=Stale(no_expiry=no_expiry, entries=shown))


def test_entries_without_a_timeout_are_named_by_the_group_that_has_most_of_them() -> None:
    [finding] = findings(endless({"a": 100, "b": 200}))
    assert (finding.code, finding.group) == ("no-expiry", "b")
    assert finding.evidence["entries_without_expiry"] == 300


@pytest.mark.parametrize(
    "unsure",
    [
        endless({"a": None, "b": None}),
        endless({"a": 150, "b": 150}),
        endless({"b": 140, "a": 20}),
        endless({"b": 140, "(other groups)": 160}),
        endless({"b": 200, "a": 100}, exact=False, examined=50),
    ],
    ids=["not counted", "as many", "in groups not listed", "in one of many", "from a few entries"],
)
def test_no_group_is_named_where_another_may_have_more_entries_without_a_timeout(
    unsure: Any,
) -> None:
    [finding] = findings(unsure)
    assert (finding.code, finding.group) == ("no-expiry", None)
    assert "“" not in finding.advice


def test_a_sample_of_many_entries_names_the_group_without_timeouts() -> None:
    [finding] = findings(endless({"b": 200, "a": 100}, exact=False, examined=500))
    assert (finding.code, finding.group) == ("no-expiry", "b")
    assert finding.evidence_errors == {"entries_without_expiry": None, "entries": None}


@pytest.mark.parametrize("endless", [None, 0, 100, 200])
def test_a_few_entries_without_a_timeout_are_no_finding(endless: int | None) -> None:
    assert codes(cache(stale=Stale(no_expiry=endless))) == []


def test_a_few_heavy_entries_without_a_timeout_are_found() -> None:
    mib = 1024 * 1024
    memory = Memory(entries=10, bytes=20 * mib, freed_within=FreedWithin(never=13 * mib))
    ill = cache(memory=memory, stale=Stale(no_expiry=3))
    assert codes(ill) == [("no-expiry", None)]
    assert codes(ill, idle_memory_bytes=13 * mib) == []


def full(expired: int, limit: int | None, size: int | None = 1_000_000) -> Any:
    memory = Memory(entries=1000, bytes=50_000_000, limit_entries=limit)
    return cache(memory=memory, stale=Stale(expired=expired, expired_bytes=size))


def test_expired_entries_that_fill_the_cache_are_found() -> None:
    assert codes(full(501, limit=1000)) == [("expired-stored", None)]
    assert codes(full(500, limit=1000)) == []
    assert codes(full(900, limit=None)) == []


def test_expired_entries_that_weigh_much_are_found() -> None:
    [finding] = findings(full(300, limit=None, size=15_000_000))
    assert (finding.code, finding.worth.bytes) == ("expired-stored", 15_000_000)
    assert finding.evidence["expired_bytes"] == 15_000_000
    assert codes(full(200, limit=None, size=50_000_000)) == []
    # Many they may be, and small; or of unknown size.
    assert codes(full(900, limit=None, size=1000)) == []
    assert codes(full(900, limit=None, size=None)) == []


def test_values_that_are_served_for_days_are_found() -> None:
    assert codes(cache(key_groups=[group(age_p90=90_000.0)])) == [("aged-content", "user:{int}")]
    assert codes(cache(key_groups=[group(age_p90=80_000.0)])) == []
    assert codes(cache(key_groups=[group(age_p90=None)])) == []
