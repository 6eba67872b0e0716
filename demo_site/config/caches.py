"""One cache alias for each backend and for each way of caching that the demo shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from config.servers import SERVERS

LOCAL_MEMORY = "django.core.cache.backends.locmem.LocMemCache"


def local_memory(name: str, max_entries: int = 5000) -> dict[str, Any]:
    return {
        "BACKEND": LOCAL_MEMORY,
        "LOCATION": name,
        "OPTIONS": {"MAX_ENTRIES": max_entries},
    }


def build_caches(var: Path) -> dict[str, dict[str, Any]]:
    caches = {
        "default": local_memory("default"),
        "pages": local_memory("pages"),
        "site": local_memory("site"),
        "scratch": local_memory("scratch"),
        "pitfalls": local_memory("pitfalls", max_entries=600),
        "dummy": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
        "files": {
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": str(var / "file_cache"),
        },
        "database": {
            "BACKEND": "django.core.cache.backends.db.DatabaseCache",
            "LOCATION": "demo_cache",
        },
    }
    return caches | servers_that_answer()


def servers_that_answer() -> dict[str, dict[str, Any]]:
    backends: dict[str, dict[str, Any]] = {
        "redis": {
            "BACKEND": "django_redis.cache.RedisCache",
            "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 1, "SOCKET_TIMEOUT": 1},
        },
        "memcached": {"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache"},
    }
    return {
        alias: {**backend, "LOCATION": SERVERS[alias].location, "KEY_PREFIX": "shop"}
        for alias, backend in backends.items()
        if SERVERS[alias].answers()
    }
