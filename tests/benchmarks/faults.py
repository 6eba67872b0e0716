"""What requests take while the store fails: ``python -m tests.benchmarks.faults``.

A site whose every page makes three calls on a cache is asked while its Redis store works, is
stopped, stands still (SIGSTOP) and works again; in between, the draining thread flushes all the
time. Printed: the median and the 99th percentile of a request, and what the report then has.
"""

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import Event, Thread

import django

REQUESTS = 3000
PAUSE = 0.001
"""Seconds between two requests, in which other threads may run."""


def main() -> None:
    from tests.services import REDIS
    from tests.stores import faulty
    from tests.stores.servers import RedisDaemon

    command = REDIS.find()
    if command is None:
        raise SystemExit(REDIS.how_to_get_it)
    directory = Path(tempfile.mkdtemp(prefix="cache-monitor-"))
    # With a file, so that it has its data again after a restart.
    redis = RedisDaemon(command, directory, "--appendonly", "yes", "--appendfsync", "no")
    configure(redis.address.url)
    made = 0
    with redis.running():
        for what, fault in conditions(redis, faulty.stopped):
            taken = requests(fault)
            made += len(taken)
            ordered = sorted(taken)
            print(
                f"the store {what:14} median {statistics.median(taken) * 1e3:6.3f} ms,"
                f" 99 % within {ordered[int(0.99 * len(ordered))] * 1e3:6.3f} ms"
            )
        print_report(made)
    shutil.rmtree(directory)


def configure(url: str) -> None:
    from django.conf import settings

    os.environ["CACHE_MONITOR_TEST_VAR"] = tempfile.gettempdir()
    store = {"BACKEND": "cache_monitor.stores.redis.RedisStore", "OPTIONS": {"URL": url}}
    settings.configure(
        INSTALLED_APPS=["cache_monitor"],
        CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
        CACHE_MONITOR={"STORE": store, "FLUSH_INTERVAL": 0.1},
        ROOT_URLCONF="tests.benchmarks.faults",
        ALLOWED_HOSTS=["*"],
        LOGGING_CONFIG=None,
    )
    django.setup()


def conditions(
    redis: object, stopped: object
) -> Iterator[tuple[str, AbstractContextManager[None]]]:
    from tests.stores.servers import RedisDaemon

    assert isinstance(redis, RedisDaemon)
    assert callable(stopped)
    yield "works", nullcontext()
    yield "is stopped", stopped(redis)
    yield "stands still", redis.paused()
    yield "works again", nullcontext()


def requests(fault: AbstractContextManager[None]) -> list[float]:
    """The seconds that each of many requests took."""
    from django.test import Client

    import cache_monitor

    client, over = Client(), Event()

    def flush() -> None:
        while not over.wait(0.05):
            cache_monitor.flush()

    taken = []
    with fault:
        flushing = Thread(target=flush)
        flushing.start()
        for _ in range(REQUESTS):
            began = time.perf_counter()
            client.get("/")
            taken.append(time.perf_counter() - began)
            time.sleep(PAUSE)
        over.set()
    flushing.join()
    return taken


def print_report(made: int) -> None:
    import cache_monitor

    cache_monitor.flush()
    report = cache_monitor.report()
    calls = sum(each.calls for each in report.caches["default"].operations.values())
    print(f"{calls:,} of {3 * made:,} calls are reported, {report.quality.dropped_calls:,} dropped")


def page(request: object) -> object:
    from django.core.cache import cache
    from django.http import HttpResponse

    cache.set("page", 1)
    cache.get("page")
    cache.get("absent")
    return HttpResponse("OK")


def __getattr__(name: str) -> object:
    """``urlpatterns``, made when Django asks: this module is loaded before the settings are."""
    if name == "urlpatterns":
        from django.urls import path

        return [path("", page)]  # type: ignore[arg-type]  # typed loosely for the late imports
    raise AttributeError(name)


if __name__ == "__main__":
    main()
