"""What a call tells the ledger follows from its operation, its arguments and its answer."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cache_monitor.calls import Call, Source
from cache_monitor.collecting.telling import Facts, events_of, is_telling
from cache_monitor.ledger import Event

FACTS = Facts("shared", default_timeout=300.0, version=1)
NOW = 1_800_000_000.0


def _events(operation: str, key: Any = "a", facts: Facts = FACTS, **extra: Any) -> list[Event]:
    call: Any = Call(Source("default", operation), 0.0, 0.5, key, **extra)
    return list(events_of(call, facts, NOW)) if is_telling(call) else []


def _expiries(operation: str, **extra: Any) -> list[float | None]:
    return [
        None if event.expires_at is None else event.expires_at - event.at
        for event in _events(operation, **extra)
        if event.kind == "touched"
    ]


@pytest.mark.parametrize(
    ("operation", "timeout", "expiry"),
    [
        ("expire", 60, 60.0),
        ("expire", timedelta(minutes=1), 60.0),
        ("pexpire", 1500, 1.5),
        ("pexpire", timedelta(seconds=2), 2.0),
        ("expire_at", NOW + 60.5, 60.0),
        ("expire_at", datetime.fromtimestamp(NOW + 60.5, UTC), 60.0),
        ("pexpire_at", (NOW + 60.5) * 1000, 60.0),
        ("persist", None, None),
        ("touch", 60, 60.0),
    ],
)
def test_a_new_expiry_leaves_the_value_as_it_is(
    operation: str, timeout: object, expiry: float | None
) -> None:
    assert _expiries(operation, timeout=timeout, effect=True) == [expiry]


@pytest.mark.parametrize("operation", ["expire", "pexpire", "expire_at", "persist", "touch"])
def test_a_new_expiry_for_nothing_tells_nothing(operation: str) -> None:
    assert _events(operation, timeout=60, effect=False) == []


def test_a_delete_by_pattern_sweeps_its_version() -> None:
    [event] = _events("delete_pattern", "user:*", version=3)
    assert (event.kind, event.key, event.version, event.seconds) == ("swept", "user:*", 3, 0.5)
    [event] = _events("delete_pattern", "user:*", FACTS._replace(prefix="site"))
    assert (event.key, event.version) == ("site\0user:*", 1)


@pytest.mark.parametrize(
    ("operation", "answer", "after"),
    [("incr_version", 6, 6), ("decr_version", -3, -3), ("incr_version", None, 2)],
)
def test_an_entry_goes_to_the_version_that_the_call_answers(
    operation: str, answer: int | None, after: int
) -> None:
    gone, come = _events(operation, effect=answer)
    assert (gone.kind, gone.version) == ("moved", 1)
    assert (come.kind, come.version, come.expires_at) == ("touched", after, come.at + 300)


def test_a_version_that_is_no_number_is_only_left() -> None:
    assert [event.kind for event in _events("incr_version", version="one")] == ["moved"]


def test_what_failed_or_changes_nothing_is_not_told() -> None:
    assert _events("set", error="TimeoutError") == []
    assert _events("keys") == _events("ttl") == _events("has_key") == []
