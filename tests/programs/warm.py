"""A site that calls its cache when it is loaded, as one that warms it up, and three times for each
of its answers, which go all the way through Django."""

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()


def page(request: Any) -> Any:
    from django.core.cache import cache
    from django.http import HttpResponse

    cache.set("page", 1)
    cache.get("page")
    cache.get("absent")
    return HttpResponse(str(os.getpid()))


def _load() -> Any:
    from django.conf import settings
    from django.core.cache import cache
    from django.core.handlers.wsgi import WSGIHandler

    settings.ROOT_URLCONF = __name__
    cache.has_key("warm")
    return WSGIHandler()


def _urls() -> list[Any]:
    from django.urls import path

    return [path("", page)]


urlpatterns = _urls()
application = _load()
