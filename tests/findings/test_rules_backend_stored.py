from typing import Any

import pytest

from cache_monitor.reports import FreedWithin, Memory, MemoryGroup, Stale
from tests.findings.healthy import cache, codes, findings, stale_entry


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
