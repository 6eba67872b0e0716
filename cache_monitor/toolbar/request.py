"""The panel's data of a request and its response, beside the calls."""

import contextlib
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.core.cache import caches
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, resolve
from django.utils.cache import has_vary_header

from cache_monitor import context
from cache_monitor.calls import SOURCE, VERSION
from cache_monitor.capture import keys_of
from cache_monitor.context import Listener, start_listening, stop_listening
from cache_monitor.errors import let_pass
from cache_monitor.keys.naming import name_key
from cache_monitor.stacks import FrameRow
from cache_monitor.toolbar.rows import Kept

MOST_LISTS = 5
"""Lists of headers that are read; a request mostly has one."""


def route_of(request: HttpRequest) -> str | None:
    """The route of the view in ``urlpatterns``, or None; also where a middleware answered."""
    match = _match_of(request)
    return None if match is None else f"/{match.route}"


def view_of(request: HttpRequest) -> FrameRow | None:
    """The first line of the view, with its decorators; None where unknown."""
    match = _match_of(request)
    if match is None:
        return None
    try:
        return _beginning(match.func)
    except (OSError, TypeError):
        return None


def has_pages_by_cookie(response: HttpResponseBase, kept: Kept) -> bool:
    """Whether a page among the calls is cached for each cookie.

    Django's list of headers beside a page shows it. The response's own header may have names that
    middleware added later.
    """
    if not has_vary_header(response, "Cookie"):
        return False
    lists = {
        (call[SOURCE].alias, key, call[VERSION])
        for call, *_ in kept
        for key in keys_of(call)
        if name_key(key).kind == "page_headers"
    }
    return any(_names_cookies(*each) for each in list(lists)[:MOST_LISTS])


def _names_cookies(alias: str, key: Any, version: Any) -> bool:
    try:
        with context.muted():
            headers = caches[alias].get(key, version=version)
        return "HTTP_COOKIE" in (headers or ())
    except Exception as error:
        let_pass(error)
        return False


def _match_of(request: HttpRequest) -> ResolverMatch | None:
    if request.resolver_match is not None:
        return request.resolver_match
    try:
        return resolve(request.path_info, getattr(request, "urlconf", None))
    except Resolver404:
        return None


def _beginning(view: Any) -> FrameRow | None:
    # unwrap() would lead from as_view() to Django's dispatch().
    view = inspect.unwrap(view, stop=lambda each: hasattr(each, "view_class"))
    class_ = getattr(view, "view_class", None)
    if class_ is not None:
        _, line = inspect.getsourcelines(class_)
        return [inspect.getfile(class_), line, class_.__qualname__]
    code = getattr(view, "__code__", None)
    return None if code is None else [code.co_filename, code.co_firstlineno, code.co_qualname]


logger = logging.getLogger("cache_monitor")

Finished = Callable[[], None]


def capture_stream(response: Any, listener: Listener, finished: Finished) -> None:
    """Let ``listener`` hear the calls of ``response``, a stream; call ``finished`` at its end.

    A file is left alone: the server may send it itself, and it makes no calls.
    """
    if getattr(response, "file_to_stream", None) is not None:
        return
    content = response.streaming_content
    captured = _captured_async if response.is_async else _captured
    response.streaming_content = captured(content, listener, finished)


def _captured(content: Iterator[bytes], listener: Listener, finished: Finished) -> Iterator[bytes]:
    steps = iter(content)
    try:
        while True:
            # Between two steps the server is at work.
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


async def _captured_async(
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
            # At the interpreter's end there is no loop.
            await sync_to_async(_finish)(finished)


def _finish(finished: Finished) -> None:
    try:
        finished()
    except Exception as error:
        let_pass(error)
        logger.error("The panel could not store the calls of a stream.", exc_info=error)
