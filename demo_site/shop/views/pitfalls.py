"""Four mistakes that Django projects make with their caches, made on purpose."""

from __future__ import annotations

from decimal import Decimal
from random import randrange
from uuid import uuid4

from django.core.cache import caches
from django.db.models import F
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from shop.models import Product
from shop.queries import newest_listing

ON_OFFER = {"pk": 1}
REPORTS = 200
REPORT_BYTES = 40_000


def stale_content(request: HttpRequest) -> HttpResponse:
    """The mistake: the price lives for a day, and nothing drops it when it changes."""
    stored = get_object_or_404(Product, **ON_OFFER).price
    shown = caches["pitfalls"].get_or_set("offer:price", stored, timeout=86_400)
    context = {"stored": stored, "shown": shown, "is_stale": stored != shown}
    return render(request, "shop/stale_content.html", context)


@require_POST
def raise_price(_request: HttpRequest) -> HttpResponseRedirect:
    Product.objects.filter(**ON_OFFER).update(price=F("price") + Decimal("0.50"))
    return redirect("shop:stale_content")


@require_POST
def drop_price(_request: HttpRequest) -> HttpResponseRedirect:
    """The cure: whoever changes the row deletes the key."""
    caches["pitfalls"].delete("offer:price")
    return redirect("shop:stale_content")


def not_working(request: HttpRequest) -> HttpResponse:
    """The mistake: the alias is a DummyCache left over from development."""
    listing = caches["dummy"].get_or_set("listing", newest_listing, timeout=300)
    return render(request, "shop/not_working.html", {"listing": listing})


def not_caching(request: HttpRequest) -> HttpResponse:
    """The mistake: the key differs on every request, so that nobody finds it again."""
    key = f"search:{uuid4()}"
    listing = caches["pitfalls"].get_or_set(key, newest_listing, timeout=300)
    return render(request, "shop/not_caching.html", {"listing": listing, "key": key})


def memory_bloat(request: HttpRequest) -> HttpResponse:
    """The mistake: large values, stored for ever, that nobody reads."""
    key = f"report:{randrange(REPORTS)}"
    caches["pitfalls"].set(key, "x" * REPORT_BYTES, timeout=None)
    context = {"key": key, "size": REPORT_BYTES, "most": REPORTS * REPORT_BYTES}
    return render(request, "shop/memory_bloat.html", context)
