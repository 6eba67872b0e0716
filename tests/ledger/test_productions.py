"""Productions of one entry that overlap."""

from itertools import permutations
from pathlib import Path

import pytest

from cache_monitor.ledger import Ledger, Production, productions
from cache_monitor.ledger.productions import AHEAD, BUCKETS, TOLERANCE, WAYS

NOW = 1_700_000_000.0


def _note(ledger: Ledger, *spans: tuple[float, float], key: str = "a") -> list[bool]:
    return ledger.note_produced(
        [Production("space", key, 1, NOW + began, NOW + ended) for began, ended in spans]
    )


def test_the_first_that_is_told_of_was_needed(ledger: Ledger) -> None:
    assert _note(ledger, (0.0, 1.0), (0.1, 1.1), (0.9, 2.0)) == [False, True, True]


def test_whoever_tells_first_all_but_one_were_in_vain(ledger: Ledger) -> None:
    spans = [(0.0, 1.0), (0.1, 0.9), (0.2, 1.4), (0.3, 0.5)]
    for number, order in enumerate(permutations(spans)):
        assert sum(_note(ledger, *order, key=str(number))) == 3


def test_one_after_the_other_is_no_stampede(ledger: Ledger) -> None:
    assert _note(ledger, (0.0, 1.0), (1.0, 2.0), (5.0, 6.0), (3.0, 4.0)) == [False] * 4


def test_a_moment_that_two_share_is_no_stampede(ledger: Ledger) -> None:
    assert _note(ledger, (0.0, 1.0), (1.0 - TOLERANCE / 2, 2.0)) == [False, False]
    assert _note(ledger, (3.0, 4.0), (4.0 - 2 * TOLERANCE, 5.0)) == [False, True]


def test_other_keys_versions_and_spaces_are_other_values(ledger: Ledger) -> None:
    others = [("space", "a", 1), ("space", "b", 1), ("space", "a", 2), ("other", "a", 1)]
    assert not any(ledger.note_produced([Production(*each, NOW, NOW + 1) for each in others]))


def test_a_full_table_forgets_what_ended_first(ledger: Ledger) -> None:
    many = 5 * BUCKETS * WAYS
    spans = [Production("space", str(n), 1, NOW, NOW + 1 + n / many) for n in range(many)]
    assert not any(ledger.note_produced(spans))
    assert _note(ledger, (0.5, 1.5), key=str(many - 1)) == [True]
    assert _note(ledger, (0.5, 1.5), key="0") == [False]


def test_what_is_of_before_the_host_was_started_anew_makes_room_first(ledger: Ledger) -> None:
    for number in range(WAYS):
        _note(ledger, (2 * AHEAD + number, 2 * AHEAD + number + 0.5))
    spans = [(float(number), number + 0.9) for number in range(WAYS)]
    assert _note(ledger, *spans) == [False] * WAYS
    assert _note(ledger, *spans) == [True] * WAYS


def test_the_same_moment_after_another_start_of_the_host_is_another_one(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _note(ledger, (40.0, 41.0)) == [False]
    monkeypatch.setattr(productions, "boot", lambda: "another")
    assert _note(ledger, (40.0, 41.0)) == [False]
    assert _note(ledger, (40.0, 41.0)) == [True]


def test_processes_that_open_one_file_know_of_each_other(ledger: Ledger, path: Path) -> None:
    other = Ledger(path, slots=1024)
    assert _note(ledger, (0.0, 1.0)) == [False]
    assert _note(other, (0.5, 1.5)) == [True]
    other.close()
