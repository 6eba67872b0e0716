"""Visitors who do not exist: what they ask for, and how it is sent."""

from __future__ import annotations

import http.client
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random
from time import monotonic, sleep
from urllib.parse import urlencode, urlsplit

from config.toolbar import TRAFFIC_USER_AGENT
from django.urls import reverse

from shop.pages import BACKENDS

REQUEST_TIMEOUT = 15.0
# Django accepts any token that the cookie and the header agree on.
CSRF_TOKEN = "trafficvisitor" + "0" * 18

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
    "backend": 5.0,
    "low_level": 2.0,
    "clear": 0.5,
    "clear_now": 0.1,
    "stale_content": 0.5,
    "not_working": 0.4,
    "not_caching": 0.5,
    "memory_bloat": 0.5,
}
POSTED = {"clear_now"}


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


@dataclass
class Tally:
    """What was sent, and what came of it."""

    pages: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def requests(self) -> int:
        return self.pages.total()

    @property
    def failures(self) -> int:
        return self.errors.total()

    def add(self, visit: Visit, error: str | None) -> None:
        self.pages[visit.page] += 1
        if error:
            self.errors[f"{visit.page}: {error}"] += 1


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
        return Visit(page, path, {} if page in POSTED else None)

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


class Browser:
    """One visitor's connection, kept open between requests."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self.connection = kind(parts.netloc, timeout=REQUEST_TIMEOUT)
        self.prefix = parts.path.rstrip("/")

    def wait_until_served(self, seconds: float) -> bool:
        deadline = monotonic() + seconds
        while self.send(Visit("home", "/")):
            if monotonic() >= deadline:
                return False
            sleep(0.2)
        return True

    def send(self, visit: Visit) -> str | None:
        """Tell what went wrong, or None."""
        try:
            return self.exchange(visit)
        except (ConnectionResetError, BrokenPipeError):
            # The server may close an idle connection at any time: that is no error yet.
            self.connection.close()
        except (OSError, http.client.HTTPException) as error:
            return self.fail(error)
        try:
            return self.exchange(visit)
        except (OSError, http.client.HTTPException) as error:
            return self.fail(error)

    def fail(self, error: Exception) -> str:
        self.connection.close()
        return type(error).__name__

    def exchange(self, visit: Visit) -> str | None:
        headers = {"User-Agent": TRAFFIC_USER_AGENT}
        if visit.form is None:
            self.connection.request("GET", self.prefix + visit.path, headers=headers)
        else:
            headers |= {
                "Content-Type": "application/x-www-form-urlencoded",
                "Cookie": f"csrftoken={CSRF_TOKEN}",
                "X-CSRFToken": CSRF_TOKEN,
            }
            body = urlencode(visit.form)
            self.connection.request("POST", self.prefix + visit.path, body, headers)
        response = self.connection.getresponse()
        response.read()
        return None if response.status < 400 else f"status {response.status}"

    def close(self) -> None:
        self.connection.close()
