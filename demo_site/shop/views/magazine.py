"""The section behind the per-site cache; its views know nothing of it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from shop.models import Article


def magazine(request: HttpRequest) -> HttpResponse:
    return render(request, "shop/magazine.html", {"articles": Article.objects.all()[:20]})


def article(request: HttpRequest, pk: int) -> HttpResponse:
    return render(request, "shop/article.html", {"article": get_object_or_404(Article, pk=pk)})
