"""The demo as a site of several processes has it: one Redis in place of the shop's local memory."""

from __future__ import annotations

import os

from config.caches import LOCAL_MEMORY
from config.settings import *  # noqa: F403 - settings are names of a module
from config.settings import CACHES

CACHES = CACHES | {
    alias: {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": os.environ["SHOPPERS_REDIS"],
        "KEY_PREFIX": alias,
    }
    for alias, cache in CACHES.items()
    if cache["BACKEND"] == LOCAL_MEMORY and not alias.startswith("gallery")
}
