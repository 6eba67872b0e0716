"""Through how many modules a call's figures go: ``python -m tests.benchmarks.walks``.

Counts the modules of the package whose functions run while something real is done, in the thread
that does it and, where that waits for the counts, in the worker's: what a reader has to open who
follows it. What the monitor does beside that, in other threads, is not counted. Needs
``redis-server`` for the two walks of a scan.
"""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from cache_monitor.concurrency import THREAD_NAME
from tests.services import REDIS, run_redis

PACKAGE: Final = str(Path(__file__).resolve().parents[2] / "cache_monitor") + os.sep


ASKING: Final = frozenset({"MainThread"})
COUNTING: Final = ASKING | {THREAD_NAME}
"""With the worker's thread, which the main one waits for in these walks."""


class Walk:
    """Notes the modules entered while it is :meth:`watched`."""

    def __init__(self) -> None:
        self._entered: set[str] | None = None
        self._threads: frozenset[str] = frozenset()

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if (
            self._entered is None
            or event != "call"
            or not frame.f_code.co_filename.startswith(PACKAGE)
        ):
            return
        if threading.current_thread().name in self._threads:
            self._entered.add(frame.f_code.co_filename)

    @contextmanager
    def watched(self, name: str, threads: frozenset[str]) -> Iterator[None]:
        self._entered, self._threads = set(), threads
        yield
        ours = sorted(self._entered)
        self._entered = None
        print(f"{name:34}{len(ours):3}")
        if "-v" in sys.argv:
            print("   ", " ".join(each.removeprefix(PACKAGE)[:-3] for each in ours))


def main() -> None:
    """Walk and print."""
    walk = Walk()
    threading.setprofile(walk)
    sys.setprofile(walk)
    command = REDIS.find() or sys.exit(f"There is no Redis: {REDIS.how_to_get_it}")
    with tempfile.TemporaryDirectory(prefix="walks-") as var, run_redis(command) as redis:
        os.environ["CACHE_MONITOR_TEST_VAR"] = var
        _configure(redis.url)
        _follow(walk)


def _configure(redis_url: str) -> None:
    import django
    from django.conf import settings

    from tests import settings as tests_settings

    chosen = {name: getattr(tests_settings, name) for name in dir(tests_settings) if name.isupper()}
    chosen["CACHES"] = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "redis": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": redis_url,
        },
    }
    chosen["CACHE_MONITOR"] = {
        "STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"},
        "INSPECT_INTERVAL": 1,
        "SCAN_SECONDS": 0.5,
    }
    chosen["DEBUG_TOOLBAR_PANELS"] = ["cache_monitor.panel.CacheMonitorPanel"]
    chosen["INSTALLED_APPS"] = [*chosen["INSTALLED_APPS"], "debug_toolbar"]
    settings.configure(**chosen)
    django.setup()


def _follow(walk: Walk) -> None:
    from django.conf import settings
    from django.core.cache import caches
    from django.core.management import call_command
    from django.test import Client, override_settings

    import cache_monitor

    call_command("migrate", verbosity=0)
    client = _logged_in(Client())
    cache = caches["default"]
    cache.set("product:1", "a product")
    cache.get("product:1")
    cache_monitor.flush()
    with walk.watched("a hit get to its row", COUNTING):
        cache.get("product:1")
        cache_monitor.flush()
    with walk.watched("a miss to its reason", COUNTING):
        cache.get("product:2")
        cache_monitor.flush()
    # Modules are imported by the first page, and that is no step of a walk. It is of another
    # period, for a report serves whoever asks for the same within seconds.
    client.get("/admin/cache_monitor/dashboard/", {"range": "15m"})
    with walk.watched("rows to the overview", ASKING):
        assert client.get("/admin/cache_monitor/dashboard/").status_code == 200
    with walk.watched("a panel", ASKING):
        _open_panel()
    caches["redis"].set("product:1", "a product")
    cache_monitor.flush()
    with override_settings(CACHES={"redis": settings.CACHES["redis"]}):
        scan = _scans_of("redis")
        # The first one makes the monitor's own instance of the cache.
        scan()
        with walk.watched("a Redis scan to its row", ASKING):
            scan()
    with walk.watched("from there to the Memory page", ASKING):
        assert client.get("/admin/cache_monitor/dashboard/memory/").status_code == 200


def _scans_of(alias: str) -> Callable[[], None]:
    from cache_monitor.scan.recorded import NO_REPORTER
    from cache_monitor.scan.schedule import ScanScheduler
    from cache_monitor.stores.base import get_store
    from cache_monitor.worker.wiring import background_worker

    scheduler, process, store = ScanScheduler(), background_worker.process, get_store()

    def scan() -> None:
        # The worker's own scan may have the lock, or have been a moment ago.
        while alias not in scheduler.scan_due(process, store, reporter=NO_REPORTER):
            time.sleep(0.1)

    return scan


def _logged_in(client: Any) -> Any:
    from django.contrib.auth.models import User

    client.force_login(User.objects.create(username="admin", is_staff=True, is_superuser=True))
    return client


def _open_panel() -> None:
    from debug_toolbar.toolbar import DebugToolbar
    from django.core.cache import caches
    from django.http import HttpRequest, HttpResponse
    from django.test import RequestFactory

    request = RequestFactory().get("/")

    def view(request: HttpRequest) -> HttpResponse:
        caches["default"].get("product:1")
        return HttpResponse()

    toolbar: Any = DebugToolbar(request, view)
    toolbar.init_store()
    panel = toolbar.get_panel_by_id("CacheMonitorPanel")
    panel.enable_instrumentation()
    response = panel.process_request(request)
    panel.generate_stats(request, response)
    panel.disable_instrumentation()
    stored: Any = DebugToolbar.fetch(toolbar.request_id, "CacheMonitorPanel")
    assert stored.get_panel_by_id("CacheMonitorPanel").content


if __name__ == "__main__":
    main()
