"""What the panel costs a request: ``python -m tests.benchmarks.panel``.

A request under the debug toolbar makes so many calls below 40 frames of stack, on a LocMemCache
that is not monitored and has no panel, on a monitored one without a panel, on a monitored one with
ours, and on an unmonitored one with the toolbar's own CachePanel. Measured is the CPU time of the
thread, a call: *in line* from the first call to the last, *in all* up to the moment when the
toolbar's store has the panel's account. All in one process, interleaved.

Then the panel is opened: the time and the size of its HTML.
"""

import argparse
import os
import platform
import sys
import tempfile
from functools import partial
from time import thread_time
from typing import Any, Final

import django
from django.core.management import call_command
from django.http import HttpResponse
from django.test import RequestFactory, override_settings

from tests.benchmarks.rounds import at_depth, compare, interleave

DEPTH: Final = 40
TEMPLATES: Final = [
    {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
]
WAYS: Final = {
    "no panel, not monitored": (None, "bare"),
    "monitored, no panel": (None, "ours"),
    "cache_monitor's panel": ("CacheMonitorPanel", "panel"),
    "the toolbar's CachePanel": ("CachePanel", "bare"),
}


def main() -> None:
    """Measure and print."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench-") as var:
        os.environ |= {"BENCH_VAR": var, "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings"}
        django.setup()
        call_command("migrate", verbosity=0)
        version = __import__("debug_toolbar").VERSION
        _say(
            f"Python {platform.python_version()}, Django {django.__version__}, toolbar {version}, "
            f"{options.calls} calls a request, {options.rounds} rounds"
        )
        for part in ("in line", "in all"):
            measures = {
                way: partial(_request, *names, options.calls, part) for way, names in WAYS.items()
            }
            results = at_depth(DEPTH, partial(interleave, measures, options.rounds))
            _say("", f"{part:<40}{'µs a call':>12}{'added':>10}")
            for way, figures in compare(results, next(iter(WAYS))).items():
                _say(f"  {way:<38}{figures.seconds * 1e6:>12.2f}{figures.added * 1e6:>10.2f}")
        _open(options.calls)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What the panel costs a request.")
    parser.add_argument("--calls", type=int, default=1000, help="a request")
    parser.add_argument("--rounds", type=int, default=30)
    return parser.parse_args()


def _request(panel: str | None, cache: str, calls: int, part: str) -> float:
    from debug_toolbar.toolbar import DebugToolbar
    from django.core.cache import caches

    chosen = caches[f"{cache}-locmem"]
    chosen.set("product:1", {"name": "a product"}, 300)
    request = RequestFactory().get("/")
    toolbar: Any = DebugToolbar(request, lambda _: HttpResponse())
    toolbar.init_store()
    watching = None if panel is None else toolbar.get_panel_by_id(panel)
    began = thread_time()
    if watching is not None:
        watching.enable_instrumentation()
    try:
        for number in range(calls // 2):
            chosen.get("product:1")
            chosen.get(f"product:{number}")
    finally:
        if watching is not None:
            watching.disable_instrumentation()
    if watching is not None and part == "in all":
        watching.generate_stats(request, HttpResponse())
    return (thread_time() - began) / calls


def _open(calls: int) -> None:
    from debug_toolbar.toolbar import DebugToolbar
    from django.core.cache import caches

    toolbar: Any = DebugToolbar(RequestFactory().get("/"), lambda _: HttpResponse())
    toolbar.init_store()
    panel = toolbar.get_panel_by_id("CacheMonitorPanel")

    def made() -> None:
        panel.enable_instrumentation()
        for number in range(calls):
            caches["panel-locmem"].get(f"product:{number}")
        panel.disable_instrumentation()

    at_depth(DEPTH, made)
    panel.generate_stats(RequestFactory().get("/"), HttpResponse())
    stored: Any = DebugToolbar.fetch(toolbar.request_id, "CacheMonitorPanel")
    with override_settings(STATIC_URL="/static/", TEMPLATES=TEMPLATES):
        began = thread_time()
        html = stored.get_panel_by_id("CacheMonitorPanel").content
        took = thread_time() - began
    _say("", f"opened: {took * 1e3:.0f} ms of CPU, {len(html.encode()):,} bytes of HTML")


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
