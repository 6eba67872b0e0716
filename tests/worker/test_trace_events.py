"""What a call tells the trace follows from its operation, its arguments and its answer."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache.backends.base import DEFAULT_TIMEOUT

from cache_monitor.calls import Call, Source
from cache_monitor.trace import (
    CLEAR,
    DELETE,
    FAILED,
    HIT,
    MISS,
    MOVE,
    NEVER,
    PATTERN_DELETE,
    REFUSED,
    SECOND,
    TOUCH,
    UNKNOWN_TIME,
    USE,
    WRITE,
)
from cache_monitor.worker.trace_events import CacheIdentity, EntryAccess, accesses_of

FACTS = CacheIdentity("shared", default_timeout=300.0, version="1")
NOW = 1_800_000_000


def _accesses(
    operation: str, key: Any = "a", facts: CacheIdentity = FACTS, **extra: Any
) -> list[EntryAccess]:
    call: Any = Call(Source("default", operation), 0.0, 0.5, key, **extra)
    return list(accesses_of(call, facts, NOW * SECOND))


def _kinds(operation: str, **extra: Any) -> list[int]:
    return [access.kind for access in _accesses(operation, **extra)]


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
    [access] = _accesses(operation, timeout=timeout, effect=True)
    assert access.kind == TOUCH
    assert access.lasts == (NEVER if expiry is None else int(expiry * SECOND))


def test_a_backend_that_cuts_timeouts_to_whole_seconds_has_entries_expire_so_much_earlier() -> None:
    cutting = FACTS._replace(whole_seconds=True)
    for timeout, lasts in ((2.9, 2 * SECOND), (0.5, 0), (60, 60 * SECOND), (None, NEVER)):
        [access] = _accesses("set", timeout=timeout, facts=cutting)
        assert access.lasts == lasts


@pytest.mark.parametrize("operation", ["expire", "pexpire", "persist", "touch", "add", "delete"])
def test_what_did_nothing_tells_nothing(operation: str) -> None:
    assert _accesses(operation, timeout=60, effect=False) == []


def test_a_delete_of_what_may_not_have_been_there_is_a_sweep_of_it() -> None:
    assert _kinds("delete", effect=True) == [DELETE]
    assert _kinds("delete_many", key=("a", "b")) == [PATTERN_DELETE, PATTERN_DELETE]


def test_a_delete_by_pattern_sweeps_its_version() -> None:
    [access] = _accesses("delete_pattern", "user:*", version=3)
    assert (access.kind, access.key, access.version) == (PATTERN_DELETE, "user:*", "3")


def test_a_move_that_does_not_write_anew_keeps_a_timeout_that_is_not_known() -> None:
    keeping = FACTS._replace(moves_renew=False)
    for facts, lasts in ((FACTS, 300 * SECOND), (keeping, UNKNOWN_TIME)):
        _, there = _accesses("incr_version", effect=2, facts=facts)
        assert (there.kind, there.version, there.lasts) == (TOUCH, "2", lasts)


def test_a_clear_has_no_key() -> None:
    [access] = _accesses("clear", None)
    assert (access.kind, access.key) == (CLEAR, "")
    assert (access.began, access.ended) == (NOW * SECOND, NOW * SECOND + SECOND // 2)


@pytest.mark.parametrize(
    ("operation", "answer", "after"),
    [("incr_version", 6, "6"), ("decr_version", -3, "-3"), ("incr_version", None, "2")],
)
def test_an_entry_goes_to_the_version_that_the_call_answers(
    operation: str, answer: int | None, after: str
) -> None:
    gone, come = _accesses(operation, effect=answer)
    assert (gone.kind, gone.version) == (MOVE, "1")
    assert (come.kind, come.version, come.lasts) == (TOUCH, after, 300 * SECOND)


def test_a_version_that_is_no_number_is_only_left() -> None:
    assert _kinds("incr_version", version="one") == [MOVE]


def test_versions_that_make_the_same_key_are_the_same() -> None:
    [number], [text] = _accesses("set", version=2), _accesses("set", version="2")
    assert number.version == text.version == "2"


def test_a_get_or_set_looks_at_its_beginning_and_writes_at_its_end() -> None:
    missed, written = _accesses("get_or_set", outcome=False, timeout=5, produced=0.4)
    began, ended = NOW * SECOND, NOW * SECOND + SECOND // 2
    assert missed == EntryAccess(MISS, "a", "1", began, began + SECOND // 10)
    assert written == EntryAccess(WRITE, "a", "1", ended - SECOND // 10, ended, 5 * SECOND)
    # Mostly a slow server: when it looked and when it wrote nobody knows.
    for produced, written_from in ((None, began), (0.1, began + SECOND // 10)):
        missed, written = _accesses("get_or_set", outcome=False, produced=produced)
        assert (missed.began, missed.ended) == (began, ended)
        assert (written.began, written.ended) == (written_from, ended)
    assert _kinds("get_or_set", outcome=True) == [HIT]


def test_each_key_of_a_lookup_was_found_or_missed() -> None:
    accesses = _accesses("get_many", ("a", "b"), outcome=(True, False))
    assert [(access.key, access.kind) for access in accesses] == [("a", HIT), ("b", MISS)]


def test_of_a_write_that_failed_nobody_knows_whether_it_took_place() -> None:
    assert _kinds("set", error="TimeoutError") == [FAILED]
    assert _kinds("delete", error="TimeoutError") == [FAILED]
    assert _kinds("set", effect=False) == [FAILED]
    assert _accesses("get", outcome=None, error="TimeoutError") == []


@pytest.mark.parametrize("error", ["MemcacheServerError", "TooBig", "OutOfMemoryError"])
def test_a_write_that_the_server_refused_did_not_take_place(error: str) -> None:
    [refused] = _accesses("set", error=error, timeout=5)
    assert (refused.kind, refused.lasts) == (REFUSED, 5 * SECOND)
    assert _kinds("get_or_set", outcome=None, error=error) == [REFUSED]
    # An add would have left alone what was there; of several keys others may have been stored.
    assert _kinds("add", error=error) == _kinds("set_many", error=error) == [FAILED]
    assert _kinds("delete", error=error) == [FAILED]


def test_incr_keeps_the_expiry_unless_the_backend_writes_anew() -> None:
    assert [access.kind for access in _accesses("incr")] == [USE]
    [access, use] = _accesses("incr", facts=FACTS._replace(incr_renews=True))
    assert (access.kind, access.lasts) == (WRITE, 300 * SECOND)
    assert (use.kind, use.began) == (USE, access.ended)
    assert _accesses("incr", error="ValueError", facts=FACTS._replace(incr_renews=True)) == []


@pytest.mark.parametrize("timeout", ["never", float("nan"), 10**400, object()])
def test_a_timeout_that_makes_no_sense_is_not_known(timeout: object) -> None:
    assert [access.lasts for access in _accesses("set", timeout=timeout)] == [UNKNOWN_TIME]


def test_a_default_timeout_is_that_of_the_cache() -> None:
    [access] = _accesses("set", timeout=DEFAULT_TIMEOUT)
    assert access.lasts == 300 * SECOND
    [access] = _accesses("set", timeout=DEFAULT_TIMEOUT, facts=FACTS._replace(default_timeout=None))
    assert access.lasts == NEVER


def test_what_changes_nothing_is_not_told() -> None:
    assert _accesses("keys") == _accesses("ttl") == []


def test_what_needs_an_entry_is_a_use_of_it() -> None:
    assert _kinds("has_key") == _kinds("incr") == _kinds("hget") == [USE]
    assert _kinds("has_key", effect=False) == _kinds("incr", error="ValueError") == []
