"""What is remembered of findings, and what is muted."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from cache_monitor.findings.history import (
    GONE_AFTER,
    identity,
    mute,
    note,
    read,
    unmute,
    with_history,
)
from cache_monitor.reports import Finding
from cache_monitor.stores.base import Row, Store
from cache_monitor.stores.database import DatabaseStore
from cache_monitor.stores.memory import MemoryStore
from cache_monitor.stores.redis import RedisStore

NOW = 1_000_000.0


def finding(**parts: Any) -> Finding:
    plain = Finding(
        code="no-expiry",
        severity="warning",
        alias="default",
        group="user:{int}",
        key=None,
        evidence={"entries": 5},
        advice="Write less.",
        docs="",
    )
    return replace(plain, **parts)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def told(store: MemoryStore, found: Finding, now: float = NOW) -> list[Finding]:
    return with_history([found], read(store), now)


def test_the_same_mistake_in_the_same_place_has_the_same_id() -> None:
    same = finding(evidence={"entries": 9}, advice="x", key="user:9", severity="error")
    assert identity(same) == identity(finding())
    assert len({identity(finding(**{name: "x"})) for name in ("code", "alias", "group")}) == 3
    assert identity(finding(group=None, key="a")) != identity(finding(group=None, key="b"))


def test_a_finding_is_new_once(store: MemoryStore) -> None:
    [fresh] = note(store, [finding()], NOW)
    assert (fresh.id, fresh.first_seen) == (identity(finding()), "1970-01-12T13:46:40Z")
    assert note(store, [finding()], NOW + 60) == []
    assert [each.code for each in note(store, [finding(), finding(code="x")], NOW + 120)] == ["x"]


def test_a_finding_is_told_with_when_it_was_seen(store: MemoryStore) -> None:
    assert [each.first_seen for each in told(store, finding())] == [None]
    for minutes in range(3):
        note(store, [finding()], NOW + 60 * minutes)
    [seen] = told(store, finding())
    assert (seen.first_seen, seen.last_seen) == ("1970-01-12T13:46:40Z", "1970-01-12T13:48:40Z")


def test_a_finding_was_not_first_seen_in_the_time_to_come_where_the_clock_was_set_back(
    store: MemoryStore,
) -> None:
    note(store, [finding()], NOW + 3600)
    assert note(store, [finding()], NOW) == []
    [seen] = told(store, finding())
    assert seen.first_seen == seen.last_seen == "1970-01-12T13:46:40Z"


def test_a_finding_that_comes_back_after_long_is_new(store: MemoryStore) -> None:
    note(store, [finding()], NOW)
    later = NOW + GONE_AFTER + 1
    assert [each.first_seen for each in told(store, finding(), later)] == [None]
    assert len(note(store, [finding()], later)) == 1


def test_what_is_muted_is_not_told_until_it_is_unmuted(store: MemoryStore) -> None:
    mute(store, finding(), "ann", "Known.", NOW)
    assert told(store, finding()) == []
    assert note(store, [finding()], NOW + 60) == []
    assert told(store, finding(group="other")) != []
    name = identity(finding())
    muted = unmute(store, name, NOW + 70)
    assert muted is not None
    assert (muted.code, muted.by, muted.reason) == ("no-expiry", "ann", "Known.")
    assert len(told(store, finding())) == 1
    assert unmute(store, name, NOW) is None


def test_a_mute_is_kept_as_long_as_its_finding_is_there(store: MemoryStore) -> None:
    mute(store, finding(), "ann", "Known.", NOW)
    note(store, [finding()], NOW + 500)
    store.prune(int(NOW + 400))
    assert told(store, finding()) == []
    store.prune(int(NOW + 600))
    assert len(told(store, finding())) == 1


class Meanwhile:
    """A store in which somebody does something while another notes what is there."""

    def __init__(self, store: Store, what: Callable[[], object]) -> None:
        self._store = store
        self._what = what

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put(self, rows: Sequence[Row], now: int) -> None:
        self._what()
        self._store.put(rows, now)


@pytest.mark.parametrize("kind", ["memory", "redis", "database"])
def test_what_is_unmuted_meanwhile_stays_so(kind: str, request: pytest.FixtureRequest) -> None:
    store = _store(kind, request)
    mute(store, finding(), "ann", "Known.", NOW)
    meanwhile: Any = Meanwhile(store, lambda: unmute(store, identity(finding()), NOW + 60))
    assert note(meanwhile, [finding()], NOW + 60) == []
    assert read(store).muted == {}


@pytest.mark.parametrize("kind", ["memory", "redis", "database"])
def test_what_is_muted_anew_meanwhile_keeps_its_reason(
    kind: str, request: pytest.FixtureRequest
) -> None:
    store = _store(kind, request)
    mute(store, finding(), "ann", "Known.", NOW)

    def anew() -> None:
        unmute(store, identity(finding()), NOW + 60)
        mute(store, finding(), "bob", "Another.", NOW + 61)

    meanwhile: Any = Meanwhile(store, anew)
    note(meanwhile, [finding()], NOW + 60)
    assert [(each.by, each.reason) for each in read(store).muted.values()] == [("bob", "Another.")]


def test_of_two_that_mute_at_once_the_last_is_told_and_both_are_undone(store: MemoryStore) -> None:
    mute(store, finding(), "bob", "Later.", NOW + 1)
    mute(store, finding(), "ann", "Known.", NOW)
    [muted] = read(store).muted.values()
    assert muted.by == "bob"
    unmute(store, identity(finding()), NOW + 2)
    assert read(store).muted == {}


def _store(kind: str, request: pytest.FixtureRequest) -> Store:
    if kind == "memory":
        return MemoryStore()
    if kind == "redis":
        server = request.getfixturevalue("redis_server")
        return RedisStore(URL=server.url, PREFIX=f"sightings-{uuid4().hex}")
    request.getfixturevalue("transactional_db")
    return DatabaseStore()


def test_rows_that_cannot_be_read_say_nothing(store: MemoryStore) -> None:
    name = identity(finding())
    store.put([Row("finding", name, "", 0, length, b"x") for length in (0, 1)], int(NOW))
    assert len(told(store, finding())) == 1
    assert len(note(store, [finding()], NOW)) == 1
