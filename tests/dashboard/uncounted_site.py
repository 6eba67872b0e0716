"""Settings of a site that a browser visits, of whose cache nobody counts the evictions."""

from __future__ import annotations

from tests.dashboard.site import *  # noqa: F403

CACHES = {"default": {"BACKEND": "tests.backends.test_culls.OwnWay"}}
