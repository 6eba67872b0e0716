"""The demo site as a WSGI application."""

from __future__ import annotations

import os

from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_wsgi_application()

# gunicorn serves no files. Django's own handler, which runserver puts around a site as well, takes
# them from where the apps keep them: nothing to collect, and nothing more to install for a demo.
if settings.DEBUG:
    application = StaticFilesHandler(application)
