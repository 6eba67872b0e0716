"""A key with more events than its history holds."""

import pytest

from cache_monitor.ledger import Event, Ledger, Miss
from cache_monitor.ledger.clears import DEPTH as CLEARS
from cache_monitor.ledger.history import HORIZON, LONGEST
from tests.ledger.test_reasons import NOW, event, reason


def test_a_stampede_leaves_the_state_before_it_known(ledger: Ledger) -> None:
    stampede = [event("written", 60.1 + n / 1000) for n in range(100)]
    assert reason(ledger, [event("written", 0, timeout=60), *stampede], 60.05) == "expired"


def test_a_stampede_after_a_delete_leaves_the_delete_known(ledger: Ledger) -> None:
    stampede = [event("written", 60.1 + n / 1000) for n in range(100)]
    events = [event("written", 0), event("deleted", 60), *stampede]
    assert reason(ledger, events, 60.05) == "deleted"


def test_a_stampede_on_a_new_key_leaves_it_never_set_before(ledger: Ledger) -> None:
    assert reason(ledger, [event("written", n / 1000) for n in range(100)], -0.5) == "never_set"


def test_writes_alike_lose_nothing(ledger: Ledger) -> None:
    events = [event("written", n / 10) for n in range(100)]
    assert reason(ledger, events, 0.55) == "evicted"


def test_short_lived_writes_alike_lose_nothing(ledger: Ledger) -> None:
    events = [event("written", n / 10, timeout=0.5) for n in range(100)]
    assert reason(ledger, events, 0.55) == "expired"


def test_deleted_and_written_in_quick_turn_is_most_likely_deleted(ledger: Ledger) -> None:
    turns = [event("written" if n % 2 else "deleted", n / 10) for n in range(50)]
    assert reason(ledger, turns, 2.05) == "deleted"


def test_deleted_written_and_cleared_in_quick_turn_is_unknown(ledger: Ledger) -> None:
    turns = [event("written" if n % 2 else "deleted", n / 10) for n in range(50)]
    assert reason(ledger, [*turns, event("cleared", 2.01, key="")], 2.05) == "unknown"


def test_written_and_cleared_in_turn_is_cleared(ledger: Ledger) -> None:
    events: list[Event] = []
    for n in range(20):
        events += [event("written", n / 10), event("cleared", n / 10 + 0.05, key="")]
    assert reason(ledger, events, 1.07) == "cleared"


def test_of_a_busy_key_nothing_is_said_beyond_the_horizon(ledger: Ledger) -> None:
    turns = [event("written" if n % 2 else "deleted", n / 10) for n in range(100)]
    assert reason(ledger, turns, 9.9 - HORIZON - 0.05) == "unknown"


def test_a_delete_long_ago_does_not_colour_what_follows(ledger: Ledger) -> None:
    writes = [event("written", 10 + n, timeout=None) for n in range(20)]
    events = [event("written", 0, timeout=None), event("deleted", 1), *writes]
    assert reason(ledger, events, 25.5) == "evicted"


def test_a_version_pushed_out_by_many_others_is_unknown(ledger: Ledger) -> None:
    versions = [event("written", n, version=n) for n in range(LONGEST + 1)]
    assert reason(ledger, versions, 100, version=0) == "unknown"


def test_a_busy_version_does_not_push_out_another(ledger: Ledger) -> None:
    busy = [event("written", n / 10, version=2) for n in range(1, 100)]
    assert reason(ledger, [event("deleted", 0), *busy], 10) == "deleted"


@pytest.mark.parametrize(
    ("at", "expected"), [(CLEARS + 0.5, "cleared"), (1.5, "cleared"), (0.5, "unknown")]
)
def test_of_many_clears_the_last_are_known(ledger: Ledger, at: float, expected: str) -> None:
    clears = [event("cleared", n, key="") for n in range(CLEARS + 1)]
    ledger.post([event("written", -1, timeout=None), *clears])
    known = ledger.judge([Miss("shared", "key", 1, NOW + at)])
    assert known == [expected]


def test_a_late_delete_splits_no_hairs_in_a_run(ledger: Ledger) -> None:
    ledger.post([event("written", n / 10) for n in range(20)])
    assert reason(ledger, [event("deleted", 0.55)], 0.57) == "deleted"
