"""A part of a template in the cache."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from shop.models import Category
from shop.queries import best_rated


def fragment(request: HttpRequest, slug: str) -> HttpResponse:
    category = get_object_or_404(Category, slug=slug)
    # A queryset is lazy: while the fragment is cached, nothing runs this query.
    context = {
        "category": category,
        "categories": Category.objects.all(),
        "products": best_rated(category, limit=8),
    }
    return render(request, "shop/fragment.html", context)
