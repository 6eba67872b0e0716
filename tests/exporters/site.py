"""Settings of a site that programs read: two caches, a store in a file, a token."""

from __future__ import annotations

import os

from cache_monitor.endpoints import digest
from tests.settings import *  # noqa: F403 - a site like that of the other tests
from tests.settings import DATABASES

ROOT_URLCONF = "tests.exporters.site_urls"
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "spare": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "spare"},
}
CACHE_MONITOR = {
    "FLUSH_INTERVAL": 0.5,
    "EXPORT_TOKENS": [digest(os.environ["SITE_TOKEN"])],
}
DATABASES["default"]["OPTIONS"] = {"timeout": 20, "init_command": "PRAGMA journal_mode=WAL;"}
