"""URLs of the site for the browser: the admin, and a page that makes cache calls."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

from django.contrib import admin
from django.core.cache import CacheKeyWarning, cache
from django.http import HttpRequest, HttpResponse
from django.urls import path
from msgspec.structs import replace

import cache_monitor
from cache_monitor.stats.codec import decode, encode
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Row, get_store
from cache_monitor.what_if import StoredPrediction
from tests.dashboard.reports import prediction

HOSTILE = [
    "<img src=x onerror=\"document.title='broken'\">",
    "</td></tr></table><h1>out</h1>",
    "right\u202etfel\u2066",
    "new\nline\ttab\x00nul\x1b[31m",
    "long" * 25_000,
    "{{ settings.SECRET_KEY }}%s%(alias)s",
]

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


def hostile(request: HttpRequest) -> HttpResponse:
    """Keys that a visitor might have thought of."""
    warnings.simplefilter("ignore", CacheKeyWarning)
    for key in HOSTILE:
        cache.get_or_set(key, "<script>alert('value')</script>", timeout=None)
        cache.get(key)
    return HttpResponse("done")


def predicted(request: HttpRequest) -> HttpResponse:
    """Traffic, and a prediction of it as a background thread would have left it."""
    traffic(request)
    row = StoredPrediction(computed_at=time.time(), cpu_seconds=1.0, predicted=prediction())
    get_store().put([Row("what_if", "", "default", 0, 0, encode(row))], int(time.time()))
    return HttpResponse("done")


def earlier(request: HttpRequest) -> HttpResponse:
    """Traffic, and the same half a minute before."""
    traffic(request)
    cache_monitor.flush()
    store, now = get_store(), int(time.time())
    rows = []
    for row in store.read("window", now - 15, now + 1, None):
        start = row.start - 30
        window = replace(decode(row.payload, Window), start=start, final=True)
        rows.append(row._replace(process="earlier", start=start, payload=encode(window)))
    store.put(rows, now)
    return HttpResponse("done")


urlpatterns = [
    path("admin/", admin.site.urls),
    path("traffic/", traffic),
    path("hostile/", hostile),
    path("predicted/", predicted),
    path("earlier/", earlier),
]
