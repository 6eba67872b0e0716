"""A program that ends, says when the monitor flushes then, and lets it go on by a line of input."""

import os
import sys
from collections.abc import Sequence
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.programs.seldom"

import django

django.setup()


def main() -> None:
    from django.core.cache import cache

    from cache_monitor.stores.base import Row, get_store

    store = type(get_store())
    put = store.put

    def put_later(self: Any, rows: Sequence[Row], now: int) -> None:
        sys.stdout.write("flushing\n")
        sys.stdout.flush()
        sys.stdin.readline()
        store.put = put  # type: ignore[method-assign]  # once is enough
        put(self, rows, now)

    store.put = put_later  # type: ignore[method-assign]  # to hold it up
    cache.set("a", 1)
    cache.set("b", 2)
    cache.get("a")


main()
