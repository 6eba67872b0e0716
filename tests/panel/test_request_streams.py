"""Listening to a response that is sent while it is made."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.core.cache import cache
from django.http import FileResponse, StreamingHttpResponse

from cache_monitor.context import current
from cache_monitor.listeners import Capture
from cache_monitor.panel.request import capture_stream

# Closing a response ends the request: Django looks after its database connections then, of which
# an earlier test may have left one open.
closing_a_response = pytest.mark.django_db


class Ending:
    """Counts how often the end of a stream was told."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def lines() -> Iterator[str]:
    for number in range(3):
        yield f"{cache.get(f'stream:{number}')}\n"


async def async_lines() -> AsyncIterator[str]:
    for number in range(3):
        yield f"{await cache.aget(f'stream:{number}')}\n"


def keys(capture: Capture) -> list[str]:
    return [key for call in capture.calls() for key in call.keys]


def test_the_calls_of_a_stream_are_heard_and_it_is_sent_whole() -> None:
    response, capture, ending = StreamingHttpResponse(lines()), Capture(), Ending()
    capture_stream(response, capture, ending)
    assert b"".join(response) == b"None\nNone\nNone\n"
    assert keys(capture) == ["stream:0", "stream:1", "stream:2"]
    assert ending.times == 1


def test_whoever_sends_the_stream_is_not_heard() -> None:
    response, capture = StreamingHttpResponse(lines()), Capture()
    capture_stream(response, capture, Ending())
    for _ in response:
        assert current() is None
        cache.get("the-server's-own")
    assert "the-server's-own" not in keys(capture)


@closing_a_response
def test_a_stream_that_nobody_reads_on_ends_when_it_is_closed() -> None:
    response, capture, ending = StreamingHttpResponse(lines()), Capture(), Ending()
    capture_stream(response, capture, ending)
    next(iter(response))
    response.close()
    assert keys(capture) == ["stream:0"]
    assert ending.times == 1


def test_a_stream_that_raises_raises_still_and_ends() -> None:
    def failing() -> Iterator[str]:
        cache.get("before")
        yield "x"
        raise ValueError("the stream fails")

    response, capture, ending = StreamingHttpResponse(failing()), Capture(), Ending()
    capture_stream(response, capture, ending)
    with pytest.raises(ValueError, match="the stream fails"):
        b"".join(response)
    assert keys(capture) == ["before"]
    assert ending.times == 1
    assert current() is None


def test_the_calls_of_an_async_stream_are_heard() -> None:
    response, capture, ending = StreamingHttpResponse(async_lines()), Capture(), Ending()
    capture_stream(response, capture, ending)

    async def read() -> bytes:
        return b"".join([part async for part in response])

    assert asyncio.run(read()) == b"None\nNone\nNone\n"
    assert keys(capture) == ["stream:0", "stream:1", "stream:2"]
    assert ending.times == 1


def test_two_async_streams_at_once_do_not_mix() -> None:
    async def named(name: str) -> AsyncIterator[str]:
        for number in range(5):
            await asyncio.sleep(0)
            await cache.aget(f"{name}:{number}")
            yield "x"

    async def read(name: str) -> list[str]:
        response, capture = StreamingHttpResponse(named(name)), Capture()
        capture_stream(response, capture, Ending())
        async for _ in response:
            await asyncio.sleep(0)
        return keys(capture)

    async def read_both() -> tuple[list[str], list[str]]:
        return await asyncio.gather(read("left"), read("right"))

    left, right = asyncio.run(read_both())
    assert left == [f"left:{number}" for number in range(5)]
    assert right == [f"right:{number}" for number in range(5)]


@closing_a_response
def test_a_file_is_left_to_the_server(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    with closing(FileResponse((tmp_path / "a.txt").open("rb"))) as response:
        capture_stream(response, Capture(), Ending())
        assert response.file_to_stream is not None


def test_a_fault_of_ours_at_the_end_is_logged_and_does_not_reach_the_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        raise RuntimeError("the store is away")

    response = StreamingHttpResponse(lines())
    capture_stream(response, Capture(), fail)
    with caplog.at_level(logging.ERROR, "cache_monitor"):
        assert b"".join(response) == b"None\nNone\nNone\n"
    assert "could not store the calls of a stream" in caplog.text
