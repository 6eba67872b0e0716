"""How much memory the monitor takes under a load: ``bounds LOAD on|off`` prints, in MiB, by how
much the process has grown at its largest, and by how much it has at the end.

``keys``: distinct keys, a million where CACHE_MONITOR_BOUND_KEYS says so; ``many``: ``get_many``
of 10,000 keys each, from four threads, CACHE_MONITOR_BOUND_ROUNDS times; ``long``: keys of a
megabyte; ``large``: a value of 100 MB; ``odd``: keys that are no strings; ``failing``: calls that
all fail.
"""

import os
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import django
from django.conf import settings
from django.core.cache import CacheKeyWarning, cache


def keys() -> None:
    for n in range(int(os.environ.get("CACHE_MONITOR_BOUND_KEYS", "100000"))):
        cache.get(f"user:{n}:profile:{n * 7919}")


def many() -> None:
    def work(own: int) -> None:
        for n in range(int(os.environ.get("CACHE_MONITOR_BOUND_ROUNDS", "5"))):
            cache.get_many([f"many:{own}:{n}:{each}" for each in range(10_000)])

    threads = [Thread(target=work, args=(own,)) for own in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def long() -> None:
    for n in range(100):
        cache.get(f"{n}" + "x" * 1_000_000)
        cache.get_many([f"{n}" + "y" * 1_000_000])


def large() -> None:
    value = b"x" * 100_000_000
    for n in range(5):
        cache.set("large", value)
        cache.get("large")
        cache.get_or_set(f"large:{n}", value)
        cache.delete(f"large:{n}")


def odd() -> None:
    for n in range(10_000):
        for key in (n, (n, "a"), None, n / 3, frozenset({n}), b"bytes"):
            cache.get(key)


def failing() -> None:
    class Key:
        def __str__(self) -> str:
            raise RuntimeError

    for _ in range(200_000):
        with suppress(RuntimeError):
            cache.get(Key())


def _used(what: str) -> float:
    """MiB that the process takes (``VmRSS``), or has taken at its largest (``VmHWM``)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(what))) / 1024


if __name__ == "__main__":
    load, switch = sys.argv[1:]
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    settings.CACHE_MONITOR = {
        "ENABLED": switch == "on",
        "STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore", "OPTIONS": {}},
    }
    django.setup()
    warnings.simplefilter("ignore", CacheKeyWarning)
    cache.get("warm")
    before = _used("VmRSS")
    works: dict[str, Any] = dict(globals())
    works[load]()
    most, end = _used("VmHWM"), _used("VmRSS")
    print(f"{most - before:.1f} {end - before:.1f}")  # noqa: T201
