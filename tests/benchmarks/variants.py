"""The ways to watch a cache that are compared, each with what it needs around its calls.

All live in one process and none touches another's caches:

- The toolbar's CachePanel patches the caches that its thread has opened. Its calls are made in a
  thread of its own, which opens no others; nothing else runs meanwhile.
- sentry-sdk patches the caches opened after ``sentry_sdk.init``. The others are opened before.
- django-prometheus, the subclasses and ours are classes of their own.

A request's bookkeeping is begun anew for each batch of calls, outside the clock: a toolbar, a
transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, TypeVar

from django.conf import settings
from django.core.cache import caches
from django.http import HttpResponse
from django.test import RequestFactory

from tests.benchmarks.operations import prepare

T = TypeVar("T")
Work = Callable[[], float]

TITLES: Final = {
    "bare": "bare",
    "nothing": "subclass that does nothing",
    "clocks": "subclass with two clock reads",
    "least": "subclass that records the least",
    "ours": "cache_monitor",
    "prometheus": "django-prometheus",
    "panel": "cache_monitor, its panel active",
    "toolbar": "the toolbar's CachePanel",
    "sentry": "sentry-sdk cache_spans",
}
_NEEDS: Final = {
    "prometheus": "django_prometheus",
    "panel": "debug_toolbar",
    "toolbar": "debug_toolbar",
    "sentry": "sentry_sdk",
}
SLOW: Final = frozenset({"panel", "toolbar", "sentry"})
"""What costs so much that a tenth of the calls tells as much."""


@dataclass(frozen=True)
class Variant:
    """One way to watch one backend. ``surround`` does a piece of work where its calls belong."""

    name: str
    backend: str
    surround: Callable[[Work], float]

    @property
    def alias(self) -> str:
        """The alias of its cache."""
        return f"{self.name}-{self.backend}"

    @property
    def title(self) -> str:
        """What the tables call it."""
        return TITLES[self.name]

    @property
    def is_ours(self) -> bool:
        """Whether its calls are in the monitor's buffer."""
        return self.name in {"ours", "panel"}

    def calls(self, normal: int) -> int:
        """How many calls to make where an ordinary variant makes ``normal``."""
        return max(normal // 10, 10) if self.name in SLOW else normal


def left_out() -> Iterator[str]:
    """A line for each rival that is not installed."""
    for name, module in _NEEDS.items():
        if not find_spec(module):
            yield f"{TITLES[name]}: left out, {module} is not installed"


def make_variants() -> list[Variant]:
    """Open and fill the caches of all variants; sentry's last, for what it patches."""
    call_context = {"toolbar": _in_toolbar_thread, "panel": _with_our_panel, "sentry": _in_trace}
    made = [
        Variant(name, alias.removeprefix(f"{name}-"), call_context.get(name, _plainly))
        for name in TITLES
        for alias in settings.CACHES
        if alias.startswith(f"{name}-") and find_spec(_NEEDS.get(name, "django"))
    ]
    for variant in made:
        if variant.name == "sentry":
            _start_sentry()
        variant.surround(partial(_prepared, variant.alias))
    return made


def _prepared(alias: str) -> float:
    prepare(alias)
    return 0.0


def _plainly(work: Work) -> float:
    return work()


def _with_our_panel(work: Work) -> float:
    return _with_panel("CacheMonitorPanel", work)


_toolbar_thread: Final = ThreadPoolExecutor(1, "toolbar")


def _in_toolbar_thread(work: Work) -> float:
    return _toolbar_thread.submit(_with_open_caches, work).result()


def _with_open_caches(work: Work) -> float:
    for alias in settings.CACHES:
        if alias.startswith("toolbar-"):
            # The panel watches the caches that are open when it is enabled.
            _ = caches[alias]
    return _with_panel("CachePanel", work)


def _with_panel(name: str, work: Work) -> float:
    toolbar: Any = import_module("debug_toolbar.toolbar")
    made = toolbar.DebugToolbar(RequestFactory().get("/"), lambda _: HttpResponse())
    panel = made.get_panel_by_id(name)
    panel.enable_instrumentation()
    try:
        return work()
    finally:
        panel.disable_instrumentation()


def _start_sentry() -> None:
    sentry: Any = import_module("sentry_sdk")
    integration: Any = import_module("sentry_sdk.integrations.django")
    transport: Any = import_module("sentry_sdk.transport")

    class Nowhere(transport.Transport):  # type: ignore[misc]  # an optional package's, hence Any
        """Takes what it is given and sends nothing."""

        def capture_envelope(self, envelope: Any) -> None:
            """Forget ``envelope``."""

    sentry.init(
        dsn="http://public@127.0.0.1:9/1",
        transport=Nowhere,
        traces_sample_rate=1.0,
        default_integrations=False,
        auto_enabling_integrations=False,
        auto_session_tracking=False,
        integrations=[integration.DjangoIntegration(cache_spans=True, middleware_spans=False)],
    )


def _in_trace(work: Work) -> float:
    sentry: Any = import_module("sentry_sdk")
    with sentry.start_transaction(name="a page", op="http.server"):
        seconds: float = work()
    return seconds
