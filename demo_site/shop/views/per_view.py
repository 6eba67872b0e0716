"""Whole views in the cache: a function and a class."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.views.decorators.cache import cache_page
from django.views.generic import TemplateView

from shop.queries import bestsellers, newest


@cache_page(60, cache="pages")
def bestseller_list(request: HttpRequest) -> HttpResponse:
    return render(request, "shop/bestsellers.html", {"products": bestsellers()})


@method_decorator(cache_page(60, cache="pages"), name="dispatch")
class NewestList(TemplateView):
    template_name = "shop/newest.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(products=newest(), **kwargs)
