"""How long a value of ``get_or_set`` took to produce."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backends.conftest import Heard
from tests.backends.contract import open_pair, parameters
from tests.backends.making import make_recorded
from tests.backends.odd import NativeCache
from tests.backends.test_recording import LEFT_OUT


@pytest.fixture(params=parameters(*LEFT_OUT))
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    with open_pair(request.param, request, tmp_path) as pair:
        yield pair.monitored


def _slowly() -> str:
    time.sleep(0.02)
    return "made"


async def _slowly_async() -> str:
    await asyncio.sleep(0.02)
    return "made"


def test_the_time_that_a_value_took_to_produce_is_part_of_the_calls_own(
    cache: Any, heard: Heard
) -> None:
    assert cache.get_or_set("key", _slowly) == "made"
    [call] = heard
    assert call.produced is not None
    assert 0.02 <= call.produced < call.seconds


def test_a_hit_and_a_given_value_were_not_produced(cache: Any, heard: Heard) -> None:
    cache.get_or_set("given", 1)
    cache.get_or_set("given", _slowly)
    cache.get("given")
    assert [call.produced for call in heard] == [None, None, None]


def test_what_a_callable_took_that_raised_is_told_too(cache: Any, heard: Heard) -> None:
    def fail() -> object:
        _slowly()
        raise LookupError("nothing to cache")

    with pytest.raises(LookupError):
        cache.get_or_set("key", fail)
    [call] = heard
    assert call.error == "LookupError"
    assert call.outcome is None
    assert call.produced is not None
    assert 0.02 <= call.produced < call.seconds


def test_an_async_get_or_set_times_its_callable(cache: Any, heard: Heard) -> None:
    async def calls() -> None:
        await cache.aget_or_set("key", _slowly)
        await cache.aget_or_set("key", _slowly)

    asyncio.run(calls())
    missed, hit = heard
    assert missed.produced is not None
    assert 0.02 <= missed.produced < missed.seconds
    assert hit.produced is None


def test_what_a_backends_own_get_or_set_takes_to_produce_is_unknown(heard: Heard) -> None:
    """The caller's function reaches it as it came, so that nothing times it."""
    native = make_recorded(NativeCache, "produced", "default")
    native.clear()
    assert asyncio.run(native.aget_or_set("key", _slowly_async)) == "made"
    assert [(call.outcome, call.produced) for call in heard[1:]] == [(False, None)]
