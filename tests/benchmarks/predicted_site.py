"""The site of :mod:`tests.benchmarks.predicted`: settings, and a WSGI application for gunicorn.

Each page looks up the keys that it is asked for in every cache, one after the other, and stores
them where they are missing. It answers with the hits, cache by cache; what a cache raises counts
as a miss, and is told.
"""

import json
import os
from collections.abc import Callable, Iterable
from random import Random
from typing import Any
from urllib.parse import parse_qs

from django.core.cache.backends.base import DEFAULT_TIMEOUT

SECRET_KEY = "only for the benchmarks"
DEBUG = False
USE_TZ = True
INSTALLED_APPS = ["cache_monitor"]
CACHES = json.loads(os.environ["PREDICTED_CACHES"])
CACHE_MONITOR = {
    "STORE": {
        "BACKEND": "cache_monitor.stores.sqlite.SQLiteStore",
        "OPTIONS": {"PATH": os.environ["PREDICTED_STORE"]},
    },
    # The defaults, but for what a run of minutes would wait for too long.
    "FLUSH_INTERVAL": 2,
    "INSPECT_INTERVAL": 5,
}
SIZES = [int(each) for each in os.environ["PREDICTED_SIZES"].split(",")]
TIMEOUTS = json.loads(os.environ["PREDICTED_TIMEOUTS"])
"""Seconds from and to which entries last; null where the caches say. Every tenth has no end."""


def value_of(key: str) -> str:
    """The value of a key: always the same, and as large as chance has it."""
    random = Random(key)
    return "x" * int(random.uniform(*SIZES))


def timeout_of(key: str) -> Any:
    """How long the value of a key is stored: always the same, and what chance has it."""
    if TIMEOUTS is None:
        return DEFAULT_TIMEOUT
    return None if int(key) % 10 == 0 else Random(key).uniform(*TIMEOUTS)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    from django.core.cache import caches

    hits = dict.fromkeys(CACHES, 0)
    errors = []
    for key in parse_qs(environ["QUERY_STRING"]).get("key", []):
        for alias in CACHES:
            try:
                if caches[alias].get(f"product:{key}") is None:
                    caches[alias].set(f"product:{key}", value_of(key), timeout_of(key))
                else:
                    hits[alias] += 1
            except Exception as error:
                errors.append(f"{alias}: {error!r}")
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"hits": hits, "errors": errors}).encode()]


def served() -> Callable[..., Iterable[bytes]]:
    """The application, once Django is set up."""
    import django

    django.setup()
    return application
