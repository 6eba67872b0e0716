"""The start page: the tour."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from shop.backends import BACKENDS, is_away
from shop.day import SECONDS
from shop.mistakes import mistakes
from shop.models import Product
from shop.tour import overview


def home(request: HttpRequest) -> HttpResponse:
    context = {
        "seeded": Product.objects.exists(),
        "backends": [(backend, is_away(backend)) for backend in BACKENDS.values()],
        "mistakes": mistakes(),
        "overview_url": overview().url,
        "day_minutes": round(SECONDS / 60),
    }
    return render(request, "shop/home.html", context)
