"""Settings of a site that a browser visits: real traffic, a strict Content-Security-Policy."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403
from tests.settings import MIDDLEWARE

DEBUG = True  # so that runserver serves the static files
ROOT_URLCONF = "tests.dashboard.site_urls"
MIDDLEWARE = [
    "tests.dashboard.site_urls.strict_csp",
    *MIDDLEWARE,
    "django.middleware.locale.LocaleMiddleware",
    "cache_monitor.middleware.CacheMonitorMiddleware",
]
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "spare": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "spare"},
}
CACHE_MONITOR = {
    "REFRESH_SECONDS": 1,
    "FLUSH_INTERVAL": 0.5,
    "INSPECT_INTERVAL": 1,
    "SCAN_SECONDS": 0.5,
}
TIME_ZONE = os.environ.get("SITE_TIME_ZONE", "UTC")
