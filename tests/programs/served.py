"""A Django site for the real servers, ``wsgi`` and ``asgi``; its page makes three calls on a cache.

For each answer it adds a dot to the file ``answers``. It flushes so seldom that all which is stored
was stored at the end of its process.
"""

import os
from pathlib import Path
from typing import Any

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.urls import path

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.programs.seldom"


def page(request: Any) -> Any:
    from django.core.cache import cache
    from django.http import HttpResponse

    cache.set("page", 1)
    cache.get("page")
    cache.get("absent")
    with Path(os.environ["CACHE_MONITOR_TEST_VAR"], "answers").open("a") as answers:
        answers.write(".")
    return HttpResponse(str(os.getpid()))


urlpatterns = [path("", page)]
wsgi = get_wsgi_application()
asgi = get_asgi_application()
