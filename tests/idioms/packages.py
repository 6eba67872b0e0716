"""Packages of the ecosystem at work for an hour, in a process of its own: what a site that uses
them as they are meant to be has in its report.

    python -m tests.idioms.packages DIRECTORY IDIOM ...

prints a line of JSON for each idiom. Those whose package is not installed are left out.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import random
import sys
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import django
import django.utils.cache
import pytest
from django.conf import settings
from django.contrib.messages import get_messages
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.cache import caches
from django.core.management import call_command
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.template import Context, Engine
from django.test import RequestFactory
from django.utils.cache import patch_response_headers
from django.views.decorators.cache import cache_page
from django.views.decorators.http import condition

from tests.idioms.hours import SimulatedHour, simulated_hour

PACKAGES: Final = {
    "rest_framework": [],
    "django_ratelimit": [],
    "axes": ["axes"],
    "waffle": ["waffle"],
    "constance": ["constance"],
    "django_select2": ["django_select2"],
    "allauth": [],
    "cachalot": ["cachalot"],
    "wagtailcache": [],
    "sorl": ["sorl.thumbnail"],
    "django_celery_results": ["django_celery_results"],
    "django_tenants": [],
}
"""By module: the apps that they add."""
_OUTDATED: Final = set() if hasattr(django.utils.cache, "cc_delim_re") else {"wagtailcache"}
"""Those that cannot be imported on this Django."""
HERE: Final = {name for name in PACKAGES if importlib.util.find_spec(name)} - _OUTDATED
VISITS: Final = 600
VISITORS: Final = 25
QUERY: Final = 0.003
"""Seconds of a database query."""
PAGE: Final = 0.03
"""Seconds that a page takes beside what is cached."""

urlpatterns: list[Any] = []

_random = random.Random(19)


def configure(packages: Iterable[str], directory: str) -> None:
    """Have a project with ``packages``, whose files are below ``directory``."""
    apps = [app for name in sorted(packages) for app in PACKAGES.get(name, [])]
    settings.configure(
        SECRET_KEY="only for the tests",
        ALLOWED_HOSTS=["*"],
        USE_TZ=True,
        ROOT_URLCONF="tests.idioms.packages",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "cache_monitor",
            *apps,
        ],
        AUTHENTICATION_BACKENDS=[
            *(["axes.backends.AxesStandaloneBackend"] if "axes" in apps else []),
            "django.contrib.auth.backends.ModelBackend",
        ],
        SESSION_ENGINE="django.contrib.sessions.backends.cached_db",
        MESSAGE_STORAGE="django.contrib.messages.storage.session.SessionStorage",
        AXES_HANDLER="axes.handlers.cache.AxesCacheHandler",
        AXES_LOCKOUT_PARAMETERS=["ip_address"],
        CONSTANCE_BACKEND="constance.backends.database.DatabaseBackend",
        CONSTANCE_DATABASE_CACHE_BACKEND="default",
        CONSTANCE_CONFIG={"THEME": ("light", "of the pages"), "BANNER": ("", "on top of them")},
        WAGTAIL_CACHE_KEYRING=True,
        MEDIA_ROOT=f"{directory}/media",
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        LOGGING_CONFIG=None,
    )
    django.setup()
    # It warns of each login that fails.
    logging.getLogger("axes").setLevel(logging.ERROR)
    call_command("migrate", run_syncdb=True, verbosity=0)


class Site:
    """What the idioms are made of."""

    def __init__(self, hour: SimulatedHour) -> None:
        self.hour = hour

    def visits(self, view: Callable[[HttpRequest, int], Any], path: str = "/") -> None:
        """A visitor after the other sees ``view``, which takes its time beside."""

        def serve(request: HttpRequest) -> Any:
            answer = view(request, number)
            self.hour.clock.go_on(PAGE)
            return answer

        # What had to be made ready before is not of the hour.
        self.hour.worked = 0.0
        for number in self.hour.moments(VISITS):  # noqa: B007  # serve() reads it
            address = f"10.0.0.{_random.randrange(VISITORS)}"
            self.hour.visit(serve, path, REMOTE_ADDR=address)


def throttles_of_rest_framework(site: Site) -> None:
    from rest_framework.renderers import JSONRenderer
    from rest_framework.response import Response
    from rest_framework.throttling import AnonRateThrottle
    from rest_framework.views import APIView

    limit = {"rate": "100/min", "timer": site.hour.clock}
    throttle = type("Throttle", (AnonRateThrottle,), limit)
    answered = {
        "throttle_classes": [throttle],
        "renderer_classes": [JSONRenderer],
        "authentication_classes": [],
        "permission_classes": [],
        "get": lambda view, request: Response(status=204),
    }
    api: Any = type("Api", (APIView,), answered)
    view = api.as_view()
    site.visits(lambda request, number: view(request) and None)


def ratelimits(site: Site) -> None:
    from django_ratelimit.decorators import ratelimit

    view = ratelimit(key="ip", rate="100/m")(lambda request: HttpResponse())
    site.visits(lambda request, number: view(request))


def failed_logins_of_axes(site: Site) -> None:
    from django.contrib.auth import authenticate, get_user_model

    get_user_model().objects.create_user("owner", password="right")

    def login(request: HttpRequest, number: int) -> None:
        password = "wrong" if number % 9 == 0 else "right"
        user = authenticate(request, username="owner", password=password)
        if number % 40 == 39 and user is not None:
            from axes.utils import reset

            reset(ip=request.META["REMOTE_ADDR"])

    site.visits(login)


def flags_of_waffle(site: Site) -> None:
    from waffle import flag_is_active, switch_is_active
    from waffle.models import Flag, Switch

    Flag.objects.get_or_create(name="new-checkout", everyone=True)
    Switch.objects.get_or_create(name="sale", active=True)

    def view(request: HttpRequest, number: int) -> None:
        flag_is_active(request, "new-checkout")
        switch_is_active("sale")
        switch_is_active("not made yet")

    site.visits(view)


def settings_of_constance(site: Site) -> None:
    from constance import config

    def view(request: HttpRequest, number: int) -> None:
        assert config.THEME
        assert config.BANNER == ""

    site.visits(view)


def widgets_of_select2(site: Site) -> None:
    """A form's widget is kept for whoever types into it, which not everybody does."""
    from django.contrib.auth.models import Group
    from django_select2.forms import ModelSelect2Widget
    from django_select2.views import AutoResponseView

    def view(request: HttpRequest, number: int) -> None:
        widget = ModelSelect2Widget(
            queryset=Group.objects.all(), search_fields=["name__icontains"], data_url="/select2/"
        )
        widget.render("group", None)
        for term in ("a", "ab", "abc")[: 3 * (number % 2)]:
            typed = RequestFactory().get("/select2/", {"field_id": widget.field_id, "term": term})
            assert AutoResponseView.as_view()(typed).status_code == 200

    site.visits(view)


def limits_of_allauth(site: Site) -> None:
    from allauth.core.internal import ratelimit

    def view(request: HttpRequest, number: int) -> None:
        address = request.META["REMOTE_ADDR"]
        limits = {"login": "100/m/key"}
        used = ratelimit.consume(
            request, app="account", action="login", config=limits, key=address, limit_get=True
        )
        assert used is not None

    site.visits(view)


def queries_of_cachalot(site: Site) -> None:
    from django.contrib.auth.models import Group

    for number in range(5):
        Group.objects.get_or_create(name=f"group {number}")

    def view(request: HttpRequest, number: int) -> None:
        list(Group.objects.filter(pk__lte=1 + number % 3))
        if number % 200 == 199:
            Group.objects.filter(pk=1).update(name=f"group {number}")

    site.visits(view)


def sessions_and_messages(site: Site) -> None:
    """The server is restarted now and then: what sessions have is in the database as well."""
    cookies: dict[str, dict[str, str]] = {}

    def page(request: HttpRequest) -> HttpResponse:
        list(get_messages(request))
        if request.GET:
            from django.contrib import messages

            messages.info(request, "saved")
        request.session["visits"] = request.session.get("visits", 0) + 1
        return HttpResponse()

    served = SessionMiddleware(MessageMiddleware(page))

    def view(request: HttpRequest, number: int) -> HttpResponse:
        if number % 250 == 249:
            caches["default"].clear()
        visitor = request.META["REMOTE_ADDR"]
        request.COOKIES.update(cookies.get(visitor, {}))
        answer = served(request)
        assert isinstance(answer, HttpResponse)
        for name, cookie in answer.cookies.items():
            cookies[visitor] = {name: cookie.value}
        return answer

    site.visits(view)


def pages_and_conditions(site: Site) -> None:
    """A page that is kept for all, behind a validator of its own."""

    @condition(etag_func=lambda request: '"1"')
    @cache_page(300)
    def page(request: HttpRequest) -> HttpResponse:
        site.hour.work(0.1)
        response = HttpResponse("page")
        patch_response_headers(response, 300)
        return response

    site.visits(lambda request, number: page(request), "/page/")


def pages_of_wagtail_cache(site: Site) -> None:
    """With the ring of all keys that belong to an address."""
    from wagtailcache.cache import cache_page as kept

    def page(request: HttpRequest) -> HttpResponse:
        site.hour.work(0.1)
        return HttpResponse("page")

    site.visits(lambda request, number: kept(page)(request), "/page/")


def thumbnails_of_sorl(site: Site) -> None:
    """Of a dozen pictures, which are scaled once."""
    from PIL import Image
    from sorl.thumbnail import get_thumbnail

    media = Path(settings.MEDIA_ROOT)
    media.mkdir(exist_ok=True)
    for number in range(12):
        Image.new("RGB", (8, 8)).save(media / f"{number}.png")

    def view(request: HttpRequest, number: int) -> None:
        for picture in range(number % 3, 12, 3):
            assert get_thumbnail(f"{picture}.png", "4x4").width == 4

    site.visits(view)


def results_and_locks_of_celery(site: Site) -> None:
    """A task of which one at a time may run; visitors come back to see its result, some often."""
    from celery import Celery
    from celery.result import AsyncResult

    app = Celery("site", backend="django-cache")
    app.conf.update(task_store_eager_result=True, cache_backend="default")
    asked: dict[str, str] = {}

    def work() -> str:
        if not site.hour.cache.add("lock:report", "worker", 60):
            return "busy"
        try:
            return str(site.hour.work(0.2))
        finally:
            site.hour.cache.delete("lock:report")

    report = app.task(work)

    def view(request: HttpRequest, number: int) -> None:
        visitor = request.META["REMOTE_ADDR"]
        if visitor in asked and number % 8:
            assert AsyncResult(asked[visitor], app=app).ready()
            return
        asked[visitor] = f"{uuid.UUID(int=_random.getrandbits(128))}"
        # Some are quick enough to look before the task is done.
        if number % 3:
            assert not AsyncResult(asked[visitor], app=app).ready()
        worker.submit(report.apply, task_id=asked[visitor]).result()

    with ThreadPoolExecutor(1) as worker:
        site.visits(view)


def prefixes_of_tenants(site: Site) -> None:
    """What each of three tenants has under the same keys."""
    schemas: Any = connection

    def view(request: HttpRequest, number: int) -> None:
        schemas.schema_name = f"tenant{number % 3}"
        site.hour.cache.get_or_set("menu", lambda: site.hour.work(0.05), 600)
        site.hour.cache.get_or_set(f"product:{number % 20}", lambda: site.hour.work(0.05), 1800)

    site.visits(view)


def fragments(site: Site) -> None:
    text = "{% load cache %}{% cache 600 sidebar visitor %}{{ work }}{% endcache %}"
    template = Engine(libraries={"cache": "django.templatetags.cache"}).from_string(text)

    class Work:
        def __str__(self) -> str:
            return str(site.hour.work(0.05))

    def view(request: HttpRequest, number: int) -> None:
        template.render(Context({"visitor": request.META["REMOTE_ADDR"], "work": Work()}))

    site.visits(view)


IDIOMS: Final[dict[str, tuple[Callable[[Site], None], str]]] = {
    "django-rest-framework": (throttles_of_rest_framework, "rest_framework"),
    "django-ratelimit": (ratelimits, "django_ratelimit"),
    "django-axes": (failed_logins_of_axes, "axes"),
    "django-waffle": (flags_of_waffle, "waffle"),
    "django-constance": (settings_of_constance, "constance"),
    "django-select2": (widgets_of_select2, "django_select2"),
    "django-allauth": (limits_of_allauth, "allauth"),
    "django-cachalot": (queries_of_cachalot, "cachalot"),
    "wagtail-cache": (pages_of_wagtail_cache, "wagtailcache"),
    "sorl-thumbnail": (thumbnails_of_sorl, "sorl"),
    "celery": (results_and_locks_of_celery, "django_celery_results"),
    "django-tenants": (prefixes_of_tenants, "django_tenants"),
    "sessions": (sessions_and_messages, "django"),
    "pages": (pages_and_conditions, "django"),
    "fragments": (fragments, "django"),
}


SAVING: Final = {
    "django-waffle",
    "django-cachalot",
    "wagtail-cache",
    "sorl-thumbnail",
    "django-tenants",
    "sessions",
    "pages",
    "fragments",
}
"""Those whose cache saves work, which they do without one as well. (constance asks for all settings
at once to fill its cache, and for one at a time where it has none.)"""


def hour_of(
    idiom: Callable[[Site], None], directory: str, backend: str, key_function: str = ""
) -> dict[str, Any]:
    """What the report says of an hour of ``idiom``, and the seconds of work that it had."""
    location = directory if backend.endswith("Files") else "hours"
    packages = tuple(PACKAGES)

    def timed(execute: Any, *args: Any) -> Any:
        return hour.work(QUERY, execute(*args))

    with (
        pytest.MonkeyPatch().context() as patch,
        simulated_hour(
            patch,
            backend=backend,
            location=location,
            packages=packages,
            key_function=key_function,
        ) as hour,
        connection.execute_wrapper(timed),
    ):
        _random.seed(19)
        idiom(Site(hour))
        report = hour.report()
    cache = report.caches["default"]
    return {
        "lookups": cache.lookups,
        "findings": [[each.code, each.group, each.evidence] for each in report.findings],
        "groups": {
            each.group: [each.is_state, each.seconds_saved]
            for each in cache.key_groups
            if each.kind != "page_headers"
        },
        "saved": cache.seconds_saved,
        "called": sum(each.seconds.total for each in cache.operations.values()),
        "worked": hour.worked,
    }


def main() -> None:
    directory, *names = sys.argv[1:]
    asked = {name: IDIOMS[name] for name in names}
    there = {name: each for name, each in asked.items() if each[1] in {"django", *HERE}}
    configure({package for _, package in there.values()}, directory)
    for name, (idiom, package) in there.items():
        backend = "DistantFiles" if package == "constance" else "DistantMemory"
        tenants = package == "django_tenants"
        key_function = "django_tenants.cache.make_key" if tenants else ""
        found: dict[str, Any] = {"idiom": name}
        if name in SAVING:
            without = hour_of(idiom, directory, "NoCache", key_function)
            found["without"] = without["worked"]
        found |= hour_of(idiom, directory, backend, key_function)
        sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
