"""One cache alias for each backend and for each way of caching that the demo shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gallery.caches import gallery_caches

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
        "sessions": local_memory("sessions"),
        "scratch": local_memory("scratch"),
        "crowded": local_memory("crowded", max_entries=20),
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
    return caches | servers_that_answer() | gallery_caches(var)


def servers_that_answer() -> dict[str, dict[str, Any]]:
    backends: dict[str, dict[str, dict[str, Any]]] = {
        "redis": {
            "redis": {
                "BACKEND": "django_redis.cache.RedisCache",
                "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 1, "SOCKET_TIMEOUT": 1},
            },
            "redis-builtin": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},
            },
        },
        "memcached": {
            "memcached": {"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache"},
        },
    }
    return {
        # Two aliases share a server: the prefix keeps their keys apart.
        alias: {**backend, "LOCATION": SERVERS[server].location, "KEY_PREFIX": f"shop-{alias}"}
        for server, on_it in backends.items()
        if SERVERS[server].answers()
        for alias, backend in on_it.items()
    }
