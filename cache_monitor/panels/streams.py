"""Listening while a response is streamed, which goes on after the request's end."""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from asgiref.sync import sync_to_async

from cache_monitor.interruptions import let_pass
from cache_monitor.scope import Listener, start_listening, stop_listening

logger = logging.getLogger("cache_monitor")

Finished = Callable[[], None]


def hear_stream(response: Any, listener: Listener, finished: Finished) -> None:
    """Let ``listener`` hear the calls made while ``response``, a stream, is sent; at its end, or
    when nobody reads on, call ``finished``.

    A file is left alone: the server may send it by itself, and it makes no calls.
    """
    if getattr(response, "file_to_stream", None) is not None:
        return
    content = response.streaming_content
    heard = _heard_async if response.is_async else _heard
    response.streaming_content = heard(content, listener, finished)


def _heard(content: Iterator[bytes], listener: Listener, finished: Finished) -> Iterator[bytes]:
    steps = iter(content)
    try:
        while True:
            # Step by step: between two of them whoever sends the response is at work.
            start_listening(listener)
            try:
                chunk = next(steps)
            except StopIteration:
                return
            finally:
                stop_listening(listener)
            yield chunk
    finally:
        _finish(finished)


async def _heard_async(
    content: AsyncIterator[bytes], listener: Listener, finished: Finished
) -> AsyncIterator[bytes]:
    steps = aiter(content)
    try:
        while True:
            start_listening(listener)
            try:
                chunk = await anext(steps)
            except StopAsyncIteration:
                return
            finally:
                stop_listening(listener)
            yield chunk
    finally:
        with contextlib.suppress(RuntimeError):
            # Without a loop at the interpreter's end.
            await sync_to_async(_finish)(finished)


def _finish(finished: Finished) -> None:
    try:
        finished()
    except Exception as error:
        let_pass(error)
        # The response is the site's; only our account of it is incomplete.
        logger.error("The panel could not store the calls of a stream.", exc_info=error)
