"""The aliases that the gallery's faults are made on."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def gallery_caches(var: Path) -> dict[str, dict[str, Any]]:
    """By alias. Local memory, but for what another backend shows better."""
    sizes = {
        "gallery": 50_000,
        "gallery-small": 20,
        "gallery-endless": 5000,
        "gallery-expired": 400,
        "gallery-cleared": 5000,
    }
    caches: dict[str, dict[str, Any]] = {
        alias: {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": alias,
            "OPTIONS": {"MAX_ENTRIES": most},
        }
        for alias, most in sizes.items()
    }
    for alias in ("gallery-files", "gallery-emptied"):
        caches[alias] = {
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": str(var / alias.replace("-", "_")),
        }
    caches["gallery-database"] = {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "gallery_cache",
    }
    caches["gallery-bound"] = {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "gallery_bound_cache",
    }
    caches["gallery-away"] = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        # Nothing answers on a port that only root may open.
        "LOCATION": "redis://127.0.0.1:1",
        "OPTIONS": {"socket_connect_timeout": 0.2},
    }
    return caches
