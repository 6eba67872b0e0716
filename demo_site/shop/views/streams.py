"""A response that is sent while it is made, with cache calls in the midst."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial

from django.core.cache import caches
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render

LINES = 10


def stream_line(number: int) -> str:
    return f"line {number}\n"


def lines() -> Iterator[str]:
    cache = caches["scratch"]
    for number in range(LINES):
        line = cache.get_or_set(f"stream:{number}", partial(stream_line, number), timeout=60)
        yield str(line)


async def async_lines() -> AsyncIterator[str]:
    cache = caches["scratch"]
    for number in range(LINES):
        yield await cache.aget(f"stream:{number}", stream_line(number))


def streaming(request: HttpRequest) -> HttpResponse:
    return render(request, "shop/streaming.html")


def stream(_request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(lines(), content_type="text/plain; charset=utf-8")


async def async_stream(_request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(async_lines(), content_type="text/plain; charset=utf-8")
