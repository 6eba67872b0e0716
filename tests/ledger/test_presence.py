"""Who is waited for before a miss is judged."""

from math import inf

from cache_monitor.ledger import Ledger
from cache_monitor.ledger.presence import GONE_AFTER, SLOTS

NOW = 1_700_000_000.0


def test_nobody_is_waited_for_where_there_are_no_others(ledger: Ledger) -> None:
    assert ledger.told_until("me", NOW) == inf
    ledger.note_told("me", NOW - 5)
    assert ledger.told_until("me", NOW) == inf


def test_the_slowest_of_the_others_is_waited_for(ledger: Ledger) -> None:
    ledger.note_told("me", NOW - 9)
    ledger.note_told("quick", NOW - 1)
    ledger.note_told("slow", NOW - 3)
    assert ledger.told_until("me", NOW) == NOW - 3
    ledger.note_told("slow", NOW)
    assert ledger.told_until("me", NOW) == NOW - 1


def test_who_has_left_is_not_waited_for(ledger: Ledger) -> None:
    ledger.note_told("other", NOW - 3)
    ledger.note_told("other", inf)
    assert ledger.told_until("me", NOW) == inf


def test_who_was_silent_for_long_has_died(ledger: Ledger) -> None:
    ledger.note_told("other", NOW)
    assert ledger.told_until("me", NOW + GONE_AFTER - 1) == NOW
    assert ledger.told_until("me", NOW + GONE_AFTER + 1) == inf


def test_the_dead_make_room_and_what_finds_none_is_not_waited_for(ledger: Ledger) -> None:
    for number in range(SLOTS):
        ledger.note_told(str(number), NOW)
    ledger.note_told("one too many", NOW - 5)
    assert ledger.told_until("me", NOW) == NOW
    ledger.note_told("later", NOW + 2 * GONE_AFTER)
    assert ledger.told_until("me", NOW + 2 * GONE_AFTER) == NOW + 2 * GONE_AFTER
