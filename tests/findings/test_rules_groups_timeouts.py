from typing import Any

import pytest

from cache_monitor.reports import Changes, MissReasons
from tests.findings.healthy import cache, codes, findings, group


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


def test_values_that_are_served_for_days_are_found() -> None:
    assert codes(cache(key_groups=[group(age_p90=90_000.0)])) == [("aged-content", "user:{int}")]
    assert codes(cache(key_groups=[group(age_p90=80_000.0)])) == []
    assert codes(cache(key_groups=[group(age_p90=None)])) == []
