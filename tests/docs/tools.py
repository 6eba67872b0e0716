"""Makes the calls that the comparison is about beside one tool, and prints what both say.

``python tools.py TOOL``, in an environment that has the tool. The monitor is one of the tools, and
stands beside no other.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Any

import django
from django.conf import settings

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
BACKENDS = {"prometheus": "django_prometheus.cache.backends.locmem.LocMemCache"}

APPS = {"ours": ["cache_monitor"], "toolbar": ["debug_toolbar"]}


def configure(tool: str) -> None:
    settings.configure(
        SECRET_KEY="only for the tests",
        STATIC_URL="/static/",
        INSTALLED_APPS=APPS.get(tool, []),
        CACHES={"default": {"BACKEND": BACKENDS.get(tool, LOCMEM)}},
        CACHE_MONITOR={"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}},
        DEBUG=tool == "toolbar",
    )


def calls() -> dict[str, Any]:
    """The calls, in the order of the table; what they gave."""
    from django.core.cache import cache

    cache.set("none", None)
    return {
        "get": cache.get("none"),
        "get with a default": cache.get("none", "default"),
        "get_or_set": cache.get_or_set("made", lambda: "made"),
        "get_many": sorted(cache.get_many(["none", "no"])),
    }


def ours() -> Any:
    django.setup()
    from cache_monitor.testing import capture_cache_calls

    with capture_cache_calls() as captured:
        given = calls()
    of = {call.operation: captured.of(operation=call.operation) for call in captured}
    return given, {name: [len(found), found.hits, found.misses] for name, found in of.items()}


def toolbar() -> Any:
    django.setup()
    from debug_toolbar.panels.cache import CachePanel
    from debug_toolbar.toolbar import DebugToolbar
    from django.http import HttpResponse
    from django.test import RequestFactory

    made = DebugToolbar(RequestFactory().get("/"), lambda _: HttpResponse())
    panel = next(each for each in made.enabled_panels if isinstance(each, CachePanel))
    panel.enable_instrumentation()  # type: ignore[no-untyped-call]  # the toolbar's
    given = calls()
    panel.disable_instrumentation()  # type: ignore[no-untyped-call]  # the toolbar's
    counts = {name: count for name, count in panel.counts.items() if count}
    return given, [counts, panel.hits, panel.misses]


def prometheus() -> Any:
    django.setup()
    from prometheus_client import REGISTRY

    given = calls()
    samples = Counter({s.name: s.value for metric in REGISTRY.collect() for s in metric.samples})
    return given, [samples[f"django_cache_get{part}_total"] for part in ("", "_hits", "_misses")]


def sentry() -> Any:
    import sentry_sdk
    from sentry_sdk.integrations.django import DjangoIntegration

    spans: list[Any] = []

    def keep(event: Any, _: Any) -> None:
        spans.extend(
            [each["description"], each["data"].get("cache.hit")]
            for each in event["spans"]
            if each["op"] == "cache.get"
        )

    sentry_sdk.init(
        dsn="http://key@localhost/1",
        before_send_transaction=keep,
        traces_sample_rate=1.0,
        integrations=[DjangoIntegration(cache_spans=True)],
        default_integrations=False,
        auto_enabling_integrations=False,
    )
    django.setup()
    with sentry_sdk.start_transaction(name="calls"):
        given = calls()
    return given, spans


if __name__ == "__main__":
    configure(sys.argv[1])
    given, told = {each.__name__: each for each in (ours, toolbar, prometheus, sentry)}[
        sys.argv[1]
    ]()
    print(json.dumps({"given": given, "told": told}))  # noqa: T201 - what it is run for
