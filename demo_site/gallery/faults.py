"""Caching mistakes, made on purpose: each with real calls, as a site would make them.

A fault is one visit to its page. Each has its own keys, so that the finding names them, and an
alias of the gallery, so that the shop beside it stays healthy.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from uuid import uuid4

from django.conf import settings
from django.core.cache import BaseCache, caches
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.test import RequestFactory
from django.views.decorators.cache import cache_page
from django.views.decorators.csrf import csrf_protect

PRODUCE_SECONDS = 0.02
"""What a value of the gallery takes to produce: a query or two."""

_numbers = count()


@dataclass(frozen=True)
class Fault:
    """A mistake: the code of the finding, the alias and the group that it must name."""

    code: str
    title: str
    alias: str
    group: str | None
    commit: Callable[[], None]

    @property
    def sentence(self) -> str:
        """What the page does, in a sentence."""
        return " ".join((self.commit.__doc__ or "").split())


def _gallery() -> BaseCache:
    return caches["gallery"]


def _produce() -> str:
    time.sleep(PRODUCE_SECONDS)
    return "value"


def _produce_another() -> str:
    return f"{_produce()} {next(_numbers)}"


def no_expiry() -> None:
    """Stores 250 entries without a timeout."""
    entries = {f"endless:{number}": "value" for number in range(250)}
    caches["gallery-endless"].set_many(entries, timeout=None)
    caches["gallery-endless"].get_many(entries)


def large_values() -> None:
    """Stores half a megabyte under one key, and reads it."""
    _gallery().set("export:1", "x" * 500_000, timeout=600)
    _gallery().get("export:1")


def never_read() -> None:
    """Stores a thousand entries for two seconds that nobody asks for."""
    entries = {f"unread:{next(_numbers)}": "value" for _ in range(1000)}
    _gallery().set_many(entries, timeout=2)


def low_hit_ratio() -> None:
    """Asks for 30 keys, each once in a while, that live for a tenth of a second and change."""
    for number in range(180):
        _gallery().get_or_set(f"sparse:{number % 30}", _produce_another, timeout=0.1)


def never_stored() -> None:
    """Asks the database's cache for 20 keys again and again that nobody stores."""
    for number in range(400):
        caches["gallery-database"].get(f"forgotten:{number % 20}")


def cache_bound_view() -> None:
    """Asks the database's cache for three keys at a time, 3,000 times over; the first are there."""
    cache = caches["gallery-bound"]
    # Where none was ever stored, that is the mistake, as soon as it costs enough.
    cache.set_many({f"figure:{number}": number for number in range(3)}, timeout=3600)
    for number in range(3000):
        cache.get_many([f"figure:{3 * number + part}" for part in range(3)])


def short_timeout() -> None:
    """Asks for five keys again and again that live for a tenth of a second."""
    for _ in range(25):
        for number in range(5):
            _gallery().get_or_set(f"hasty:{number}", _produce, timeout=0.1)
        time.sleep(0.1)


def unchanged_rewrites() -> None:
    """Produces forty values anew each time that their second is over: the same ones."""
    for _ in range(3):
        for number in range(40):
            _gallery().get_or_set(f"constant:{number}", _produce, timeout=1)
        time.sleep(1)


def evicted_early() -> None:
    """Goes round 60 keys in a cache that has room for 20."""
    for _ in range(3):
        for number in range(60):
            caches["gallery-small"].get_or_set(f"crowded:{number}", _produce, timeout=600)


def lost_entries() -> None:
    """Stores 30 entries in files, which somebody else deletes, eight times over."""
    cache = caches["gallery-emptied"]
    for _ in range(8):
        for number in range(30):
            cache.get_or_set(f"vanished:{number}", _produce, timeout=600)
        for file in Path(settings.CACHES["gallery-emptied"]["LOCATION"]).glob("*.djcache"):
            file.unlink()


def overwritten() -> None:
    """Lets a task store five keys again and again, and reads them once."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(_store_again_and_again)
    _gallery().get_many([f"restless:{number}" for number in range(5)])


def _store_again_and_again() -> None:
    for number in range(3000):
        _gallery().set(f"restless:{number % 5}", number, timeout=600)


def deleted_early() -> None:
    """Stores, and deletes before anybody asks again."""
    for number in range(150):
        key = f"gone:{number % 10}"
        if _gallery().get(key) is None:
            _gallery().set(key, _produce(), timeout=600)
            _gallery().delete(key)


def stampede() -> None:
    """Lets twenty threads ask at once for a key that is not there, five times over."""
    with ThreadPoolExecutor(20) as threads:
        for _ in range(5):
            _gallery().delete("rush:1")
            list(threads.map(lambda _: _produce_slowly("rush:1"), range(20)))


def _produce_slowly(key: str) -> None:
    if _gallery().get(key) is None:
        time.sleep(5 * PRODUCE_SECONDS)
        _gallery().set(key, "value", timeout=600)


def single_gets() -> None:
    """Asks the database's cache for 200 keys of one group one by one."""
    keys = [f"line:{number}" for number in range(200)]
    caches["gallery-database"].set_many(dict.fromkeys(keys, "value"), timeout=600)
    for key in keys:
        caches["gallery-database"].get(key)


def repeated_gets() -> None:
    """Asks the database's cache for the same key 200 times."""
    caches["gallery-database"].set("setting:1", "value", timeout=600)
    for _ in range(200):
        caches["gallery-database"].get("setting:1")


def cheap_to_recompute() -> None:
    """Keeps products of two numbers in the database's cache."""
    for number in range(180):
        factor = number % 15
        caches["gallery-database"].get_or_set(f"sevenfold:{factor}", lambda: 7 * 7, timeout=600)


def hot_key() -> None:
    """Lets four threads ask for one key for five seconds on end."""
    caches["gallery-files"].set("config:1", "value", timeout=600)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(_ask_until, [time.monotonic() + 5] * 4))


def _ask_until(end: float) -> None:
    while time.monotonic() < end:
        caches["gallery-files"].get("config:1")


def key_explosion() -> None:
    """Lets a task cache 2000 answers under keys with a random part."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(_store_answers)


def _store_answers() -> None:
    for _ in range(2000):
        _gallery().get_or_set(f"answer:{uuid4()}", "value", timeout=600)


def aged_content() -> None:
    """Serves what the first visit has stored. Old is what the demo takes for it (DEMO_AGED_AFTER,
    ten minutes): make the mistake again after that time."""
    for number in range(5):
        _gallery().add(f"yesterday:{number}", "value", timeout=86400)
    for number in range(200):
        _gallery().get(f"yesterday:{number % 5}")


def expired_stored() -> None:
    """Stores 250 entries for a second in a cache with room for 400, which keeps them."""
    entries = {f"brief:{next(_numbers)}": "value" for _ in range(250)}
    caches["gallery-expired"].set_many(entries, timeout=1)
    caches["gallery-expired"].get_many(entries)


def clear_under_traffic() -> None:
    """Clears a cache whose 300 entries are asked for right after."""
    cache = caches["gallery-cleared"]
    entries = {f"wanted:{number}": "value" for number in range(300)}
    cache.set_many(entries, timeout=600)
    cache.clear()
    cache.get_many(entries)


def backend_errors() -> None:
    """Asks a server that is not there."""
    for _ in range(20):
        with contextlib.suppress(Exception):
            caches["gallery-away"].get("anything")


def page_not_stored() -> None:
    """Asks 110 times for a page whose form has a CSRF token, behind cache_page."""
    for _ in range(110):
        _page_with_form(RequestFactory(SERVER_NAME="localhost").get("/gallery/page-not-stored/"))


@cache_page(60, cache="gallery")
@csrf_protect
def _page_with_form(request: HttpRequest) -> HttpResponse:
    _produce()
    return HttpResponse(get_token(request))


def dummy_backend() -> None:
    """Asks a DummyCache a hundred times. A finding only where DEBUG is off (DEMO_DEBUG=0)."""
    for _ in range(100):
        caches["dummy"].get("listing")


FAULTS = {
    fault.code: fault
    for fault in (
        Fault("no-expiry", "No expiry", "gallery-endless", "endless:{int}", no_expiry),
        Fault("large-values", "Large values", "gallery", "export:{int}", large_values),
        Fault("never-read", "Never read", "gallery", "unread:{int}", never_read),
        Fault("low-hit-ratio", "Low hit ratio", "gallery", "sparse:{int}", low_hit_ratio),
        Fault("short-timeout", "Short timeout", "gallery", "hasty:{int}", short_timeout),
        Fault(
            "unchanged-rewrites",
            "Unchanged rewrites",
            "gallery",
            "constant:{int}",
            unchanged_rewrites,
        ),
        Fault("evicted-early", "Evicted early", "gallery-small", "crowded:{int}", evicted_early),
        Fault("lost-entries", "Entries lost", "gallery-emptied", "vanished:{int}", lost_entries),
        Fault("overwritten", "Overwritten", "gallery", "restless:{int}", overwritten),
        Fault("deleted-early", "Deleted early", "gallery", "gone:{int}", deleted_early),
        Fault("stampede", "Stampede", "gallery", "rush:{int}", stampede),
        Fault("single-gets", "Single gets", "gallery-database", "line:{int}", single_gets),
        Fault("repeated-gets", "Repeated gets", "gallery-database", "setting:{int}", repeated_gets),
        Fault(
            "cheap-to-recompute",
            "Cheap to recompute",
            "gallery-database",
            "sevenfold:{int}",
            cheap_to_recompute,
        ),
        Fault("never-stored", "Never stored", "gallery-database", "forgotten:{int}", never_stored),
        Fault(
            "cache-bound-view",
            "A view that waits for the cache",
            "gallery-bound",
            "figure:{int}",
            cache_bound_view,
        ),
        Fault("hot-key", "Hot key", "gallery-files", "config:{int}", hot_key),
        Fault("key-explosion", "Key explosion", "gallery", "answer:{uuid}", key_explosion),
        Fault("aged-content", "Aged content", "gallery", "yesterday:{int}", aged_content),
        Fault("expired-stored", "Expired, stored", "gallery-expired", None, expired_stored),
        Fault(
            "clear-under-traffic",
            "Clear under traffic",
            "gallery-cleared",
            None,
            clear_under_traffic,
        ),
        Fault("backend-errors", "Backend errors", "gallery-away", None, backend_errors),
        Fault(
            "page-not-stored",
            "Page not stored",
            "gallery",
            "/gallery/<slug:code>/",
            page_not_stored,
        ),
        Fault("dummy-backend", "Dummy backend", "dummy", None, dummy_backend),
    )
}
"""By code. ``local-memory-many-processes`` needs no page: two workers of the demo make it."""
