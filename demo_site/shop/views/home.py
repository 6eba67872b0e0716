"""The start page."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from shop.models import Product


def home(request: HttpRequest) -> HttpResponse:
    return render(request, "shop/home.html", {"seeded": Product.objects.exists()})
