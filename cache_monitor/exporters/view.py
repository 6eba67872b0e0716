"""What ``cache_top`` shows of a report."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from django.conf import settings

from cache_monitor.reports.schema import HotKey

Order = Callable[[HotKey], Any]

ORDERS: Mapping[str, Order] = {
    "lookups": lambda key: -key.lookups,
    "misses": lambda key: -key.misses,
    "ratio": lambda key: key.hits / key.lookups if key.lookups else 2.0,
    "bytes": lambda key: -(key.bytes or 0),
    "name": lambda key: key.key,
}
"""The hot keys can be sorted by these; the first letter is the key to press."""


class View(NamedTuple):
    """What to show: the order of the hot keys, and for which cache, or all of them."""

    order: str = "lookups"
    alias: str | None = None


def pressed(key: str | None, view: View) -> View:
    """The view after ``key`` was pressed; the same where it means nothing."""
    if key == "a":
        every = [None, *settings.CACHES]
        at = every.index(view.alias) if view.alias in every else 0
        return view._replace(alias=every[(at + 1) % len(every)])
    return view._replace(order=next((name for name in ORDERS if name[0] == key), view.order))
