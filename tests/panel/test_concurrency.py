"""Requests at the same time, in threads and on one event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client

from tests.panel.visits import Visit, visit, visit_async

pytestmark = pytest.mark.usefixtures("toolbar_site")


def keys_of(name: str) -> list[str]:
    return [f"busy:{name}:{number}" for number in range(10)]


def test_requests_in_two_threads_do_not_mix() -> None:
    with ThreadPoolExecutor(2) as pool:
        left, right = pool.map(lambda name: visit(Client(), f"/busy/{name}/"), ["left", "right"])
    assert left.keys == keys_of("left")
    assert right.keys == keys_of("right")


def test_requests_on_one_event_loop_do_not_mix() -> None:
    async def visit_both() -> list[Visit]:
        paths = ["/busy-async/left/", "/busy-async/right/"]
        return await asyncio.gather(*(visit_async(AsyncClient(), path) for path in paths))

    left, right = async_to_sync(visit_both)()
    assert left.keys == keys_of("left")
    assert right.keys == keys_of("right")


def test_an_async_view_shows_its_calls_and_those_of_its_threads_and_tasks() -> None:
    told = async_to_sync(visit_async)(AsyncClient(), "/async/")
    assert told.calls[:3] == [
        ("default", "set", [("async:written", None)]),
        ("default", "get", [("async:written", True)]),
        ("default", "get", [("async:in-a-thread", False)]),
    ]
    assert sorted(told.keys[3:]) == ["async:left", "async:right"]
    assert "async:in-a-thread" in told.html()


def test_an_async_view_behind_sync_middleware_and_wsgi_shows_its_calls() -> None:
    assert len(visit(Client(), "/async/").calls) == 5


def test_a_sync_view_under_asgi_shows_its_calls() -> None:
    told = async_to_sync(visit_async)(AsyncClient(), "/redirecting/")
    assert told.keys == ["before:the-redirect"]


def test_a_view_that_raises_under_asgi_shows_its_calls() -> None:
    client = AsyncClient(raise_request_exception=False)
    assert async_to_sync(visit_async)(client, "/failing/").keys == ["before:the-failure"]


def test_an_async_stream_tells_its_calls_when_it_has_ended() -> None:
    async def visit_and_read() -> Visit:
        told = await visit_async(AsyncClient(), "/async-streaming/")
        parts = [part async for part in told.response.streaming_content]
        assert b"".join(parts) == b"None\nNone\nNone\n"
        return told

    told = async_to_sync(visit_and_read)()
    assert told.keys == ["stream:0", "stream:1", "stream:2"]
    assert told.stats["stream"] == {"ended": True, "calls": 3}


def test_two_streams_at_once_tell_each_its_own_calls() -> None:
    first, second = visit(Client(), "/streaming/"), visit(Client(), "/streaming/")
    streams = first.response.streaming_content, second.response.streaming_content
    for parts in zip(*streams, strict=True):
        assert parts == (b"None\n", b"None\n")
    assert first.stats["total"]["calls"] == second.stats["total"]["calls"] == 4
