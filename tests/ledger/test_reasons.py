"""Each reason, told from what happened before the miss."""

import pytest

from cache_monitor.ledger import Event, Kind, Ledger, Miss, Reason

NOW = 1_700_000_000.0
"""Unix time at which each story begins; the times below count from it."""


def event(
    kind: Kind,
    at: float,
    timeout: float | None = 300,
    version: int = 1,
    seconds: float = 0.0,
    key: str = "key",
) -> Event:
    expires_at = None if timeout is None else NOW + at + timeout
    return Event("shared", kind, NOW + at, key, version, expires_at, seconds)


def reason(
    ledger: Ledger, events: list[Event], at: float, version: int = 1, seconds: float = 0.0
) -> Reason:
    ledger.post(events)
    [reason] = ledger.judge([Miss("shared", "key", version, NOW + at, seconds)])
    return reason


def test_a_key_that_nobody_wrote_was_never_set(ledger: Ledger) -> None:
    assert reason(ledger, [event("written", 0, key="other")], 1) == "never_set"


def test_a_key_written_only_after_the_miss_was_never_set(ledger: Ledger) -> None:
    assert reason(ledger, [event("written", 1)], 0.5) == "never_set"


def test_a_key_past_its_timeout_is_expired(ledger: Ledger) -> None:
    assert reason(ledger, [event("written", 0, timeout=10)], 11) == "expired"


def test_a_key_in_the_last_second_of_its_timeout_is_expired(ledger: Ledger) -> None:
    assert reason(ledger, [event("written", 0, timeout=10)], 9.2) == "expired"


def test_a_key_without_a_timeout_does_not_expire(ledger: Ledger) -> None:
    assert reason(ledger, [event("written", 0, timeout=None)], 1e8) == "evicted"


def test_a_key_that_should_be_there_was_evicted(ledger: Ledger) -> None:
    assert reason(ledger, [event("written", 0, timeout=10)], 8) == "evicted"


def test_a_touch_puts_the_expiry_off(ledger: Ledger) -> None:
    events = [event("written", 0, timeout=10), event("touched", 5, timeout=100)]
    assert reason(ledger, events, 50) == "evicted"


def test_a_touch_can_bring_the_expiry_forward(ledger: Ledger) -> None:
    events = [event("written", 0), event("touched", 5, timeout=2)]
    assert reason(ledger, events, 50) == "expired"


def test_a_deleted_key_is_deleted(ledger: Ledger) -> None:
    assert reason(ledger, [event("written", 0), event("deleted", 1)], 2) == "deleted"


def test_a_key_deleted_and_written_again_since_is_deleted(ledger: Ledger) -> None:
    events = [event("written", 0), event("deleted", 1), event("written", 3)]
    assert reason(ledger, events, 2) == "deleted"


def test_a_key_deleted_and_written_before_the_miss_was_evicted(ledger: Ledger) -> None:
    events = [event("written", 0), event("deleted", 1), event("written", 3)]
    assert reason(ledger, events, 4) == "evicted"


def test_a_key_written_before_a_clear_is_cleared(ledger: Ledger) -> None:
    assert reason(ledger, [event("written", 0), event("cleared", 1, key="")], 2) == "cleared"


def test_a_key_written_after_a_clear_was_evicted(ledger: Ledger) -> None:
    assert reason(ledger, [event("cleared", 0, key=""), event("written", 1)], 2) == "evicted"


def test_a_clear_concerns_its_own_space_alone(ledger: Ledger) -> None:
    events = [event("written", 0), Event("locmem 17", "cleared", NOW + 1)]
    assert reason(ledger, events, 2) == "evicted"


def test_a_clear_does_not_make_a_key_of_which_nobody_wrote(ledger: Ledger) -> None:
    assert reason(ledger, [event("cleared", 0, key="")], 1) == "never_set"


def test_the_same_key_of_another_space_is_another_key(ledger: Ledger) -> None:
    ledger.post([event("written", 0)])
    assert ledger.judge([Miss("locmem 17", "key", 1, NOW + 1)]) == ["never_set"]


def test_a_key_written_in_another_version_changed_its_version(ledger: Ledger) -> None:
    assert reason(ledger, [event("written", 0, version=1)], 1, version=2) == "version_changed"


def test_a_key_that_expired_in_another_version_was_never_set_in_this_one(ledger: Ledger) -> None:
    events = [event("written", 0, timeout=10)]
    assert reason(ledger, events, 20, version=2) == "never_set"


def test_a_key_moved_to_the_next_version_changed_its_version(ledger: Ledger) -> None:
    events = [event("written", 0), event("moved", 1), event("written", 1, version=2)]
    assert reason(ledger, events, 2) == "version_changed"


def test_versions_have_histories_of_their_own(ledger: Ledger) -> None:
    events = [event("written", 0, version=1), event("written", 1, version=2)]
    assert reason(ledger, [*events, event("deleted", 2, version=2)], 3, version=1) == "evicted"


def test_a_version_is_the_same_as_number_and_as_text(ledger: Ledger) -> None:
    ledger.post([event("deleted", 0)])
    assert ledger.judge([Miss("shared", "key", "1", NOW + 1)]) == ["deleted"]


def test_events_of_several_processes_may_come_in_any_order(ledger: Ledger) -> None:
    ledger.post([event("written", 3)])
    ledger.post([event("deleted", 2), event("written", 0)])
    assert reason(ledger, [event("written", 1)], 2.5) == "deleted"


@pytest.mark.parametrize("kind", ["deleted", "cleared"])
def test_what_overlaps_the_miss_explains_it_better_than_eviction(
    ledger: Ledger, kind: Kind
) -> None:
    key = "" if kind == "cleared" else "key"
    events = [event("written", 0), event(kind, 2.1, seconds=0.2, key=key)]
    assert reason(ledger, events, 2, seconds=0.05) == kind


@pytest.mark.parametrize("kind", ["deleted", "cleared"])
def test_what_overlaps_the_write_explains_the_miss_better_than_eviction(
    ledger: Ledger, kind: Kind
) -> None:
    key = "" if kind == "cleared" else "key"
    events = [event(kind, 1, key=key), event("written", 1.1, seconds=0.2)]
    assert reason(ledger, events, 2) == kind


def test_a_delete_that_started_after_the_miss_does_not_explain_it(ledger: Ledger) -> None:
    events = [event("written", 0), event("deleted", 3, seconds=0.2)]
    assert reason(ledger, events, 2, seconds=0.05) == "evicted"


def test_keys_may_hold_any_character(ledger: Ledger) -> None:
    keys = ["", "ключ", "\udcff", "a\0b", "x" * 5000]
    ledger.post([event("deleted", 0, key=key) for key in keys])
    misses = [Miss("shared", key, 1, NOW + 1) for key in keys]
    assert ledger.judge(misses) == ["deleted"] * len(keys)


def test_nothing_to_do_is_fine(ledger: Ledger) -> None:
    ledger.post([])
    assert ledger.judge([]) == []


def test_after_the_clock_was_set_back_nobody_knows_what_came_first(ledger: Ledger) -> None:
    before = [event("written", 3600), event("deleted", 3601)]
    assert reason(ledger, before, 10) == "unknown"
    assert reason(ledger, [event("written", 11)], 20) == "unknown"
    # Until it is as late again.
    assert reason(ledger, [], 3700) == "deleted"


def test_a_key_first_written_after_the_clock_was_set_back_is_judged(ledger: Ledger) -> None:
    ledger.post([event("written", 3600, key="other")])
    assert reason(ledger, [event("written", 10, timeout=5)], 20) == "expired"


def test_a_miss_may_wait_to_be_judged_while_others_write(ledger: Ledger) -> None:
    assert reason(ledger, [event("deleted", 0), event("written", 50)], 1) == "deleted"
