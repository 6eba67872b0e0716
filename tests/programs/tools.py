"""Run calls on a cache beside another tool that patches caches: ``tools TOOL on|off``.

Prints as JSON what the calls gave, what the tool counted, and what the monitor did.
"""

import json
import os
import sys
from collections import Counter
from typing import Any

import django
from django.conf import settings
from django.core.cache import caches

CALLS: list[tuple[Any, ...]] = [
    ("set", "a", 1),
    ("get", "a"),
    ("get", "no"),
    ("get", "no", "default"),
    ("get_many", ["a", "no"]),
    ("set_many", {"b": 2, "none": None}),
    ("get_or_set", "made", list),
    ("get_or_set", "made", 5),
    ("add", "a", 2),
    ("incr", "b"),
    ("touch", "b", 60),
    ("has_key", "b"),
    ("delete_many", ["a"]),
    ("delete", "b"),
    ("clear",),
]


def configure(monitored: bool) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    settings.CACHE_MONITOR = {"ENABLED": monitored}
    if url := os.environ.get("REDIS_URL"):
        redis = "django.core.cache.backends.redis.RedisCache"
        settings.CACHES = {"default": {"BACKEND": redis, "LOCATION": url}}


def run() -> list[object]:
    return [getattr(caches["default"], name)(*args) for name, *args in CALLS]


def alone() -> tuple[list[object], object]:
    django.setup()
    return run(), None


def with_toolbar() -> tuple[list[object], object]:
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "debug_toolbar"]
    settings.DEBUG = True
    django.setup()
    from debug_toolbar.panels.cache import CachePanel
    from debug_toolbar.toolbar import DebugToolbar
    from django.http import HttpResponse
    from django.test import RequestFactory

    request = RequestFactory().get("/")
    toolbar = DebugToolbar(request, lambda _: HttpResponse())
    panel = next(each for each in toolbar.enabled_panels if isinstance(each, CachePanel))
    panel.enable_instrumentation()  # type: ignore[no-untyped-call]
    results = run()
    panel.disable_instrumentation()  # type: ignore[no-untyped-call]
    return results, [panel.hits, panel.misses, panel.counts]


def with_sentry() -> tuple[list[object], object]:
    import sentry_sdk
    from sentry_sdk.integrations.django import DjangoIntegration

    spans: list[Any] = []

    def keep(event: Any, _: Any) -> None:
        spans.extend(
            (each["op"], each["description"], each["data"].get("cache.hit"))
            for each in event["spans"]
            if each["op"].startswith("cache")
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
        results = run()
    return results, spans


def with_cachalot() -> tuple[list[object], object]:
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "cachalot"]
    django.setup()
    from django.contrib.auth.models import Group
    from django.core.management import call_command
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    call_command("migrate", verbosity=0)
    with CaptureQueriesContext(connection) as queries:
        groups = [list(Group.objects.values_list("name")) for _ in range(3)]
        Group.objects.create(name=str(len(groups)))
        groups.append(list(Group.objects.values_list("name")))
    Group.objects.all().delete()
    return [*groups, *run()], len(queries)


def with_opentelemetry() -> tuple[list[object], object]:
    from opentelemetry.instrumentation.django import DjangoInstrumentor
    from opentelemetry.instrumentation.redis import RedisInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    RedisInstrumentor().instrument(tracer_provider=provider)
    DjangoInstrumentor().instrument(tracer_provider=provider)
    django.setup()
    return run(), [each.name for each in exporter.get_finished_spans()]


def counted() -> dict[str, Any]:
    """Of each operation the calls, hits and misses, as the monitor's buffer has them."""
    from cache_monitor.calls import recorder, whole

    operations: dict[str, list[int]] = {}
    for call in map(whole, recorder.buffer):
        if call[0].alias != "default":
            continue
        outcome = call[4] if isinstance(call[4], tuple) else (call[4],)
        found = Counter(outcome)
        each = operations.setdefault(call[0].operation, [0, 0, 0])
        each[:] = [each[0] + 1, each[1] + found[True], each[2] + found[False]]
    return operations


if __name__ == "__main__":
    tool, switch = sys.argv[1:]
    configure(switch == "on")
    from cache_monitor.calls import recorder

    recorder.limit = sys.maxsize  # nobody drains: the buffer is to be looked at
    results, theirs = globals()[tool if tool == "alone" else f"with_{tool}"]()
    print(json.dumps({"results": results, "theirs": theirs, "ours": counted()}, default=str))  # noqa: T201
