"""The middleware that ties cache calls to views. Optional: all else works without it."""

from collections.abc import Awaitable, Callable
from typing import cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve

from cache_monitor import context
from cache_monitor.calls import recorder
from cache_monitor.conf import get_conf
from cache_monitor.errors import let_pass
from cache_monitor.page_cache import cache_status
from cache_monitor.worker import requests

__all__ = ["CacheMonitorMiddleware"]

UNKNOWN_VIEW = "(no view)"

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class CacheMonitorMiddleware:
    """Counts the cache calls of each request for its view, and tells staff in ``Server-Timing``.

    Where the request passed Django's page cache, staff, and everybody with ``DEBUG``, is told in
    ``Cache-Status`` (RFC 9211) what came of it.

    Put it first in ``MIDDLEWARE``, so that the calls of other middleware are in.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        if not get_conf().enabled:
            raise MiddlewareNotUsed("CACHE_MONITOR['ENABLED'] is False")
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answer the request."""
        if self._is_async:
            return self._answer_async(request)
        with context.listening(stats := requests.RequestStats()):
            response = cast(HttpResponseBase, self.get_response(request))
        return _finished(request, response, stats)

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        with context.listening(stats := requests.RequestStats()):
            response = await cast(Awaitable[HttpResponseBase], self.get_response(request))
        return _finished(request, response, stats)


def _finished(
    request: HttpRequest, response: HttpResponseBase, stats: requests.RequestStats
) -> HttpResponseBase:
    try:
        has_called = stats.end()
        if has_called:
            requests.note(requests.RequestRecord(_view_of(request), stats))
        is_staff = _is_known_staff(request)
        if has_called and is_staff and stats.uses():
            _append(response, "Server-Timing", _server_timing(stats))
        if stats.page_passes and (is_staff or settings.DEBUG):
            # In the order of RFC 9211: the cache that is closest to the view comes first.
            for page_pass in stats.page_passes:
                _append(response, "Cache-Status", cache_status(page_pass))
    except Exception as fault:
        # The site's own converters are asked for the view, its own class for the user: the answer
        # is there, and must not be lost to them.
        let_pass(fault)
        recorder.failed(fault)
    return response


def _append(response: HttpResponseBase, header: str, entry: str) -> None:
    """Add ``entry`` to those that others have written."""
    before = response.get(header)
    response[header] = entry if before is None else f"{before}, {entry}"


def _view_of(request: HttpRequest) -> str:
    """The view's name; a page that other middleware answered is resolved after all."""
    match = request.resolver_match
    if match is None:
        try:
            match = resolve(request.path_info, getattr(request, "urlconf", None))
        except Resolver404:
            return UNKNOWN_VIEW
    return match.view_name


def _is_known_staff(request: HttpRequest) -> bool:
    """Whether the user is staff, if somebody has asked who it is: asking ourselves would cost a
    query, and make the answer vary by cookie."""
    user = getattr(request, "_cached_user", None) or getattr(request, "_acached_user", None)
    return bool(getattr(user, "is_staff", False))


def _server_timing(stats: requests.RequestStats) -> str:
    """The totals as an entry of the header, in milliseconds (W3C Server Timing)."""
    totals = stats.totals()
    hits = "" if totals.hit_percent is None else f", {totals.hit_percent}% hits"
    return f'cache;dur={totals.seconds * 1e3:.2f};desc="{totals.calls} calls{hits}"'
