"""A site under the debug toolbar whose views do with the caches what a test needs."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.core.cache import cache, caches
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import include, path
from django.views.decorators.cache import cache_page

PAGE: Final = "<html><body><h1>A page</h1></body></html>"
HOSTILE_KEY: Final = "</td><script>alert('key')</script>\u202e\n"
MEETING_POINT: Final = threading.Barrier(2, timeout=60)

work: Callable[[], Any] = lambda: None  # noqa: E731 - replaced by the tests


def page(request: HttpRequest) -> HttpResponse:
    work()
    return HttpResponse(PAGE)


async def async_page(request: HttpRequest) -> HttpResponse:
    await cache.aset("async:written", "value", 60)
    await cache.aget("async:written")
    await sync_to_async(cache.get)("async:in-a-thread")
    await asyncio.gather(cache.aget("async:left"), cache.aget("async:right"))
    return HttpResponse(PAGE)


def busy_page(request: HttpRequest, name: str) -> HttpResponse:
    """Two of these at once make their calls in turns."""
    for number in range(10):
        MEETING_POINT.wait()
        cache.get(f"busy:{name}:{number}")
    return HttpResponse(PAGE)


async def busy_async_page(request: HttpRequest, name: str) -> HttpResponse:
    for number in range(10):
        await asyncio.sleep(0)
        await cache.aget(f"busy:{name}:{number}")
    return HttpResponse(PAGE)


def failing_page(request: HttpRequest) -> HttpResponse:
    cache.get("before:the-failure")
    raise RuntimeError("the view fails")


def streaming_page(request: HttpRequest) -> StreamingHttpResponse:
    def stream() -> Iterator[str]:
        for number in range(3):
            yield f"{cache.get(f'stream:{number}')}\n"

    cache.get("before:the-stream")
    return StreamingHttpResponse(stream())


def async_streaming_page(request: HttpRequest) -> StreamingHttpResponse:
    async def stream() -> AsyncIterator[str]:
        for number in range(3):
            yield f"{await cache.aget(f'stream:{number}')}\n"

    return StreamingHttpResponse(stream())


@cache_page(60)
def cached_page(request: HttpRequest, number: int) -> HttpResponse:
    work()
    return HttpResponse(PAGE)


def session_page(request: HttpRequest) -> HttpResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(PAGE)


def redirecting_page(request: HttpRequest) -> HttpResponse:
    caches["files"].get("before:the-redirect")
    return HttpResponse(status=302, headers={"Location": "/page/"})


urlpatterns = [
    path("page/", page),
    path("async/", async_page),
    path("busy/<str:name>/", busy_page),
    path("busy-async/<str:name>/", busy_async_page),
    path("failing/", failing_page),
    path("streaming/", streaming_page),
    path("async-streaming/", async_streaming_page),
    path("cached/<int:number>/", cached_page),
    path("session/", session_page),
    path("redirecting/", redirecting_page),
    path("__debug__/", include("debug_toolbar.urls")),
]
