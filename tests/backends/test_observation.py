"""Which thread or task made a call."""

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backends.conftest import Heard
from tests.backends.contract import open_pair, parameters
from tests.backends.test_recording import LEFT_OUT


# A thread's connection to a database would stay open.
@pytest.fixture(params=parameters(*LEFT_OUT, "database"))
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    with open_pair(request.param, request, tmp_path) as pair:
        yield pair.monitored


def test_a_miss_and_a_write_name_the_thread_that_called(cache: Any, heard: Heard) -> None:
    def work() -> None:
        cache.get("absent")
        cache.get_many(["absent"])
        cache.set("there", 1)
        cache.get_or_set("made", 1)

    work()
    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,))
    thread.start()
    thread.join()
    assert [call.context for call in heard[:4]] == [threading.get_ident()] * 4
    others = {call.context for call in heard[4:] if call.outcome is not True}
    assert others == {thread.ident}


def test_a_hit_names_nobody(cache: Any, heard: Heard) -> None:
    cache.set("there", 1)
    cache.get("there")
    assert heard[-1].context is None


def test_an_async_call_names_its_task(cache: Any, heard: Heard) -> None:
    names: list[int] = []

    async def work(key: str) -> None:
        names.append(id(asyncio.current_task()))
        await cache.aget(key)
        await cache.aset(key, 1)

    async def together() -> None:
        await asyncio.gather(work("a"), work("b"))

    asyncio.run(together())
    told = {key: {call.context for call in heard if call.key == key} for key in ("a", "b")}
    assert told == {"a": {names[0]}, "b": {names[1]}}
