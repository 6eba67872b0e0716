"""The middleware that ties cache calls to views. Optional: all else works without it."""

from collections.abc import Awaitable, Callable
from typing import cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve

from cache_monitor import scope
from cache_monitor.collecting import visits
from cache_monitor.conf import get_conf
from cache_monitor.interruptions import let_pass
from cache_monitor.recorder import recorder

UNKNOWN_VIEW = "(no view)"

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class CacheMonitorMiddleware:
    """Counts the cache calls of each request for its view, and tells staff in ``Server-Timing``.

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
        tally = visits.Tally()
        scope.start_listening(tally)
        try:
            response = cast(HttpResponseBase, self.get_response(request))
        finally:
            scope.stop_listening(tally)
        return _finished(request, response, tally)

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        tally = visits.Tally()
        scope.start_listening(tally)
        try:
            response = await cast(Awaitable[HttpResponseBase], self.get_response(request))
        finally:
            scope.stop_listening(tally)
        return _finished(request, response, tally)


def _finished(
    request: HttpRequest, response: HttpResponseBase, tally: visits.Tally
) -> HttpResponseBase:
    try:
        if tally.end():
            visits.note(visits.Visit(_view_of(request), tally))
            if _is_known_staff(request) and tally.uses():
                entry = _server_timing(tally)
                before = response.get("Server-Timing")
                response["Server-Timing"] = entry if before is None else f"{before}, {entry}"
    except Exception as fault:
        # The site's own converters are asked for the view, its own class for the user: the answer
        # is there, and must not be lost to them.
        let_pass(fault)
        recorder.failed(fault)
    return response


def _view_of(request: HttpRequest) -> str:
    """The view's name; a page that other middleware answered is resolved after all."""
    match = request.resolver_match
    if match is None:
        try:
            match = resolve(request.path_info)
        except Resolver404:
            return UNKNOWN_VIEW
    return match.view_name


def _is_known_staff(request: HttpRequest) -> bool:
    """Whether the user is staff, if somebody has asked who it is: asking ourselves would cost a
    query, and make the answer vary by cookie."""
    user = getattr(request, "_cached_user", None) or getattr(request, "_acached_user", None)
    return bool(getattr(user, "is_staff", False))


def _server_timing(tally: visits.Tally) -> str:
    """The tally as an entry of the header, in milliseconds (W3C Server Timing)."""
    uses = tally.uses().values()
    lookups = sum(use.lookups for use in uses)
    misses = sum(use.misses for use in uses)
    seconds = sum(use.seconds for use in uses)
    ratio = f", {(lookups - misses) / lookups:.0%} hits" if lookups else ""
    return f'cache;dur={seconds * 1e3:.2f};desc="{tally.calls} calls{ratio}"'
