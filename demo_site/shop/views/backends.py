"""The same small workload on every backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

from config.servers import SERVERS
from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from shop.backends import BACKENDS, is_away
from shop.queries import ListedProduct, newest_listing
from shop.tour import Backend

Result = TypeVar("Result")


def read_listing(backend: BaseCache) -> Any:
    return backend.get_or_set("listing", newest_listing, timeout=60)


def count_visit(backend: BaseCache) -> int:
    is_first = backend.add("visits", 1, timeout=86_400)
    return 1 if is_first else backend.incr("visits")


def read_prices(backend: BaseCache, listing: list[ListedProduct]) -> int:
    prices = {f"price:{row['pk']}": row["price"] for row in listing}
    found = backend.get_many(prices)
    missing = {key: price for key, price in prices.items() if key not in found}
    if missing:
        backend.set_many(missing, timeout=120)
    return len(found)


@dataclass(frozen=True)
class Workload:
    """What a visit read from the backend, and how long each step took."""

    listing: list[ListedProduct]
    visits: int
    prices_found: int
    milliseconds: dict[str, float]


def run_workload(backend: BaseCache) -> Workload:
    milliseconds: dict[str, float] = {}

    def timed(step: str, work: Callable[[], Result]) -> Result:
        began = perf_counter()
        result = work()
        milliseconds[step] = (perf_counter() - began) * 1000
        return result

    listing: list[ListedProduct] = timed("get_or_set", lambda: read_listing(backend))
    visits = timed("add, incr", lambda: count_visit(backend))
    prices_found = timed("get_many, set_many", lambda: read_prices(backend, listing))
    return Workload(listing, visits, prices_found, milliseconds)


def backend_list(request: HttpRequest) -> HttpResponse:
    return render(
        request,
        "shop/backends.html",
        {"backends": [(each, is_away(each)) for each in BACKENDS.values()]},
    )


def backend(request: HttpRequest, alias: str) -> HttpResponse:
    shown = BACKENDS.get(alias)
    if shown is None:
        raise Http404(f"The demo has no page for the cache {alias!r}.")
    if is_away(shown):
        context = {"backend": shown, "server": SERVERS[shown.server]}
        return render(request, "shop/backend_away.html", context)
    return render(request, "shop/backend.html", backend_context(shown))


def backend_context(shown: Backend) -> dict[str, object]:
    return {
        "backend": shown,
        "path": settings.CACHES[shown.alias]["BACKEND"],
        "workload": run_workload(caches[shown.alias]),
    }
