"""Faults that other cache monitors have, each with a test that ours has not."""

import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core.cache import caches
from django.test import override_settings

from tests.backends.conftest import Heard
from tests.backends.contract import open_pair, parameters
from tests.backends.making import clear_unrecorded, is_recorded

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"


@pytest.fixture
def cache() -> Iterator[Any]:
    with override_settings(CACHES={"default": {"BACKEND": LOCMEM, "LOCATION": "faults"}}):
        yield caches["default"]
        clear_unrecorded(caches["default"])


# None and falsy values


@pytest.mark.parametrize("value", [0, "", None, False])
def test_a_falsy_value_is_given_back_and_not_the_default(cache: Any, value: object) -> None:
    cache.set("falsy", value)
    assert cache.get("falsy", "default") is value


@pytest.mark.parametrize("value", [0, "", None, False])
def test_a_callable_that_gives_a_falsy_value_runs_once(cache: Any, value: object) -> None:
    producer = mock.Mock(return_value=value)
    for _ in range(3):
        assert cache.get_or_set("falsy", producer) is value
    producer.assert_called_once_with()


def test_a_stored_none_or_default_is_a_hit(cache: Any, heard: Heard) -> None:
    cache.set_many({"none": None, "same": "x"})
    cache.get("none")
    cache.get("same", "x")
    assert [call.outcome for call in heard[1:]] == [True, True]


# Arguments


class Ambiguous:
    """Like a numpy array: neither comparable nor true nor false."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("ambiguous")

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("name", parameters("dummy", "odd", "native"))
def test_a_value_that_cannot_be_compared_passes(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with open_pair(name, request, tmp_path) as pair:
        pair.monitored.set("a", Ambiguous())
        assert isinstance(pair.monitored.get("a", Ambiguous()), Ambiguous)
        assert isinstance(pair.monitored.get_or_set("b", Ambiguous), Ambiguous)
        assert isinstance(pair.monitored.get("no", Ambiguous()), Ambiguous)
        pair.monitored.set_many({"c": Ambiguous()})


def test_a_generator_of_keys_is_consumed_once_and_by_the_backend(cache: Any) -> None:
    asked: list[str] = []

    def keys() -> Iterator[str]:
        for key in ("a", "b"):
            asked.append(key)
            yield key

    cache.set("a", 1)
    assert cache.get_many(keys()) == {"a": 1}
    cache.delete_many(keys())
    assert asked == ["a", "b", "a", "b"]
    assert cache.get("a") is None


def test_a_backends_own_arguments_are_accepted(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with open_pair("django_redis", request, tmp_path) as pair:
        cache: Any = pair.monitored
        assert (cache.set("a", 1, nx=True), cache.set("a", 2, nx=True)) == (True, False)


def test_no_timeout_is_passed_down_where_none_was_given(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with open_pair("django_redis", request, tmp_path) as pair:
        cache: Any = pair.monitored
        cache.set("a", 1)
        cache.get_or_set("b", 1)
        cache.set_many({"c": 1})
        cache.add("d", 1)
        assert all(200 < cache.ttl(key) <= 300 for key in "abcd")


# Counting


def test_a_miss_of_get_or_set_and_a_partial_get_many_count_as_such(
    cache: Any, heard: Heard
) -> None:
    cache.get_or_set("a", 1)
    cache.get_many(["a", "b", "c"])
    assert heard.summary() == [
        ("get_or_set", "a", False),
        ("get_many", ("a", "b", "c"), (True, False, False)),
    ]


def test_inner_calls_count_once_and_those_of_a_callable_count_too(cache: Any, heard: Heard) -> None:
    cache.get_or_set("a", lambda: cache.get("b", 0))
    assert heard.summary() == [("get", "b", False), ("get_or_set", "a", False)]


def test_a_call_that_fails_is_recorded(cache: Any, heard: Heard) -> None:
    with pytest.raises(ValueError, match="not found"):
        cache.incr("absent")
    assert heard[0].error == "ValueError"


def test_sets_are_no_lookups(cache: Any, heard: Heard) -> None:
    cache.set("a", 1)
    cache.add("b", 1)
    assert [call.outcome for call in heard] == [None, None]


# Threads


def test_calls_at_the_same_time_on_one_instance_are_all_heard(cache: Any) -> None:
    """The callable holds eight calls of one instance open at once."""
    barrier = threading.Barrier(8)
    outcomes: list[object] = []

    def work(n: int) -> None:
        from cache_monitor import context

        own = Heard()
        context.start_listening(own)
        cache.get_or_set(f"key:{n}", barrier.wait)
        outcomes.extend(own.summary())

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(map(str, outcomes)) == sorted(
        str(("get_or_set", f"key:{n}", False)) for n in range(8)
    )


def test_the_caches_of_other_threads_are_monitored(cache: Any) -> None:
    seen: list[bool] = []
    thread = threading.Thread(target=lambda: seen.append(is_recorded(caches["default"])))
    thread.start()
    thread.join()
    assert seen == [True]


# Weight


class Value:
    """A value that can be watched as it goes."""


def test_values_are_not_kept_alive(cache: Any) -> None:
    value = Value()
    kept = weakref.ref(value)
    cache.set("a", value)
    cache.get_or_set("b", value)
    cache.set_many({"c": value})
    cache.get_or_set("d", lambda kept=value: kept)
    cache.get("no", value)
    del value
    assert kept() is None


def test_a_call_in_the_buffer_holds_little(cache: Any, heard: Heard) -> None:
    cache.set("a", "x" * 5_000_000)
    assert sum(sys.getsizeof(each) for each in heard[0]) < 1000


def test_two_aliases_of_one_backend_are_told_apart(heard: Heard) -> None:
    entry = {"BACKEND": LOCMEM, "LOCATION": "faults"}
    with override_settings(CACHES={"default": entry, "other": entry}):
        caches["default"].get("a")
        caches["other"].get("a")
    assert [call.source.alias for call in heard] == ["default", "other"]
