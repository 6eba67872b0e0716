"""The shop's heavier database queries, which its pages cache."""

from __future__ import annotations

from decimal import Decimal
from typing import TypedDict

from django.db.models import Avg, Count, F, QuerySet

from shop.models import Category, Product


class ListedProduct(TypedDict):
    """A product as plain data, which every backend and every later release can read back."""

    pk: int
    name: str
    brand: str
    price: Decimal


def rated_products() -> QuerySet[Product]:
    return Product.objects.annotate(rating=Avg("reviews__rating"), review_count=Count("reviews"))


def bestsellers(limit: int = 24) -> QuerySet[Product]:
    return rated_products().select_related("category").order_by("-sold", "pk")[:limit]


def newest(limit: int = 24) -> QuerySet[Product]:
    return rated_products().select_related("category").order_by("-added_at", "pk")[:limit]


def best_rated(category: Category, limit: int = 24) -> QuerySet[Product]:
    best_first = F("rating").desc(nulls_last=True)
    most_reviewed_first = F("review_count").desc()
    rated = rated_products().filter(category=category)
    return rated.order_by(best_first, most_reviewed_first, "pk")[:limit]


def newest_listing(limit: int = 12) -> list[ListedProduct]:
    rows = Product.objects.order_by("-added_at", "pk")[:limit]
    return [
        ListedProduct(pk=row.pk, name=row.name, brand=row.brand, price=row.price) for row in rows
    ]
