"""The test project with the debug toolbar in it, for the modules that ask for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Final

import pytest
from django.conf import settings
from django.core.cache import caches
from django.test import Client, override_settings

from tests.anew import begin_anew
from tests.panel.visits import Visit, VisitDoing, visit

PANELS: Final = [
    "debug_toolbar.panels.history.HistoryPanel",
    "debug_toolbar.panels.cache.CachePanel",
    "cache_monitor.panel.CacheMonitorPanel",
]
TOOLBAR: Final = "debug_toolbar.middleware.DebugToolbarMiddleware"


@pytest.fixture
def toolbar_site() -> Iterator[None]:
    toolbar_settings = override_settings(
        DEBUG=True,
        INTERNAL_IPS=["127.0.0.1"],
        DEBUG_TOOLBAR_PANELS=PANELS,
        INSTALLED_APPS=[*settings.INSTALLED_APPS, "debug_toolbar"],
        MIDDLEWARE=[TOOLBAR, "django.contrib.sessions.middleware.SessionMiddleware"],
        SESSION_ENGINE="django.contrib.sessions.backends.cache",
        ROOT_URLCONF="tests.panel.site",
        CACHE_MONITOR={"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}},
    )
    with toolbar_settings:
        # Processes of earlier tests have ended without a word, and might have written any key.
        begin_anew()
        # As the first request would, so that a test finds it there whichever comes first.
        import_module("cache_monitor.panel")
        empty_caches()
        yield
        empty_caches()


def empty_caches() -> None:
    for alias in ("default", "files"):
        caches[alias].clear()
        # The toolbar's own panel leaves itself behind in a cache that concurrent async requests
        # shared; the next request is to have a fresh one.
        del caches[alias]


@pytest.fixture
def visit_doing(monkeypatch: pytest.MonkeyPatch) -> VisitDoing:
    """Visits a page whose view does what the test says."""

    def visit_that(work: Callable[[], Any], *, without_toolbars_own: bool = False) -> Visit:
        monkeypatch.setattr("tests.panel.site.work", work)
        client = Client()
        if without_toolbars_own:
            client.cookies["djdtCachePanel"] = "off"
        return visit(client, "/page/")

    return visit_that
