"""The demo site as an ASGI application."""

from __future__ import annotations

import os

from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_asgi_application()

# uvicorn serves no files: see wsgi.py.
if settings.DEBUG:
    application = ASGIStaticFilesHandler(application)
