"""The cache from an async view."""

from __future__ import annotations

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from shop.models import Product


async def sold_out_count() -> int:
    return await Product.objects.filter(stock=0).acount()


async def stock(request: HttpRequest) -> HttpResponse:
    sold_out = await cache.aget("stock:sold-out")
    was_cached = sold_out is not None
    if sold_out is None:
        sold_out = await sold_out_count()
        await cache.aset("stock:sold-out", sold_out, timeout=30)
    return render(request, "shop/stock.html", {"sold_out": sold_out, "was_cached": was_cached})
