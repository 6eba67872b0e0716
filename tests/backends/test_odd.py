"""Backends that nobody has foreseen: they work as without us, and are recorded as far as they
let themselves be known."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from tests.backends.conftest import Heard
from tests.backends.making import clear_unrecorded, is_recorded
from tests.backends.odd import OddCache


def _open(name: str) -> Iterator[Any]:
    entry = {"BACKEND": f"tests.backends.odd.{name}", "LOCATION": f"odd-{name}"}
    with override_settings(CACHES={"default": entry}):
        cache: Any = caches["default"]
        assert is_recorded(cache)
        clear_unrecorded(cache)
        yield cache


@pytest.fixture
def odd() -> Iterator[Any]:
    yield from _open("OddCache")


@pytest.fixture
def native() -> Iterator[Any]:
    yield from _open("NativeCache")


def test_arguments_of_other_names_are_understood(odd: Any, heard: Heard) -> None:
    assert odd.set("a", 1, 60, tags=["x"]) == ("x",)
    assert odd.set("v", 5, 60, 2) == ()
    assert odd.get("a") == 1
    assert odd.get(name="a", fallback=3, ver=None) == 1
    assert odd.get("no", fallback=3) == 3
    assert odd.get("no", 3, 2) == 3
    assert odd.get("v", ver=2) == 5
    assert odd.get_many(names=["a", "no"]) == {"a": 1}
    assert odd.get_many(names=(name for name in ["a"])) == {"a": 1}
    assert odd.delete(name="a") is True
    assert [
        (*each[:2], call.version) for each, call in zip(heard.summary(), heard, strict=True)
    ] == [
        ("set", "a", None),
        ("set", "v", "2"),
        ("get", "a", None),
        ("get", "a", None),
        ("get", "no", None),
        ("get", "no", "2"),
        ("get", "v", "2"),
        ("get_many", ("a", "no"), None),
        ("get_many", ("a",), None),
        ("delete", "a", None),
    ]
    assert [call.outcome for call in heard[2:8]] == [True, True, False, False, True, (True, False)]


def test_a_default_that_the_backend_calls_is_called_by_the_backend(odd: Any, heard: Heard) -> None:
    assert odd.get("no", lambda: 7) == 7


def test_a_generator_of_a_backend_works_and_is_one_call_with_those_it_makes(
    odd: Any, heard: Heard
) -> None:
    odd.set("a", 1)
    values = odd.iter_values("a", "no")
    assert next(values) == 1
    assert values.send("said") is None
    values.close()
    assert odd.log == ["said"]
    assert heard.summary()[1:] == [
        ("iter_values", "a", None),
        ("get", "a", True),
        ("get", "no", False),
    ]


def test_an_async_generator_of_a_backend_works(odd: Any) -> None:
    async def scan() -> list[object]:
        return [value async for value in odd.scan("a", "no")]

    odd.set("a", 1)
    assert asyncio.run(scan()) == [1, None]


def test_what_is_no_plain_method_is_left_alone(odd: Any, heard: Heard) -> None:
    odd.set("a", 1)
    assert (odd.family(), odd.double(2), odd.size, len(odd)) == ("OddCache", 4, 1, 1)
    assert odd.with_tag("t", deep=True) == ("t", True)
    assert heard.summary()[1:] == [("with_tag", "t", None)]
    assert isinstance(odd, OddCache)


def test_a_metaclass_with_options_of_its_own_keeps_its_cache_working(
    odd: Any, heard: Heard
) -> None:
    assert odd.add("a", 1) is True
    assert heard.summary() == [("add", "a", None)]


def test_a_get_or_set_of_the_backends_own_is_one_call(native: Any, heard: Heard) -> None:
    def make() -> object:
        native.set("part", 1)
        return native.get("part")

    assert native.get_or_set("whole", make) == 1
    assert native.get_or_set("whole", make) == 1
    assert native.get_or_set("value", 3) == 3
    assert heard.summary() == [
        ("set", "part", None),
        ("get", "part", True),
        ("get_or_set", "whole", False),
        ("get_or_set", "whole", True),
        ("get_or_set", "value", False),
    ]


def test_a_value_reaches_a_get_or_set_that_takes_no_callable(heard: Heard) -> None:
    [cache] = _open("ValuesOnlyCache")
    assert cache.get_or_set("a", 5) == 5
    assert cache.get_or_set("a", 6) == 5


def test_an_awaited_callable_is_a_callers_code_too(native: Any, heard: Heard) -> None:
    async def make() -> object:
        await native.aset("part", 1)
        await asyncio.sleep(0)
        return await native.aget("part")

    async def calls() -> object:
        return await native.aget_or_set("whole", make), await native.aget_or_set("whole", make)

    assert asyncio.run(calls()) == (1, 1)
    assert heard.summary() == [
        ("set", "part", None),
        ("get", "part", True),
        ("get_or_set", "whole", False),
        ("get_or_set", "whole", True),
    ]


def test_what_a_subclass_calls_inside_is_no_call_of_its_own(heard: Heard) -> None:
    """Though LocMemCache, which it derives from, calls nothing there."""
    [cache] = _open("CallingCache")
    cache.get("a:asked")
    assert heard.summary() == [("get", "a:asked", False)]
