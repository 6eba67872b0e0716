"""What the dashboard does with single entries, on every backend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import call_command
from django.db import connection

from cache_monitor.scan import entries
from cache_monitor.scan.entries import LiveEntry, Selection
from cache_monitor.testing import capture_cache_calls
from tests.scan.inspection import capability_of
from tests.workers import on_server

TABLE = "entries_of_the_dashboard"
SESSION = "django.contrib.sessions.cachek7fz0q2m9x4b1v8c"
KINDS = ["locmem", "files", "database", "redis", "django-redis", "shard", "memcached"]


def _entry(request: pytest.FixtureRequest, kind: str, directory: Path) -> dict[str, Any]:
    if kind in {"redis", "django-redis", "shard"}:
        server = request.getfixturevalue("redis_server")
        entry: dict[str, Any] = {"LOCATION": f"{server.url}/0"}
        if kind == "shard":
            second = request.getfixturevalue("second_redis")
            entry = {"LOCATION": [f"{server.url}/0", f"{second.url}/0"]}
            entry["OPTIONS"] = {"CLIENT_CLASS": "django_redis.client.ShardClient"}
        core = "django.core.cache.backends.redis.RedisCache"
        return {"BACKEND": core if kind == "redis" else "django_redis.cache.RedisCache", **entry}
    if kind == "memcached":
        server = request.getfixturevalue("memcached_server")
        backend = "django.core.cache.backends.memcached.PyMemcacheCache"
        return {"BACKEND": backend, "LOCATION": server.address}
    if kind == "files":
        backend = "django.core.cache.backends.filebased.FileBasedCache"
        return {"BACKEND": backend, "LOCATION": str(directory), "OPTIONS": {"MAX_ENTRIES": 10**6}}
    if kind == "database":
        backend = "django.core.cache.backends.db.DatabaseCache"
        return {"BACKEND": backend, "LOCATION": TABLE, "OPTIONS": {"MAX_ENTRIES": 10**6}}
    backend = "django.core.cache.backends.locmem.LocMemCache"
    return {"BACKEND": backend, "LOCATION": "entries", "OPTIONS": {"MAX_ENTRIES": 10**6}}


@pytest.fixture(
    params=[
        pytest.param(
            each,
            marks=[
                pytest.mark.filterwarnings("ignore:.* on sharded client"),
                *on_server(each),
            ],
        )
        for each in KINDS
    ]
)
def cache(
    request: pytest.FixtureRequest, settings: Any, tmp_path: Path, all_databases: None
) -> Iterator[Any]:
    """The alias "it" of each kind of backend, empty; "other" is in the same place."""
    entry = _entry(request, request.param, tmp_path)
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
        "it": {**entry, "KEY_PREFIX": "it"},
        "other": {**entry, "KEY_PREFIX": "other"},
    }
    settings.CACHE_MONITOR = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}
    if request.param == "database":
        call_command("createcachetable", verbosity=0)
    caches["it"].clear()
    yield caches["it"]
    caches["it"].clear()
    for alias in ("it", "other"):
        caches[alias].close()
    if request.param == "database":
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {TABLE}")


def walk(selection: Selection, limit: int) -> list[LiveEntry]:
    found: list[LiveEntry] = []
    cursor: str | None = ""
    while cursor is not None:
        step = entries.list_entries("it", selection, cursor=cursor, limit=limit, seconds=30)
        assert step.problem is None
        found += step.entries
        cursor = step.cursor
    return found


def knows_keys(cache: Any) -> bool:
    """A file's key is known only where its use was recorded."""
    return capability_of(caches["it"]).cells["keys"] == "yes"


def test_an_entry_is_looked_at_and_not_changed(cache: Any) -> None:
    cache.set("menu", "x" * 500, 300)
    first, again = entries.find_entry("it", "menu"), entries.find_entry("it", "menu")
    for answer in (first, again):
        assert (answer.exists, answer.problem) == (True, None)
        assert answer.entry is not None
        assert (answer.entry.key, answer.entry.shown) == ("menu", "menu")
        assert answer.entry.expires_in == pytest.approx(300, abs=5)
        assert answer.entry.no_expiry is False
    assert cache.get("menu") == "x" * 500


def test_a_missing_entry_is_told_from_one_that_cannot_be_asked_for(cache: Any) -> None:
    answer = entries.find_entry("it", "missing")
    assert (answer.exists, answer.entry, answer.problem) == (False, None, None)


def test_a_groups_entries_are_listed_in_steps(cache: Any) -> None:
    cache.set_many({f"user:{number}": "x" for number in range(40)}, 300)
    cache.set_many({f"page:{number}": "x" for number in range(40)}, 300)
    caches["other"].set("user:1", "x", 300)
    if not knows_keys(cache):
        assert len(walk(Selection(), 15)) in {80, 81}
        return
    found = walk(Selection(group="user:{int}"), 15)
    assert sorted(each.key or "" for each in found) == sorted(f"user:{n}" for n in range(40))
    assert [each.key for each in walk(Selection(key="page:7"), 1000)] == ["page:7"]


def test_stale_entries_are_chosen_by_their_kind(cache: Any) -> None:
    cache.set_many({f"fine:{number}": "x" for number in range(5)}, 300)
    cache.set("forever", "x", None)
    found = walk(Selection(why="no_expiry"), 1000)
    assert len(found) == 1
    assert "no_expiry" in found[0].why
    assert {each.shown for each in found} <= {each.shown for each in walk(Selection(why="any"), 9)}


def test_what_will_go_is_measured_before(cache: Any) -> None:
    cache.set_many({f"user:{number}": "x" for number in range(30)}, None)
    cache.set("fine", "x", 300)
    measured = entries.measure("it", Selection(why="no_expiry"), seconds=30)
    assert (measured.entries, measured.cursor, measured.problem) == (30, None, None)
    assert measured.bytes
    assert measured.examined == 31


def test_entries_are_deleted_in_steps_and_no_others_with_them(cache: Any) -> None:
    cache.set_many({f"user:{number}": "x" for number in range(700)}, None)
    cache.set_many({f"fine:{number}": "x" for number in range(700)}, 300)
    chosen = Selection(why="no_expiry")
    deleted, steps, cursor = 0, 0, ""
    while True:
        step = entries.delete_step("it", chosen, cursor=cursor, limit=200, seconds=30)
        assert step.problem is None
        deleted, steps = deleted + step.entries, steps + 1
        if step.cursor is None:
            break
        cursor = step.cursor
    assert deleted == 700
    assert len(cache.get_many([f"fine:{number}" for number in range(700)])) == 700
    assert cache.get_many([f"user:{number}" for number in range(700)]) == {}
    assert steps >= 2 or "Database" in type(cache).__name__


def test_a_deletion_is_recorded_so_that_a_later_miss_is_no_eviction(cache: Any) -> None:
    if not knows_keys(cache):
        pytest.skip("a file whose key nobody recorded is removed as a file")
    cache.set("user:1", "x", None)
    with capture_cache_calls() as calls:
        assert entries.delete_step("it", Selection(group="user:{int}"), seconds=30).entries == 1
    assert {call.operation for call in calls} == {"delete_many"}


def test_looking_and_listing_are_not_recorded(cache: Any) -> None:
    cache.set("user:1", "x", None)
    with capture_cache_calls() as calls:
        entries.find_entry("it", "user:1")
        entries.list_entries("it", Selection())
        entries.measure("it", Selection())
    assert list(calls) == []


def test_one_entry_is_deleted(cache: Any) -> None:
    cache.set_many({"a": "x", "b": "y"}, 300)
    gone = entries.delete_key("it", "a")
    assert (gone.entries, gone.problem) == (1, None)
    assert gone.bytes
    assert cache.get_many(["a", "b"]) == {"b": "y"}
    assert entries.delete_key("it", "a").entries == 0


def test_an_alias_is_cleared_and_what_else_goes_is_said_before(cache: Any) -> None:
    cache.set("a", "x")
    assert entries.clear_reach("it")
    assert entries.clear("it").problem is None
    assert cache.get("a") is None


def test_a_cursor_that_nobody_gave_is_a_problem_and_no_exception(cache: Any) -> None:
    cache.set("a", "x", 300)
    for cursor in ("nonsense", "9@x:y:z:w:v", "0@" + "9" * 600):
        step = entries.list_entries("it", Selection(), cursor=cursor)
        assert step.cursor is None
        assert step.problem or step.entries == [] or len(step.entries) == 1


def test_a_session_key_is_not_in_what_may_be_shown(cache: Any) -> None:
    cache.set(SESSION, {}, 300)
    answer = entries.find_entry("it", SESSION)
    assert answer.entry is not None
    assert answer.entry.kind == "session"
    # What is shown of every session must not stand for all of them.
    assert walk(Selection(key=answer.entry.shown), 100) == []
    assert "k7fz" not in f"{answer!r}{answer.entry.shown}{walk(Selection(), 100)!r}"


def test_only_a_cache_in_memory_is_each_process_own(cache: Any) -> None:
    assert entries.is_per_process("it") == ("LocMem" in type(cache).__name__)


class TestABackendThatCannotBeListed:
    @pytest.fixture(autouse=True)
    def _unlistable(self, settings: Any) -> None:
        settings.CACHES = {"it": {"BACKEND": "tests.backends.odd.OddCache"}}

    def test_every_question_is_answered_with_a_problem(self) -> None:
        assert entries.find_entry("it", "a").exists is None
        for answer in (
            entries.find_entry("it", "a"),
            entries.list_entries("it", Selection()),
            entries.measure("it", Selection()),
            entries.delete_step("it", Selection()),
        ):
            assert answer.problem
        assert capability_of(caches["it"]).backend == "others"


class TestAServerThatIsDown:
    @pytest.fixture(autouse=True, params=["redis.RedisCache", "memcached.PyMemcacheCache"])
    def _down(self, request: pytest.FixtureRequest, settings: Any) -> None:
        location = "127.0.0.1:1"
        settings.CACHES = {
            "it": {
                "BACKEND": f"django.core.cache.backends.{request.param}",
                "LOCATION": f"redis://:geheim@{location}" if "redis" in request.param else location,
            }
        }

    def test_every_question_is_answered_with_a_problem(self) -> None:
        answers: tuple[Any, ...] = (
            entries.find_entry("it", "a"),
            entries.list_entries("it", Selection()),
            entries.measure("it", Selection()),
            entries.delete_step("it", Selection()),
            entries.delete_key("it", "a"),
            # pymemcache says nothing where a server that is down cannot be cleared.
            *([] if "Memcache" in type(caches["it"]).__name__ else [entries.clear("it")]),
        )
        for answer in answers:
            assert answer.problem
            assert "geheim" not in repr(answer)
        caches["it"].close()


def test_entries_whose_key_cannot_be_told_are_listed_and_not_deleted(settings: Any) -> None:
    settings.CACHES = {
        "it": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": "hidden",
            "KEY_FUNCTION": lambda key, prefix, version: f"app:{key[::-1]}",
        }
    }
    caches["it"].set("menu", 1)
    (found,) = entries.list_entries("it", Selection()).entries
    assert (found.key, found.shown) == (None, "app:unem")
    step = entries.delete_step("it", Selection())
    assert (step.entries, step.problem is None) == (0, False)
    assert caches["it"].get("menu") == 1
    caches["it"].clear()
