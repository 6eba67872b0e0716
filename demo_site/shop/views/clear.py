"""Emptying a whole cache."""

from __future__ import annotations

from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

KEYS = [f"scratch:{number}" for number in range(20)]


@require_GET
def scratch(request: HttpRequest) -> HttpResponse:
    """Fill what is missing, so that there is something to clear."""
    shared = caches["scratch"]
    present = shared.get_many(KEYS)
    missing = [key for key in KEYS if key not in present]
    if missing:
        shared.set_many(dict.fromkeys(missing, "a value"), timeout=600)
    context = {"total": len(KEYS), "present": len(present), "refilled": len(missing)}
    return render(request, "shop/clear.html", context)


@require_POST
def clear_scratch(request: HttpRequest) -> HttpResponse:
    caches["scratch"].clear()
    left = caches["scratch"].get_many(KEYS)
    context = {"total": len(KEYS), "present": len(left), "cleared": True}
    return render(request, "shop/clear.html", context)
