"""Why ``UpdateCacheMiddleware`` does not store a response, asked as it asks.

The rules are those of ``django.middleware.cache`` (5.2 to 6.1), in their order, read from the
response as it comes in; nothing of it is changed.
"""

from typing import Any

from django.core.cache.backends.dummy import DummyCache
from django.http.response import HttpResponseBase
from django.utils.cache import get_max_age, has_vary_header

from cache_monitor.pages.passes import NotStored, PagePass

_FORBIDDING: tuple[NotStored, ...] = ("private", "no-cache", "no-store")
_STORED_STATUS = 200

Reason = tuple[NotStored, str]
"""Why, and what there is to add: a cookie's name, a status."""


def why_not_stored(
    middleware: Any, request: Any, response: HttpResponseBase, page_pass: PagePass
) -> Reason | None:
    """Why ``middleware`` will not store ``response``; None where it will try to."""
    return (
        _not_wanted(request, page_pass)
        or _not_storable(response)
        or _not_allowed(response)
        or _no_time(middleware, response)
        or (("dummy", "") if isinstance(middleware.cache, DummyCache) else None)
    )


def _not_wanted(request: Any, page_pass: PagePass) -> Reason | None:
    if getattr(request, "_cache_update_cache", False):
        return None
    if page_pass.fetch == "bypass":
        return "method", str(request.method)
    if page_pass.fetch == "none":
        return "no_fetch", ""
    return ("inner" if page_pass.inner_hit else "disabled"), ""


def _not_storable(response: HttpResponseBase) -> Reason | None:
    if response.streaming:
        return "streaming", ""
    if response.status_code != _STORED_STATUS:
        return "status", str(response.status_code)
    if response.cookies and has_vary_header(response, "Cookie"):
        return "cookie", ", ".join(sorted(response.cookies))
    return None


def _not_allowed(response: HttpResponseBase) -> Reason | None:
    control = str(response.get("Cache-Control", ""))
    for directive in _FORBIDDING:
        if directive in control.lower():
            return directive, control
    if has_vary_header(response, "*"):
        return "vary_star", ""
    return None


def _no_time(middleware: Any, response: HttpResponseBase) -> Reason | None:
    timeout = middleware.page_timeout
    if timeout is None:
        timeout = get_max_age(response)
        if timeout == 0:
            return "max_age_0", str(response.get("Cache-Control", ""))
        if timeout is None:
            timeout = middleware.cache_timeout
    return None if timeout else ("timeout_0", "")
