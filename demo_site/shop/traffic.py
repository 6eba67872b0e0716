"""Visitors who do not exist: what they ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from django.urls import reverse

from shop.backends import BACKENDS

WEIGHTS = {
    "product": 46.0,
    "category": 12.0,
    "bestsellers": 7.0,
    "newest": 5.0,
    "fragment": 7.0,
    "magazine": 4.0,
    "article": 5.0,
    "home": 3.0,
    "stock": 2.0,
    "basket": 10.0,
    "backend": 5.0,
    "low_level": 2.0,
    "clear": 0.5,
    "clear_now": 0.1,
    "stale_content": 0.5,
    "not_working": 0.4,
    "not_caching": 0.5,
    "memory_bloat": 0.5,
    "one_by_one": 0.3,
    "large_value": 0.2,
}
POSTED = {"clear_now"}
ADDS_TO_BASKET = 0.5


@dataclass(frozen=True)
class Visit:
    """One request of a visitor."""

    page: str
    path: str
    form: dict[str, str] | None = None


@dataclass(frozen=True)
class Choices:
    """What visitors can ask for, the most popular first."""

    products: Sequence[int]
    categories: Sequence[str]
    articles: Sequence[int]


class ZipfPicker:
    """Picks so that the second item is wanted half as often as the first, and so on."""

    def __init__(self, random: Random, count: int) -> None:
        self.random = random
        self.positions = range(count)
        self.cumulative = list(accumulate(1 / (position + 1) for position in self.positions))

    def pick(self) -> int:
        return self.random.choices(self.positions, cum_weights=self.cumulative)[0]


class Visitors:
    """An endless, repeatable stream of visits."""

    def __init__(self, choices: Choices, seed: int) -> None:
        self.random = Random(seed)
        self.choices = choices
        self.products = ZipfPicker(self.random, len(choices.products))
        self.categories = ZipfPicker(self.random, len(choices.categories))
        self.articles = ZipfPicker(self.random, len(choices.articles))

    def __iter__(self) -> Iterator[Visit]:
        pages, weights = list(WEIGHTS), list(WEIGHTS.values())
        while True:
            (page,) = self.random.choices(pages, weights)
            yield self.visit(page)

    def visit(self, page: str) -> Visit:
        if page == "low_level":
            return self.low_level_visit()
        path = reverse(f"shop:{page}", kwargs=self.arguments(page))
        is_posted = page in POSTED or (page == "basket" and self.random.random() < ADDS_TO_BASKET)
        return Visit(page, path, {} if is_posted else None)

    def arguments(self, page: str) -> dict[str, str | int]:
        if page == "product":
            return {"pk": self.choices.products[self.products.pick()]}
        if page == "article":
            return {"pk": self.choices.articles[self.articles.pick()]}
        if page in {"category", "fragment"}:
            return {"slug": self.choices.categories[self.categories.pick()]}
        if page == "backend":
            return {"alias": self.random.choice(list(BACKENDS))}
        return {}

    def low_level_visit(self) -> Visit:
        operation = self.random.choice(["get", "get", "get", "set", "add", "get_or_set", "delete"])
        form = {"do": operation, "text": f"note {self.random.randrange(100)}"}
        path = reverse("shop:low_level")
        if operation == "get":
            return Visit("low_level", f"{path}?do=get")
        return Visit("low_level", path, form)
