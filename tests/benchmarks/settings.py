"""Settings of the benchmarks of single calls and of memory: a cache for each variant.

Each variant has an alias of its own, so that bare and watched caches live in one process; the
bare ones are of classes that nobody touches. ``INSTRUMENT`` is ``"explicit"`` for the same reason:
a cache is watched by it as it would be by ``"all"``.
"""

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_VAR = Path(os.environ.get("BENCH_VAR") or tempfile.mkdtemp(prefix="cache-monitor-bench-"))
_REDIS = os.environ.get("BENCH_REDIS")

SECRET_KEY = "only for the benchmarks"
DEBUG = False
USE_TZ = True
ROOT_URLCONF = "tests.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "cache_monitor"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _VAR / "bench.sqlite3",
        "OPTIONS": {"timeout": 20},
    }
}
if find_spec("debug_toolbar"):
    INSTALLED_APPS.append("debug_toolbar")
DEBUG_TOOLBAR_PANELS = [
    "debug_toolbar.panels.cache.CachePanel",
    "cache_monitor.panel.CacheMonitorPanel",
]

CACHE_MONITOR = {
    "ENABLED": os.environ.get("BENCH_ENABLED") != "0",
    "INSTRUMENT": os.environ.get("BENCH_INSTRUMENT", "explicit"),
}

MONITORED = "cache_monitor.backends.MonitoredCache"
BACKENDS = {
    "locmem": "django.core.cache.backends.locmem.LocMemCache",
    "redis": "django.core.cache.backends.redis.RedisCache",
    "django-redis": "django_redis.cache.RedisCache",
}
BARE = {
    "locmem": "tests.benchmarks.bare.LocMemCache",
    "redis": "tests.benchmarks.bare.RedisCache",
    "django-redis": "tests.benchmarks.bare.DjangoRedisCache",
}
_SUBCLASSES = {"locmem": "LocMem", "redis": "Redis"}
_PROMETHEUS = {
    "locmem": "django_prometheus.cache.backends.locmem.LocMemCache",
    # It builds upon django-redis, not upon Django's own.
    "django-redis": "django_prometheus.cache.backends.redis.RedisCache",
}


def _usable() -> list[str]:
    usable = ["locmem"]
    if _REDIS and find_spec("redis"):
        usable += ["redis", "django-redis"] if find_spec("django_redis") else ["redis"]
    return usable


def _entries(backend: str) -> dict[str, dict[str, Any]]:
    """The variants of ``backend`` that caches can tell apart by their class."""
    path = BACKENDS[backend]
    entries: dict[str, dict[str, Any]] = {
        "bare": {"BACKEND": BARE[backend]},
        "ours": {"BACKEND": MONITORED, "WRAPS": path},
        "panel": {"BACKEND": MONITORED, "WRAPS": path},
        "toolbar": {"BACKEND": path},
        "sentry": {"BACKEND": path},
    }
    if name := _SUBCLASSES.get(backend):
        entries["nothing"] = {"BACKEND": f"tests.benchmarks.subclasses.{name}DoingNothing"}
        entries["clocks"] = {"BACKEND": f"tests.benchmarks.subclasses.{name}ReadingClocks"}
        entries["least"] = {"BACKEND": f"tests.benchmarks.subclasses.{name}LeastRecording"}
    if backend in _PROMETHEUS and find_spec("django_prometheus"):
        entries["prometheus"] = {"BACKEND": _PROMETHEUS[backend]}
    return entries


CACHES: dict[str, dict[str, Any]] = {"default": {"BACKEND": BACKENDS["locmem"]}}
for _backend in _usable():
    for _variant, _entry in _entries(_backend).items():
        _alias = f"{_variant}-{_backend}"
        _location = _alias if _backend == "locmem" else _REDIS
        CACHES[_alias] = {**_entry, "LOCATION": _location, "KEY_PREFIX": _alias}
