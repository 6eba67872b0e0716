"""A shop that nobody here wrote: django-oscar, an API with throttles, and Redis, under gunicorn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import redis

from tests.packaging.sites import ROOT, Site, Visitor, create_environment, only_migrations_of
from tests.services import LOOPBACK, Server, free_port, run_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.once,
    pytest.mark.redis,
    pytest.mark.xdist_group("oscar"),
]

SETTINGS: Final = """
import os
from pathlib import Path

from oscar.defaults import *

SECRET_KEY = "only for the tests"
ALLOWED_HOSTS = ["*"]
SITE_ID = 1
USE_TZ = True
ROOT_URLCONF = "shop.urls"
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
_CONTRIB = "admin auth contenttypes sessions messages staticfiles sites flatpages"
_PARTS = (
    "analytics checkout address shipping catalogue communication partner basket payment offer "
    "order customer search voucher wishlists dashboard"
)
_DASHBOARDS = (
    "reports users orders catalogue offers partners pages ranges reviews vouchers communications "
    "shipping"
)
INSTALLED_APPS = [
    *(f"django.contrib.{name}" for name in _CONTRIB.split()),
    "oscar.config.Shop",
    *(f"oscar.apps.{name}.apps.{name.title()}Config" for name in _PARTS.split()),
    "oscar.apps.catalogue.reviews.apps.CatalogueReviewsConfig",
    *(
        f"oscar.apps.dashboard.{name}.apps.{name.title()}DashboardConfig"
        for name in _DASHBOARDS.split()
    ),
    "widget_tweaks",
    "haystack",
    "treebeard",
    "django_tables2",
    "rest_framework",
    "cache_monitor",
]
MIDDLEWARE = [
    "cache_monitor.middleware.CacheMonitorMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "oscar.apps.basket.middleware.BasketMiddleware",
]
_CONTEXT = [
    "django.template.context_processors.request",
    "django.template.context_processors.i18n",
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
    "oscar.apps.search.context_processors.search_form",
    "oscar.apps.checkout.context_processors.checkout",
    "oscar.apps.communication.notifications.context_processors.notifications",
    "oscar.core.context_processors.metadata",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": _CONTEXT},
    }
]
HAYSTACK_CONNECTIONS = {"default": {"ENGINE": "haystack.backends.simple_backend.SimpleEngine"}}
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(__file__).parents[1] / "shop.sqlite3",
        "OPTIONS": {"timeout": 20},
    }
}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": os.environ["SHOP_REDIS"],
    }
}
SESSION_ENGINE = "django.contrib.sessions.backends.cache"
REST_FRAMEWORK = {
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.AnonRateThrottle"],
    "DEFAULT_THROTTLE_RATES": {"anon": "100000/hour"},
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
}
"""
URLS: Final = """
from django.apps import apps
from django.contrib import admin
from django.core.cache import cache
from django.http import HttpResponse
from django.urls import include, path
from django.views.decorators.cache import cache_page
from oscar.core.loading import get_model
from rest_framework.decorators import api_view
from rest_framework.response import Response

Product = get_model("catalogue", "Product")


@api_view()
def product(request, slug):
    def load():
        found = Product.objects.get(slug=slug)
        return {"title": found.title, "in": [str(each) for each in found.categories.all()]}

    return Response(cache.get_or_set(f"api:product:{slug}", load, 300))


@api_view()
def products(request):
    slugs = Product.objects.values_list("slug", flat=True)
    return Response(cache.get_many([f"api:product:{slug}" for slug in slugs]))


def visits(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(request.session["visits"])


urlpatterns = [
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("api/products/<slug:slug>/", product),
    path("api/products/", cache_page(60)(products)),
    path("visits/", visits),
    path("", include(apps.get_app_config("oscar").urls[0])),
]
"""
GOODS: Final = """
from oscar.core.loading import get_model

Category, Product, ProductClass = (
    get_model("catalogue", name) for name in ("Category", "Product", "ProductClass")
)
books = Category.add_root(name="Books")
below = [books.add_child(name=name) for name in ("Fiction", "Travel")]
book = ProductClass.objects.create(name="Book", track_stock=False)
for number in range(6):
    product = Product.objects.create(
        title=f"Book {number}", slug=f"book-{number}", product_class=book
    )
    product.categories.add(below[number % 2])
"""
MANAGE: Final = """
import sys

from django.core.management import execute_from_command_line

execute_from_command_line(sys.argv)
"""
PATHS: Final = [
    "catalogue/",
    "catalogue/category/books/fiction_2/",
    *(f"api/products/book-{number}/" for number in range(6)),
    "api/products/",
    "visits/",
]
VISITORS: Final = 6


class Hour(NamedTuple):
    """What the monitor says of the visits, and what Redis counted."""

    report: dict[str, Any]
    commands: dict[str, int]


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Hour:
    directory = tmp_path_factory.mktemp("oscar")
    needed = ["django-oscar>=4.2", "djangorestframework", "gunicorn", "redis", "--editable"]
    python = create_environment(directory / "environment", [*needed, str(ROOT)])
    project = directory / "shop-of-somebody"
    (project / "shop").mkdir(parents=True)
    settings = SETTINGS + only_migrations_of("cache_monitor")
    for name, text in (("__init__", ""), ("settings", settings), ("urls", URLS)):
        (project / "shop" / f"{name}.py").write_text(text)
    (project / "manage.py").write_text(MANAGE)
    site = Shop(project, python, free_port(), "shop.settings", redis_url=f"{redis_server.url}/3")
    site.manage("migrate", "--run-syncdb", "--no-input")
    site.manage("shell", "-c", GOODS)
    with redis.Redis.from_url(site.redis_url) as client:
        client.flushdb()
        client.config_resetstat()
        with site.served():
            for _ in range(VISITORS):
                visitor = Visitor(site.url)
                assert {visitor.get(path).status for path in PATHS} == {200}
        stats = client.info("commandstats")
    # What a worker has counted reaches the store when it ends.
    report = json.loads(site.manage("cache_stats", "--format", "json"))
    commands = {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}
    return Hour(report, commands)


class Shop(Site):
    """Served by two workers of gunicorn, before a Redis."""

    def __init__(self, *args: Any, redis_url: str) -> None:
        super().__init__(*args)
        self.redis_url = redis_url

    @property
    def environment(self) -> dict[str, str]:
        return {
            **super().environment,
            "SHOP_REDIS": self.redis_url,
            "PYTHONWARNINGS": "ignore",
            "PYTHONPATH": str(Path(self.directory)),
        }

    def served(self) -> Any:
        application = "django.core.wsgi:get_wsgi_application()"
        bind = f"{LOOPBACK}:{self.port}"
        argv = [str(self.python), "-m", "gunicorn", application, "--workers", "2", "--bind", bind]
        return run_server(argv, self.environment, f"{self.url}admin/login/", cwd=self.directory)


def test_the_counts_are_those_of_redis_itself(visited: Hour) -> None:
    """Of Django's operations each is one command; ``get_or_set`` asks again for what it adds."""
    operations = visited.report["caches"]["default"]["operations"]
    calls = {name: each["calls"] for name, each in operations.items()}
    made = operations["get_or_set"]
    expected = {
        "get": calls["get"] + made["hits"] + 2 * made["misses"],
        "set": calls["set"] + calls.get("add", 0) + made["misses"],
        "mget": calls["get_many"],
        "del": calls.get("delete", 0) + calls.get("delete_many", 0),
        "exists": calls.get("has_key", 0),
    }
    assert {name: visited.commands.get(name, 0) for name in expected} == expected
    assert made["calls"] == 6 * VISITORS
    quality = visited.report["quality"]
    assert (quality["processes"], quality["dropped_calls"]) == (2, 0)


def test_its_groups_are_as_a_reader_would_draw_them(visited: Hour) -> None:
    groups = {each["group"]: each for each in visited.report["caches"]["default"]["key_groups"]}
    assert set(groups) == {
        "CATEGORY_URL_en-us_{int}",
        "api:product:book-{int}",
        "page GET /api/products/",
        "page headers /api/products/",
        "session",
        "throttle_anon_{ip}",
    }
    assert groups["throttle_anon_{ip}"]["is_state"]
    assert groups["throttle_anon_{ip}"]["seconds_saved"] == 0
    assert not groups["api:product:book-{int}"]["is_state"]


def test_a_healthy_shop_has_no_finding(visited: Hour) -> None:
    assert visited.report["findings"] == []
