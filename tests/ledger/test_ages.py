"""How old a value is that was found: the ledger knows its last write."""

from cache_monitor.ledger import Event, Hit, Ledger
from tests.ledger.test_reasons import NOW, event


def _written(ledger: Ledger, events: list[Event], at: float, version: int = 1) -> float | None:
    ledger.post(events)
    [written] = ledger.written([Hit("shared", "key", version, NOW + at)])
    return None if written is None else written - NOW


def test_the_last_write_before_the_hit_counts(ledger: Ledger) -> None:
    events = [event("written", at) for at in (1, 5, 9)]
    assert _written(ledger, events, 7) == 5


def test_a_touch_makes_no_value_younger(ledger: Ledger) -> None:
    assert _written(ledger, [event("written", 1), event("touched", 5)], 7) == 1


def test_an_entry_that_only_moved_is_of_unknown_age(ledger: Ledger) -> None:
    moved = [event("written", 1), event("moved", 5), event("touched", 5, version=2)]
    assert _written(ledger, moved, 7, version=2) is None


def test_a_version_has_writes_of_its_own(ledger: Ledger) -> None:
    events = [event("written", 1), event("written", 5, version=2)]
    assert _written(ledger, events, 7) == 1
    assert _written(ledger, [], 7, version=2) == 5


def test_what_should_not_be_there_was_written_unseen(ledger: Ledger) -> None:
    assert _written(ledger, [], 1) is None
    assert _written(ledger, [event("written", 1), event("deleted", 2)], 3) is None
    assert _written(ledger, [event("written", 4), event("cleared", 5)], 6) is None


def test_what_was_swept_was_written_unseen(ledger: Ledger) -> None:
    sweep = Event("shared", "swept", NOW + 2, "k*")
    assert _written(ledger, [event("written", 1), sweep], 3) is None


def test_a_hit_before_all_that_is_known_is_of_unknown_age(ledger: Ledger) -> None:
    assert _written(ledger, [event("written", 5)], 3) is None


def test_of_writes_that_had_to_be_joined_the_last_counts(ledger: Ledger) -> None:
    events = [event("written", float(at)) for at in range(0, 100, 10)]
    assert _written(ledger, events, 95) == 90
    assert _written(ledger, [], 5) is None
