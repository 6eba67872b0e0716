"""Findings carry what was predicted of the change that they ask for."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from cache_monitor.reports import Cache, Finding, MissReasons
from cache_monitor.what_if import Bytes, CacheWhatIf, Entries, TimeoutOption, Timeouts
from tests.findings.healthy import cache, findings, group


def prediction(**changes: Any) -> CacheWhatIf:
    """Of the hour of the report: twice the timeout, or twice the room, gains."""
    it = CacheWhatIf(
        hit_ratio=0.7,
        error=0.0,
        keys=100,
        rate=1.0,
        policy="locmem",
        room=1000,
        size=1000,
        since="2026-11-22T12:15:00Z",
        until="2026-11-22T13:00:00Z",
        entries=[size(500, 0.5), size(1000, 0.7), size(2000, 0.78, 20.0), size(4000, 0.8, 25.0)],
        timeouts=[
            Timeouts(
                group="menu",
                timeout=300.0,
                hit_ratio=0.7,
                options=[option(0.5, 0.6, -30.0), option(2, 0.79, 41.0), option(4, 0.8, 45.0)],
            )
        ],
    )
    return replace(it, **changes)


def size(entries: int, ratio: float, saved: float | None = None) -> Entries:
    return Entries(entries=entries, hit_ratio=ratio, error=0.01, seconds_saved_per_hour=saved)


def option(factor: float, ratio: float | None, saved: float | None = None) -> TimeoutOption:
    return TimeoutOption(
        factor=factor,
        timeout=300.0 * factor,
        hit_ratio=ratio,
        error=0.01,
        seconds_saved_per_hour=saved,
    )


def expiring(it: CacheWhatIf | None) -> Cache:
    menu = group(
        "menu",
        misses=3000,
        hits=7000,
        sets=3000,
        miss_reasons=MissReasons(expired=2900, never_set=100),
    )
    return replace(cache(key_groups=[menu]), what_if=it)


def predicted_in(ill: Cache, code: str) -> dict[str, Any]:
    found: list[Finding] = [each for each in findings(ill) if each.code == code]
    (finding,) = found
    return {name: it for name, it in finding.evidence.items() if name.startswith("predicted_")}


def test_a_short_timeout_has_the_shortest_longer_one_that_gains_about_as_much_as_any() -> None:
    assert predicted_in(expiring(prediction()), "short-timeout") == {
        "predicted_instead_timeout": 300.0,
        "predicted_timeout": 600.0,
        "predicted_points": 9.0,
        "predicted_error_points": 1.0,
        "predicted_saved_seconds": 41.0,
    }


@pytest.mark.parametrize(
    "it",
    [
        None,
        prediction(timeouts=[]),
        prediction(since="2026-11-20T12:00:00Z", until="2026-11-20T13:00:00Z"),
        prediction(since="2026-12-20T12:00:00Z", until="2026-12-20T13:00:00Z"),
        prediction(
            timeouts=[
                Timeouts(group="menu", timeout=300.0, hit_ratio=0.7, options=[option(2, 0.705)])
            ]
        ),
        prediction(
            timeouts=[
                Timeouts(group="menu", timeout=300.0, hit_ratio=0.7, options=[option(2, None)])
            ]
        ),
    ],
    ids=[
        "none",
        "of another group",
        "of before",
        "of later",
        "within the error",
        "trace too short",
    ],
)
def test_what_is_not_known_to_gain_is_no_evidence(it: CacheWhatIf | None) -> None:
    assert predicted_in(expiring(it), "short-timeout") == {}


def test_old_content_has_what_half_of_its_timeout_costs() -> None:
    old = replace(
        cache(key_groups=[group("menu", age_p50=50_000.0, age_p90=100_000.0)]),
        what_if=prediction(),
    )
    found = predicted_in(old, "aged-content")
    assert found["predicted_timeout"] == 150.0
    assert found["predicted_points"] == -10.0
    assert found["predicted_saved_seconds"] == -30.0


def test_early_evictions_have_the_smallest_room_that_gains_about_as_much_as_any() -> None:
    reasons = MissReasons(evicted=4000, never_set=100)
    menu = group("menu", misses=4000, sets=4000, hits=6000, miss_reasons=reasons)
    crowded = cache(key_groups=[menu], hits=5900, misses=4100, miss_reasons=reasons)
    assert predicted_in(replace(crowded, what_if=prediction()), "evicted-early") == {
        "predicted_instead_entries": 1000,
        "predicted_entries": 2000,
        "predicted_points": 8.0,
        "predicted_error_points": 1.0,
        "predicted_saved_seconds": 20.0,
    }


def test_more_room_is_told_in_bytes_too_where_it_is_known_what_entries_take() -> None:
    reasons = MissReasons(evicted=4000, never_set=100)
    menu = group("menu", misses=4000, sets=4000, hits=6000, miss_reasons=reasons)
    crowded = cache(key_groups=[menu], hits=5900, misses=4100, miss_reasons=reasons)
    it = prediction()
    memory = [
        Bytes(bytes=32 * each.entries, entries=each.entries, hit_ratio=None, error=None)
        for each in it.entries
    ]
    found = predicted_in(replace(crowded, what_if=replace(it, bytes=memory)), "evicted-early")
    assert (found["predicted_instead_bytes"], found["predicted_bytes"]) == (32_000, 64_000)


def test_the_share_of_stale_hits_is_told_where_it_is_known() -> None:
    known = replace(option(2, 0.79, 41.0), stale_share=0.004)
    group_of_it = Timeouts(
        group="menu", timeout=300.0, hit_ratio=0.7, options=[known], unchanged=0.97
    )
    (finding,) = findings(expiring(prediction(timeouts=[group_of_it])))
    assert finding.evidence["predicted_stale_share"] == 0.004
    assert finding.evidence["unchanged_share"] == 0.97
