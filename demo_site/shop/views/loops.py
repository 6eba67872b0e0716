"""Cache calls that one page makes too often, too large, or for one visitor alone."""

from __future__ import annotations

from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import cache_page
from django.views.decorators.vary import vary_on_cookie

from shop.models import Product

SHOWN = 12
CATALOGUE_COPIES = 60


def one_by_one(request: HttpRequest) -> HttpResponse:
    """The mistake: a loop asks for each price, and each time for the same exchange rate."""
    cache = caches["scratch"]
    cache.get_or_set("rate:gbp", 0.86, timeout=600)
    prices = []
    for product in Product.objects.order_by("pk")[:SHOWN]:
        price = cache.get(f"price:{product.pk}")
        if price is None:
            price = float(product.price)
            cache.set(f"price:{product.pk}", price, timeout=600)
        prices.append((product, price, price * cache.get("rate:gbp", 1.0)))
    return render(request, "shop/one_by_one.html", {"prices": prices})


def large_value(request: HttpRequest) -> HttpResponse:
    """The mistake: the whole catalogue is one value, read and unpickled to show three names."""
    catalogue = caches["scratch"].get_or_set("catalogue", all_descriptions, timeout=60)
    return render(request, "shop/large_value.html", {"names": (catalogue or [])[:3]})


def all_descriptions() -> list[str]:
    rows = Product.objects.values_list("name", "description")
    return [f"{name}: {description}" * CATALOGUE_COPIES for name, description in rows[:200]]


@cache_page(60, cache="pages")
@vary_on_cookie
def page_per_visitor(request: HttpRequest) -> HttpResponse:
    """The mistake: the page shows the visitor's own session, so nobody can share it."""
    visits = request.session.get("visits", 0) + 1
    request.session["visits"] = visits
    return render(request, "shop/page_per_visitor.html", {"visits": visits})
