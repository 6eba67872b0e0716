"""What a stop of the tour is: a live page, the panel above it, and where its effect shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from django.urls import reverse

PANEL = "#cache-panel"
"""Ends a link to a page whose panel opens by itself: see static/shop/panel.js."""
PERIOD = "15m"


@dataclass(frozen=True)
class Effect:
    """A page of the dashboard that shows what a visit has done, and what it is called."""

    label: str
    page: str = "dashboard"
    asks: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Of the last minutes: a visit is seen better there than in an hour."""
        query = urlencode({"range": PERIOD, **self.asks})
        return f"{reverse(f'admin:cache_monitor_{self.page}')}?{query}"


def keys_of(alias: str, group: str) -> Effect:
    """The keys of a group, with what was asked of each."""
    return Effect(f"Keys of {group}", "keys", {"alias": alias, "group": group})


def overview() -> Effect:
    """All caches together."""
    return Effect("All caches")


def overview_of(alias: str) -> Effect:
    """A cache by itself."""
    return Effect(f"The cache “{alias}”", "dashboard", {"alias": alias})


def memory_of(alias: str) -> Effect:
    """What a cache holds."""
    return Effect(f"Memory of “{alias}”", "memory", {"alias": alias})


def findings_of(alias: str) -> Effect:
    """The mistakes that a cache's figures show."""
    return Effect(f"Findings in “{alias}”", "findings", {"alias": alias})


@dataclass(frozen=True)
class Page:
    """A page, its way of caching in a few words, what to look for after a visit, and where."""

    name: str
    title: str
    way: str
    sentence: str
    watch: str
    effects: tuple[Effect, ...]
    arguments: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def view_name(self) -> str:
        return f"shop:{self.name}"

    @property
    def url(self) -> str:
        return reverse(self.view_name, kwargs=dict(self.arguments))

    @property
    def panel_url(self) -> str:
        return self.url + PANEL


@dataclass(frozen=True)
class Section:
    """Pages that belong together, and why one should look at them."""

    title: str
    sentence: str
    pages: tuple[Page, ...]


@dataclass(frozen=True)
class Backend:
    """A cache backend that has a page of its own; ``server`` is what it needs to be running."""

    alias: str
    name: str
    sentence: str
    server: str = ""

    @property
    def url(self) -> str:
        return reverse("shop:backend", kwargs={"alias": self.alias})

    @property
    def panel_url(self) -> str:
        return self.url + PANEL

    @property
    def effects(self) -> tuple[Effect, ...]:
        return (overview_of(self.alias), memory_of(self.alias))
