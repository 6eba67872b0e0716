"""A span of OpenTelemetry for each cache call of a traced request. Off by default.

It runs in the caller's path, where the call's trace is known.
"""

import time
from collections.abc import Awaitable, Callable
from typing import cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from cache_monitor import context
from cache_monitor.calls import RawCall, is_failure
from cache_monitor.errors import MissingExtra
from cache_monitor.exporters.opentelemetry import ALIAS, OPERATION, distribution_version, ending
from cache_monitor.keys.known_keys import is_toolbar_key
from cache_monitor.keys.naming import name_key

try:
    from opentelemetry.trace import Status, StatusCode, Tracer, get_current_span, get_tracer
except ImportError as error:
    raise MissingExtra("opentelemetry") from error

__all__ = ["CacheSpansMiddleware"]

HITS = "django.cache.hits"
MISSES = "django.cache.misses"
KEY_GROUPS = "django.cache.key_groups"
MOST_GROUPS = 20

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class CallSpans:
    """Makes a span of each call inside a recorded span. It has no keys: these may be personal."""

    wants_values = False

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def on_call(self, call: RawCall, kind: str | None = None) -> None:
        if get_current_span().is_recording() and not is_toolbar_key(call[3]):
            end = time.time_ns()
            source, _, seconds, key, outcome, _, _, _, error, *_ = call
            span = self._tracer.start_span(
                f"{source.operation} {source.alias}",
                start_time=end - int(seconds * 1e9),
                attributes={
                    ALIAS: source.alias,
                    OPERATION: source.operation,
                    KEY_GROUPS: _groups(key, source.alias),
                    **_found(outcome),
                    **ending(error),
                },
            )
            if is_failure(error):
                span.set_status(Status(StatusCode.ERROR))
            span.end(end)


def _groups(key: object, alias: str) -> list[str]:
    keys = key if isinstance(key, tuple) else () if key is None else (key,)
    return sorted({name_key(each, alias).group for each in keys[:MOST_GROUPS]})


def _found(outcome: bool | tuple[bool, ...] | None) -> dict[str, int]:
    if outcome is None:
        return {}
    found = outcome if isinstance(outcome, tuple) else (outcome,)
    return {HITS: found.count(True), MISSES: found.count(False)}


class CacheSpansMiddleware:
    """Makes spans of the cache calls of each request, with the process's tracer provider.

    Put it first in ``MIDDLEWARE``, to include the calls of other middleware.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response
        self._spans = CallSpans(get_tracer("django-cache-monitor", distribution_version()))
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._answer_async(request)
        context.start_listening(self._spans)
        try:
            return self._get_response(request)
        finally:
            context.stop_listening(self._spans)

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        context.start_listening(self._spans)
        try:
            return await cast("Awaitable[HttpResponseBase]", self._get_response(request))
        finally:
            context.stop_listening(self._spans)
