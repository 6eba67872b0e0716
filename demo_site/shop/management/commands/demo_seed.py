"""Fill the shop."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from shop.models import Article, Product, Review
from shop.seeding import is_seeded, seed


class Command(BaseCommand):
    help = "Fill the demo shop with products, reviews and articles, unless it has some already."

    def handle(self, *_args: Any, **_options: Any) -> None:
        if is_seeded():
            self.stdout.write("The shop is seeded already; nothing to do.")
            return
        seed()
        self.stdout.write(
            f"Seeded {Product.objects.count()} products, {Review.objects.count()} reviews "
            f"and {Article.objects.count()} articles."
        )
