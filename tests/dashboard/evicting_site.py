"""Settings of a site that a browser visits, whose cache is a Redis server of the test's own."""

from __future__ import annotations

import os

from tests.dashboard.site import *  # noqa: F403

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": os.environ["SITE_REDIS_URL"],
    },
}
