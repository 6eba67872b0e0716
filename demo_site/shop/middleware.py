"""Django's per-site cache, held to one section of the demo."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.cache import FetchFromCacheMiddleware, UpdateCacheMiddleware

CACHED_SECTION = "/per-site/"


class PerSiteSectionMiddleware:
    """The two middlewares of Django's per-site cache, for one section instead of every page."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.uncached = get_response
        self.cached = UpdateCacheMiddleware(FetchFromCacheMiddleware(get_response))

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if request.path_info.startswith(CACHED_SECTION):
            return self.cached(request)
        return self.uncached(request)
