"""The get-then-set workflow."""

from __future__ import annotations

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from shop.models import Product


def product(request: HttpRequest, pk: int) -> HttpResponse:
    """One get a request, one set after a miss, and no other cache call on any alias."""
    key = f"product:{pk}"
    found = cache.get(key)
    was_cached = found is not None
    if found is None:
        complete = Product.objects.select_related("category").prefetch_related("reviews")
        found = get_object_or_404(complete, pk=pk)
        cache.set(key, found, timeout=300)
    return render(request, "shop/product.html", {"product": found, "was_cached": was_cached})
