"""Deletes by a pattern are taken for the deletes that they are."""

from pathlib import Path

import pytest

from cache_monitor.ledger import Event, Ledger, Miss, Reason
from cache_monitor.ledger.sweeps import BUCKETS, DEPTH, PATTERN_BYTES, WAYS
from tests.ledger.test_reasons import NOW, event


def _sweep(pattern: str, at: float, version: int = 1, seconds: float = 0.0) -> Event:
    return Event("shared", "swept", NOW + at, pattern, version, seconds=seconds)


def _reason(ledger: Ledger, key: str, at: float, version: int = 1, seconds: float = 0.0) -> Reason:
    [reason] = ledger.judge([Miss("shared", key, version, NOW + at, seconds)])
    return reason


def test_keys_that_match_were_deleted_and_others_are_not_touched(ledger: Ledger) -> None:
    ledger.post([event("written", 0, key=key) for key in ("user:1", "user:2", "page:1")])
    ledger.post([_sweep("user:*", 1)])
    assert _reason(ledger, "user:1", 2) == _reason(ledger, "user:2", 2) == "deleted"
    assert _reason(ledger, "page:1", 2) == "evicted"
    assert _reason(ledger, "user:3", 2) == "never_set"


def test_what_was_written_later_is_not_concerned(ledger: Ledger) -> None:
    ledger.post([_sweep("user:*", 1), event("written", 2, key="user:1")])
    assert _reason(ledger, "user:1", 3) == "evicted"


def test_a_miss_before_the_sweep_is_not_explained_by_it(ledger: Ledger) -> None:
    ledger.post([event("written", 0, timeout=10, key="user:1"), _sweep("user:*", 20)])
    assert _reason(ledger, "user:1", 15) == "expired"


def test_a_sweep_concerns_one_version(ledger: Ledger) -> None:
    ledger.post([event("written", 0, key="user:1", version=each) for each in (1, 2)])
    ledger.post([_sweep("user:*", 1, version=2)])
    assert _reason(ledger, "user:1", 2) == "evicted"
    assert _reason(ledger, "user:1", 2, version=2) == "deleted"


def test_a_version_that_was_swept_is_not_elsewhere(ledger: Ledger) -> None:
    ledger.post([event("written", 0, key="user:1", version=2)])
    assert _reason(ledger, "user:1", 1) == "version_changed"
    ledger.post([_sweep("user:*", 2, version=2)])
    assert _reason(ledger, "user:1", 3) == "never_set"


def test_a_prefix_is_no_part_of_the_pattern(ledger: Ledger) -> None:
    ledger.post([event("written", 0, key="site\0user:1"), event("written", 0, key="user:1")])
    ledger.post([_sweep("site\0*", 1)])
    assert _reason(ledger, "site\0user:1", 2) == "deleted"
    assert _reason(ledger, "user:1", 2) == "evicted"


def test_a_sweep_that_overlaps_the_miss_is_its_reason(ledger: Ledger) -> None:
    ledger.post([event("written", 0, key="user:1"), _sweep("user:*", 2, seconds=1)])
    assert _reason(ledger, "user:1", 1.5, seconds=0.2) == "deleted"


def test_a_pattern_that_is_too_long_makes_unknown_what_it_may_mean(ledger: Ledger) -> None:
    ledger.post([event("written", 0, key=key) for key in ("user:1", "page:1")])
    ledger.post([_sweep("user:[0-9]" + "x" * PATTERN_BYTES, 1)])
    assert _reason(ledger, "user:1", 2) == "unknown"
    assert _reason(ledger, "user:1", 0.5) == "evicted"
    assert _reason(ledger, "page:1", 2) == "evicted"


def test_a_pattern_that_is_used_again_does_not_hide_the_earlier_uses(ledger: Ledger) -> None:
    ledger.post([event("written", 0, key="user:1"), _sweep("user:*", 1)])
    ledger.post([event("written", 3, key="user:1"), _sweep("user:*", 4)])
    assert _reason(ledger, "user:1", 2) == "deleted"
    assert _reason(ledger, "user:1", 5) == "deleted"
    for n in range(DEPTH):
        ledger.post([_sweep("user:*", 10 + n)])
    assert _reason(ledger, "user:1", 9) != "evicted"


def test_more_patterns_than_have_room_make_older_writes_unknown(ledger: Ledger) -> None:
    ledger.post([event("written", 0, timeout=None, key="page:1")])
    ledger.post([_sweep(f"user:{n}:*", 1 + n) for n in range(WAYS * BUCKETS + 1)])
    ledger.post([event("written", 1000, timeout=None, key="page:2")])
    assert _reason(ledger, "page:1", 2000) == "unknown"
    assert _reason(ledger, "page:2", 2000) == "evicted"


def test_other_caches_do_not_suffer_from_that(ledger: Ledger) -> None:
    others = [f"other {n}" for n in range(8)]
    ledger.post([Event(other, "written", NOW, "page:1") for other in others])
    ledger.post([_sweep(f"user:{n}:*", 1 + n) for n in range(WAYS * BUCKETS + 1)])
    reasons = ledger.judge([Miss(other, "page:1", 1, NOW + 2000) for other in others])
    assert reasons.count("evicted") >= len(others) - 1


@pytest.mark.parametrize("pattern", ["", "*", "\udc80*", "[", "\\", "é" * PATTERN_BYTES])
def test_no_pattern_harms_the_ledger(path: Path, pattern: str) -> None:
    ledger = Ledger(path, slots=64)
    ledger.post([event("written", 0, key="user:1"), _sweep(pattern, 1)])
    assert _reason(ledger, "user:1", 2) in {"deleted", "evicted", "unknown"}
    ledger.close()


def test_writes_before_and_after_a_sweep_do_not_become_one(ledger: Ledger) -> None:
    """A busy key's history is shortened; what the sweep did must not get lost with it."""
    for n in range(12):
        ledger.post([event("written", n / 4, key="user:1"), _sweep("user:*", n / 4 + 0.1)])
    assert [_reason(ledger, "user:1", n / 4 + 0.2) for n in range(10, 12)] == ["deleted"] * 2
