"""Let four forked workers miss for known reasons: ``python -m tests.programs.misses BACKEND``.

BACKEND is ``files``, ``database``, ``locmem``, or ``redis`` or ``memcached``, whose location is
in ``SERVER`` and which has no room for all that is written. Keys are named for the reason that
they are missed for. What one worker writes, another takes away, and a third looks for; in
``locmem``, where none sees the others' entries, each does it all. Prints as JSON the misses of
every reason's keys by the reason that was found, and the caches' reasons as reported.
"""

import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from multiprocessing.synchronize import Barrier
from typing import Any

import django
from django.conf import settings
from django.core.cache import caches

WORKERS = 4
ROUNDS = 3
KEYS = {"files": 20}
"""Of each reason and worker, where they are not 50: a cache of files lists all at each write."""
BACKENDS = {
    "files": "django.core.cache.backends.filebased.FileBasedCache",
    "database": "django.core.cache.backends.db.DatabaseCache",
    "locmem": "django.core.cache.backends.locmem.LocMemCache",
    "redis": "django.core.cache.backends.redis.RedisCache",
    "memcached": "django.core.cache.backends.memcached.PyMemcacheCache",
}


def keys_in(backend: str) -> int:
    """How many keys each worker has for each reason."""
    return KEYS.get(backend, 50)


def configure(backend: str) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    var, server = os.environ["CACHE_MONITOR_TEST_VAR"], os.environ.get("SERVER", "")
    places = {
        "files": (f"{var}/large", f"{var}/small"),
        "database": ("large_table", "small_table"),
        "locmem": ("large", "small"),
        "redis": (server, server),
        "memcached": (server, server),
    }[backend]
    limits = [{}, {}] if server else [{"MAX_ENTRIES": 100_000}, {"MAX_ENTRIES": 40}]
    settings.CACHES = {
        alias: {"BACKEND": BACKENDS[backend], "LOCATION": place, "OPTIONS": limit}
        for alias, place, limit in zip(("large", "small"), places, limits, strict=True)
    }
    # Often enough for what is evicted to be told of while the workers still run.
    settings.CACHE_MONITOR = {
        **getattr(settings, "CACHE_MONITOR", {}),
        "FLUSH_INTERVAL": 1,
        "INSPECT_INTERVAL": 1,
    }
    # Else DatabaseCache gives up writes, silently, that would have to wait for another's.
    databases: Any = settings.DATABASES
    databases["default"]["OPTIONS"]["transaction_mode"] = "IMMEDIATE"
    # Nobody pulls the plug: else each write would wait for the disk, and all others for it.
    databases["default"]["OPTIONS"]["init_command"] = "PRAGMA synchronous = OFF"
    # Four workers and the store take turns at one file, on a machine that may be busy.
    databases["default"]["OPTIONS"]["timeout"] = 60
    django.setup()


class Worker:
    """One of the four; ``shift`` is how far the next one is that it works for."""

    def __init__(self, number: int, keys: int, shift: int, barrier: Barrier) -> None:
        self.number = number
        self.keys = keys
        self.shift = shift
        self.barrier = barrier
        self.cache = caches["large"]

    def run(self) -> None:
        for _ in range(ROUNDS):
            self._clear()
            self._take_away()
        self._evict()
        # Sites go on: what a server evicted is asked for now and then.
        time.sleep(4)

    def _keys(self, reason: str, distance: int) -> list[str]:
        owner = (self.number + distance * self.shift) % WORKERS
        return [f"{reason}:{owner}:{n}" for n in range(self.keys)]

    def _look(self, reason: str, distance: int) -> None:
        keys = self._keys(reason, distance)
        for key in keys[::2]:
            assert self.cache.get(key) is None, key
        assert self.cache.get_many(keys[1::2]) == {}, keys

    def _meet(self) -> None:
        """Wait for the others, and for so long that all agree by their clocks what came first."""
        self.barrier.wait()
        time.sleep(0.02)

    def _clear(self) -> None:
        self.cache.set_many(dict.fromkeys(self._keys("cleared", 0), 1))
        self._meet()
        if self.number == 0 or not self.shift:
            self.cache.clear()
        self._meet()
        self._look("cleared", 1)
        self._meet()

    def _take_away(self) -> None:
        for reason in ("deleted", "moved", "both", "elsewhere"):
            for key in self._keys(reason, 0):
                self.cache.set(key, 1, version=3 if reason == "elsewhere" else None)
        for key in self._keys("expired", 0):
            self.cache.get_or_set(key, 1, 30)
            self.cache.touch(key, 1)
        self._meet()
        deleted = self._keys("deleted", 1)
        self.cache.delete_many(deleted[::2])
        for key in deleted[1::2]:
            self.cache.delete(key)
        for key in self._keys("moved", 1):
            self.cache.incr_version(key)
        self._move_and_delete(self._keys("both", 1))
        self._meet()
        time.sleep(1.1)
        for reason in ("deleted", "moved", "both", "elsewhere", "expired", "never"):
            self._look(reason, 2)
        self._meet()

    def _move_and_delete(self, keys: list[str]) -> None:
        """Half of the keys were last moved, and deleted where they went; half last deleted."""
        for key in keys[::2]:
            self.cache.incr_version(key)
            self.cache.delete(key, version=2)
        for key in keys[1::2]:
            self.cache.incr_version(key)
            self.cache.set(key, 1)
            self.cache.delete(key)

    def _evict(self) -> None:
        for key in self._keys("evicted", 0):
            caches["small"].set(key, os.urandom(50_000))
        self._meet()
        for key in self._keys("evicted", 2):
            caches["small"].get(key)


def fork(backend: str) -> None:
    barrier = multiprocessing.get_context("fork").Barrier(WORKERS, timeout=60)
    shift = 0 if backend == "locmem" else 1
    for number in range(WORKERS):
        if os.fork() == 0:
            Worker(number, keys_in(backend), shift, barrier).run()
            sys.exit()
    assert all(os.wait()[1] == 0 for _ in range(WORKERS))


def found() -> dict[str, Any]:
    import cache_monitor
    from cache_monitor.reports import REASONS, MissReasons, Report

    def counted(reasons: MissReasons) -> dict[str, int]:
        return {name: getattr(reasons, name) for name in REASONS if getattr(reasons, name)}

    report: Report = cache_monitor.report()
    misses: dict[str, Counter[str]] = {}
    for cache in report.caches.values():
        for group in cache.key_groups:
            counts = misses.setdefault(group.group.split(":")[0], Counter())
            counts.update({"misses": group.misses, **counted(group.miss_reasons)})
    return {
        "misses": misses,
        "reported": {
            alias: {
                "misses": each.misses,
                "reasons": counted(each.miss_reasons) | {"unknown": each.miss_reasons.unknown},
            }
            for alias, each in report.caches.items()
        },
    }


if __name__ == "__main__":
    configure(sys.argv[1])
    if sys.argv[1] == "database":
        from django.core.management import call_command
        from django.db import connections

        call_command("createcachetable")
        connections.close_all()
    fork(sys.argv[1])
    sys.stdout.write(json.dumps(found()))
