"""A WSGI application whose every answer takes three calls on a cache; for gunicorn.

For each it adds a dot to the file ``answers``: one that a client has not got, because the worker
ended meanwhile, is asked for again.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    from django.core.cache import cache

    cache.set("page", 1)
    cache.get("page")
    cache.get("absent")
    with Path(os.environ["CACHE_MONITOR_TEST_VAR"], "answers").open("a") as answers:
        answers.write(".")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
