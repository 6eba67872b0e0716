"""URLs of the site for the browser: the admin, and a page that makes cache calls."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import admin
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.urls import path

GetResponse = Callable[[HttpRequest], HttpResponse]


def strict_csp(get_response: GetResponse) -> GetResponse:
    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["Content-Security-Policy"] = "default-src 'self'"
        return response

    return middleware


def traffic(request: HttpRequest) -> HttpResponse:
    """Ten profiles, each looked up twice: ten misses the first time, hits ever after."""
    for number in range(10):
        cache.get_or_set(f"user:{number}:profile", "x" * 1000)
        cache.get(f"user:{number}:profile")
    return HttpResponse("done")


urlpatterns = [path("admin/", admin.site.urls), path("traffic/", traffic)]
