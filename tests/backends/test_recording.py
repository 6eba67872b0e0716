"""What is recorded of each operation, over every backend."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cache_monitor.api import report
from tests.backends.conftest import Heard
from tests.backends.contract import IN_DATABASE, Pair, open_pair, parameters

# Dummies have no hits, the herd client cannot count, and to the shard client None is nothing; both
# refuse generators. The odd ones have tests of their own.
LEFT_OUT = ("dummy", "django_redis_herd", "django_redis_shard", "native", "odd", "delegating")


@pytest.fixture(params=parameters(*LEFT_OUT))
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    with open_pair(request.param, request, tmp_path) as pair:
        yield pair.monitored


@pytest.fixture
def local(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    with open_pair("locmem", request, tmp_path) as pair:
        yield pair


def test_a_get_says_whether_the_key_was_there(cache: Any, heard: Heard) -> None:
    cache.set("there", 1)
    cache.get("there")
    cache.get("absent", "default")
    assert heard.summary() == [
        ("set", "there", None),
        ("get", "there", True),
        ("get", "absent", False),
    ]


@pytest.mark.parametrize("value", [None, 0, "", False, []])
def test_a_stored_value_that_is_false_is_a_hit(cache: Any, heard: Heard, value: object) -> None:
    cache.set("falsy", value)
    assert cache.get("falsy", "default") == value
    cache.get_or_set("falsy", "default")
    assert [call.outcome for call in heard[1:]] == [True, True]


def test_a_value_equal_to_the_default_is_a_hit(cache: Any, heard: Heard) -> None:
    cache.set("same", "value")
    cache.get("same", "value")
    assert heard[-1].outcome is True


def test_get_many_says_of_each_key_whether_it_was_there(cache: Any, heard: Heard) -> None:
    cache.set("there", None)
    cache.get_many(["absent", "there"])
    assert heard.summary()[1:] == [("get_many", ("absent", "there"), (False, True))]


def test_a_generator_of_keys_is_recorded_with_its_keys(cache: Any, heard: Heard) -> None:
    cache.set("there", 1)
    cache.get_many(key for key in ("there", "absent"))
    cache.delete_many(key for key in ("there",))
    assert heard.summary()[1:] == [
        ("get_many", ("there", "absent"), (True, False)),
        ("delete_many", ("there",), None),
    ]


def test_a_get_or_set_is_one_call_and_a_miss_where_it_produced(cache: Any, heard: Heard) -> None:
    cache.get_or_set("made", lambda: None)
    cache.get_or_set("made", lambda: 1)
    cache.get_or_set("given", 1)
    assert heard.summary() == [
        ("get_or_set", "made", False),
        ("get_or_set", "made", True),
        ("get_or_set", "given", False),
    ]


def test_calls_made_while_a_value_is_produced_are_calls_of_their_own(
    cache: Any, heard: Heard
) -> None:
    def produce() -> object:
        cache.set("part", 1)
        return cache.get("part")

    assert cache.get_or_set("whole", produce) == 1
    assert heard.summary() == [
        ("set", "part", None),
        ("get", "part", True),
        ("get_or_set", "whole", False),
    ]


def test_only_the_outermost_call_counts(cache: Any, heard: Heard) -> None:
    cache.set_many({"a": 1, "b": 2})
    cache.incr("a")
    cache.decr("a")
    cache.incr_version("b")
    cache.has_key("a")
    _ = "a" in cache
    cache.touch("a", 5)
    cache.add("c", 1)
    cache.delete("a")
    cache.clear()
    assert [call.source.operation for call in heard] == [
        "set_many",
        "incr",
        "decr",
        "incr_version",
        "has_key",
        "has_key",
        "touch",
        "add",
        "delete",
        "clear",
    ]


def test_a_call_that_raises_is_recorded_with_its_exception(cache: Any, heard: Heard) -> None:
    with pytest.raises(ValueError, match="not found"):
        cache.incr("absent")
    [call] = heard
    assert (call.source.operation, call.key, call.error) == ("incr", "absent", "ValueError")
    assert call.seconds > 0


def test_a_value_that_cannot_be_stored_is_an_error_of_set(cache: Any, heard: Heard) -> None:
    with pytest.raises((TypeError, AttributeError, OSError, ValueError)):
        cache.set("lock", threading.Lock())
    assert heard[-1].error is not None


def test_async_calls_have_the_names_of_their_sync_twins(cache: Any, heard: Heard) -> None:
    async def calls() -> None:
        await cache.aset("a", 1)
        await cache.aget("a")
        await cache.aget_many(["a", "b"])
        await cache.aget_or_set("c", lambda: 1)
        await cache.adelete("a")

    asyncio.run(calls())
    assert heard.summary() == [
        ("set", "a", None),
        ("get", "a", True),
        ("get_many", ("a", "b"), (True, False)),
        ("get_or_set", "c", False),
        ("delete", "a", None),
    ]


def test_concurrent_tasks_lose_nothing_and_count_nothing_twice(cache: Any, heard: Heard) -> None:
    async def calls() -> None:
        await asyncio.gather(*(cache.aget_or_set(f"key:{n}", n) for n in range(20)))

    asyncio.run(calls())
    assert sorted(str(call.key) for call in heard) == sorted(f"key:{n}" for n in range(20))


def test_the_timeout_is_the_one_that_the_caller_gave(cache: Any, heard: Heard) -> None:
    cache.set("a", 1, 60)
    cache.set("a", 1, timeout=None)
    cache.touch("a", 30)
    assert [call.timeout for call in heard] == [60, None, 30]


@pytest.mark.parametrize("name", ["locmem", "files", "redis", "django_redis", "memcached"])
def test_the_size_of_a_value_is_known_where_the_backend_has_its_bytes(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, heard: Heard
) -> None:
    with open_pair(name, request, tmp_path) as pair:
        pair.monitored.set("large", "x" * 1000)
        pair.monitored.get("large")
        pair.monitored.get("absent")
        pair.monitored.has_key("large")
    del heard[4:]
    written, read, missed, asked = (call.size for call in heard)
    assert written is not None
    assert written >= 1000 or name == "files"  # files are compressed
    assert read == written
    assert missed is None
    assert asked is None


@IN_DATABASE
def test_a_database_cache_cannot_tell_sizes(
    request: pytest.FixtureRequest, tmp_path: Path, heard: Heard
) -> None:
    with open_pair("database", request, tmp_path) as pair:
        pair.monitored.set("large", "x" * 1000)
    assert heard[0].size is None


class Incomparable:
    """Like a numpy array: comparing it gives no truth value."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth value is ambiguous")

    __hash__ = None  # type: ignore[assignment]


def test_values_are_never_compared(local: Pair, heard: Heard) -> None:
    local.monitored.set("array", Incomparable())
    local.monitored.get("array", Incomparable())
    local.monitored.get_or_set("array", Incomparable())
    local.monitored.get("absent", Incomparable())
    assert [call.outcome for call in heard[1:]] == [True, True, False]


def test_a_key_of_a_megabyte_is_cut(local: Pair, heard: Heard) -> None:
    with pytest.warns(match="longer than"):
        local.monitored.get("x" * 1_000_000)
    assert len(str(heard[0].key)) < 600


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_a_key_that_cannot_be_shown_reaches_the_backend_all_the_same(
    local: Pair, heard: Heard
) -> None:
    with pytest.raises(RuntimeError, match="no text"):
        local.monitored.get(Hostile())
    assert (heard[0].key, heard[0].error) == ("<Hostile>", "RuntimeError")


@pytest.mark.parametrize("name", ["dummy", "locmem"])
def test_a_key_without_a_hash_among_several_was_not_found(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, heard: Heard
) -> None:
    with open_pair(name, request, tmp_path) as pair:
        assert pair.monitored.get_many([[1], "no"]) == {}
    assert heard.summary() == [("get_many", ("[1]", "no"), (False, False))]


def test_what_a_backend_adds_to_django_is_recorded(
    request: pytest.FixtureRequest, tmp_path: Path, heard: Heard
) -> None:
    with open_pair("django_redis", request, tmp_path) as pair:
        cache: Any = pair.monitored
        cache.set("a", 1, nx=True)
        assert cache.ttl("a") > 0
        assert list(cache.keys("*")) == ["a"]
        with cache.lock("mine"):
            pass
        cache.delete_pattern("a*")
    assert [(call.source.operation, call.key) for call in heard][:5] == [
        ("set", "a"),
        ("ttl", "a"),
        ("keys", "*"),
        ("lock", "mine"),
        ("delete_pattern", "a*"),
    ]


@pytest.mark.parametrize("name", parameters("dummy", "odd"))
def test_every_backend_tells_a_hit_from_a_miss(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, heard: Heard
) -> None:
    with open_pair(name, request, tmp_path) as pair:
        pair.monitored.set_many({"a": 1, "b": 2})
        pair.monitored.get("a")
        pair.monitored.get("no", "default")
        pair.monitored.get_many(["a", "no", "b"])
        pair.monitored.get_or_set("c", list)
        pair.monitored.get_or_set("c", list)
    assert heard.summary()[1:] == [
        ("get", "a", True),
        ("get", "no", False),
        ("get_many", ("a", "no", "b"), (True, False, True)),
        ("get_or_set", "c", False),
        ("get_or_set", "c", True),
    ]


@pytest.mark.django_db
def test_threads_that_share_an_instance_lose_nothing(local: Pair) -> None:
    before = _gets()

    def work() -> None:
        for _ in range(500):
            local.monitored.get("shared")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _gets() - before == 4000


def _gets() -> int:
    # Not those of the key: in a full table of hot keys a new one begins with another's count.
    operations = report().caches["default"].operations
    return operations["get"].calls if "get" in operations else 0
