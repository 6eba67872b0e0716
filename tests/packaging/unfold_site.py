"""Settings of a site whose admin looks like django-unfold. That look needs inline scripts and
styles, and so has no strict Content-Security-Policy."""

from __future__ import annotations

from tests.dashboard.site import *  # noqa: F403 - settings are read by their names
from tests.dashboard.site import INSTALLED_APPS, MIDDLEWARE

INSTALLED_APPS = ["unfold", *INSTALLED_APPS]
# Its login leads there, and not to the admin's start as Django's does.
LOGIN_REDIRECT_URL = "/admin/"
MIDDLEWARE = [name for name in MIDDLEWARE if not name.endswith("strict_csp")]
