"""A queryset in the cache."""

from __future__ import annotations

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from shop.models import Category
from shop.queries import best_rated


def category(request: HttpRequest, slug: str) -> HttpResponse:
    shown = get_object_or_404(Category, slug=slug)
    # list() runs the query: a lazy queryset in the cache would be no result to share.
    products = cache.get_or_set(
        f"category:{shown.pk}:best-rated", lambda: list(best_rated(shown)), timeout=120
    )
    context = {"category": shown, "categories": Category.objects.all(), "products": products}
    return render(request, "shop/category.html", context)
