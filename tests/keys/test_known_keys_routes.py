"""Cached pages go by their route, which is learned where Django makes their keys."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import django.utils.cache
import pytest
from django.conf.urls.i18n import i18n_patterns
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.urls import include, path, re_path, register_converter
from django.utils import translation
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import cache_page
from django.views.decorators.vary import vary_on_headers

import cache_monitor
from cache_monitor.keys import known_keys as module
from cache_monitor.keys.known_keys import (
    NO_ROUTE,
    Routes,
    is_catch_all,
    learn_routes,
    page_key,
    readable,
    routes,
)
from cache_monitor.keys.naming import may_be_cached, name_key
from cache_monitor.listeners import CapturedCall
from cache_monitor.testing import capture_cache_calls
from tests.anew import begin_anew

# The stubs leave out what is private.
django_cache: Any = django.utils.cache


def plain(request: HttpRequest, **_: Any) -> HttpResponse:
    return HttpResponse("page")


@vary_on_headers("X-Tenant")
def varying(request: HttpRequest) -> HttpResponse:
    return HttpResponse("page")


@method_decorator(cache_page(60), name="dispatch")
class Page(View):
    def get(self, request: HttpRequest, **_: Any) -> HttpResponse:
        return HttpResponse("page")


class PartlyCached(View):
    @method_decorator(cache_page(60, key_prefix="my.site7"))
    def get(self, request: HttpRequest, **_: Any) -> HttpResponse:
        return HttpResponse("page")


class Asking:
    """A converter as projects write them to look an object up."""

    regex = "[0-9]+"
    asked: ClassVar[list[str]] = []

    def to_python(self, value: str) -> int:
        self.asked.append(value)
        return int(value)

    def to_url(self, value: int) -> str:
        return str(value)


register_converter(Asking, "asking")

cached = cache_page(60)
urlpatterns = [
    path("asked/<asking:pk>/", plain),
    path("asked/<asking:pk>/", include([path("more/", plain)])),
    path("", cached(plain)),
    path("product/<int:pk>/", cached(plain), name="product"),
    path("class/<slug:slug>/", Page.as_view()),
    path("partly/<uuid:pk>/", PartlyCached.as_view()),
    path("varying/", cached(varying)),
    path("bare/<str:name>/", plain),
    path("shop/", include([path("cart/<int:pk>/", cached(plain))])),
    re_path(r"^archive/(?P<year>[0-9]{4})/(\w+)/$", cached(lambda request, year: plain(request))),
    *i18n_patterns(path("home/", cached(plain))),
    path("wiki/<path:title>", cached(plain)),
    re_path(r"^pages/((?:[\w\-]+/)*)$", cached(lambda request, path: plain(request))),
]

LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "routes"}
PER_SITE = [
    "django.middleware.cache.UpdateCacheMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.cache.FetchFromCacheMiddleware",
]


@pytest.fixture(autouse=True)
def site() -> Iterator[None]:
    routes.forget()
    settings = override_settings(ROOT_URLCONF=__name__, CACHES={"default": LOCMEM}, MIDDLEWARE=[])
    # LocaleMiddleware leaves the language of the last request in force.
    with settings, translation.override("en-us"):
        yield
        caches["default"].clear()
    routes.forget()


def calls_of(*paths: str, **request: Any) -> tuple[CapturedCall, ...]:
    with capture_cache_calls() as calls:
        for each in paths:
            Client().get(each, **request)
    return calls.calls


def groups_of(*paths: str, **request: Any) -> set[str]:
    return {group for call in calls_of(*paths, **request) for group in call.groups}


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/", "/"),
        ("/product/17/", "/product/<int:pk>/"),
        ("/class/a-b/", "/class/<slug:slug>/"),
        ("/shop/cart/5/", "/shop/cart/<int:pk>/"),
        ("/varying/", "/varying/"),
        ("/en-us/home/", "/en-us/home/"),
    ],
)
def test_a_cached_page_goes_by_its_method_and_route(address: str, name: str) -> None:
    assert groups_of(address, address) == {f"page GET {name}", f"page headers {name}"}


def test_a_converter_of_the_projects_is_called_by_django_alone() -> None:
    """It may ask the database. A page from the cache needs no route, and so asks nothing."""
    Asking.asked.clear()
    with override_settings(MIDDLEWARE=PER_SITE):
        first, second = groups_of("/en-us/asked/1/"), groups_of("/asked/1/")
        assert Asking.asked == ["1"]
        assert groups_of("/asked/1/") == second
        assert groups_of("/product/1/", "/asked/2/more/") >= {"page GET /product/<int:pk>/"}
    assert Asking.asked == ["1", "2"]
    assert "page headers (no route)" in first
    assert "page GET /asked/<asking:pk>/" in second


def test_a_cached_method_of_a_class_and_a_prefix_with_dots() -> None:
    address = "/partly/6fa459ea-ee8a-3ca4-894e-db77e160355e/"
    assert groups_of(address, address) == {
        "page my.site7 GET /partly/<uuid:pk>/",
        "page headers my.site7 /partly/<uuid:pk>/",
    }


def test_a_route_by_regular_expression_is_shown_as_a_path() -> None:
    assert groups_of("/archive/2026/x/") == {
        "page GET /archive/<year>/<var>/",
        "page headers /archive/<year>/<var>/",
    }


def test_query_strings_hosts_and_schemes_are_other_pages_of_one_route() -> None:
    pages = [
        *calls_of("/product/17/?a=1", "/product/17/?a=2"),
        *calls_of("/product/17/", headers={"host": "shop.example"}),
        *calls_of("/product/17/", secure=True),
    ]
    written = [call for call in pages if call.operation == "set" and "headers" not in call.keys[0]]
    assert {call.groups for call in written} == {("page GET /product/<int:pk>/",)}
    assert len({call.keys for call in written}) == 4


def test_nothing_of_the_address_but_the_route_is_shown_or_held() -> None:
    secret = "ann.lee"
    calls = calls_of(f"/class/{secret.replace('.', '-')}/?mail={secret}@example.com")
    assert "ann" not in repr(calls)
    assert "ann" not in repr(vars(routes))


def test_a_page_is_shown_by_route_and_hash_its_variants_and_languages_apart() -> None:
    [*_, first] = calls_of("/varying/", headers={"x-tenant": "acme"})
    [*_, second] = calls_of("/varying/", headers={"x-tenant": "umbrella"})
    with translation.override("de"), override_settings(USE_TZ=False):
        [*_, third] = calls_of("/varying/", headers={"x-tenant": "acme"})
    shown = [call.keys[0] for call in (first, second, third)]
    heads = {each.split("-")[0] for each in shown}
    assert len(heads) == 1
    assert heads.pop().startswith("page GET /varying/ #")
    assert len(set(shown)) == 3
    assert shown[2].endswith(" de")
    assert shown[0].endswith(" en-us.America/Chicago")


def test_pages_of_one_address_under_two_prefixes_are_told_apart() -> None:
    request = RequestFactory().get("/product/17/")
    keys = {
        name_key(django_cache.learn_cache_key(request, HttpResponse(), 60, f"tenant-{n}"))
        for n in range(2)
    }
    assert {each.group for each in keys} == {"page tenant-{int} GET /product/<int:pk>/"}
    assert len({each.shown for each in keys}) == 2


def test_a_long_prefix_leaves_room_for_the_hash() -> None:
    request = RequestFactory().get("/product/17/")
    name = name_key(django_cache._generate_cache_header_key("prefix-" * 50, request))
    assert name.kind == "page_headers"
    assert len(name.group) == 120
    assert len(name.shown) <= 250
    assert "… #" in name.shown


@override_settings(MIDDLEWARE=PER_SITE, CACHE_MIDDLEWARE_KEY_PREFIX="whole.site")
def test_the_per_site_cache_knows_the_route_before_django_has_looked_for_it() -> None:
    # Written, then read by a process that has not seen the page before.
    calls_of("/bare/x/")
    routes.forget()
    assert groups_of("/bare/x/") == {
        "page whole.site GET /bare/<str:name>/",
        "page headers whole.site /bare/<str:name>/",
    }


@override_settings(MIDDLEWARE=PER_SITE)
def test_an_address_that_leads_nowhere_has_no_route() -> None:
    assert groups_of("/nowhere/", "/en-us/nowhere/") == {f"page headers {NO_ROUTE}"}


@override_settings(MIDDLEWARE=PER_SITE)
def test_a_head_request_is_a_page_of_its_own_method() -> None:
    with capture_cache_calls() as calls:
        Client().head("/bare/x/")
        Client().head("/bare/x/")
    assert "page HEAD /bare/<str:name>/" in {group for call in calls for group in call.groups}


def test_pages_served_to_async_callers_are_named_too() -> None:
    async def ask() -> None:
        await AsyncClient().get("/product/17/")

    with capture_cache_calls() as calls:
        asyncio.run(ask())
    assert {group for call in calls for group in call.groups} == {
        "page GET /product/<int:pk>/",
        "page headers /product/<int:pk>/",
    }


@pytest.fixture
def fresh_process() -> Iterator[None]:
    """A process that has recorded nothing, with a store of its own."""
    store = {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}
    with override_settings(CACHE_MONITOR={"STORE": store}):
        begin_anew()
        yield
        begin_anew()


@pytest.mark.usefixtures("fresh_process")
def test_the_report_has_pages_and_their_headers_apart() -> None:
    # Addresses of its own: what earlier tests did may be counted as late as now.
    for address in ("/product/9001/", "/product/9002/", "/product/9002/", "/class/report/"):
        Client().get(address)
    cache = cache_monitor.report().caches["default"]
    pages = {
        (group.kind, group.group): (group.lookups, group.hits, group.sets)
        for group in cache.key_groups
    }
    assert pages == {
        ("page", "page GET /product/<int:pk>/"): (1, 1, 2),
        ("page_headers", "page headers /product/<int:pk>/"): (3, 1, 2),
        ("page", "page GET /class/<slug:slug>/"): (0, 0, 1),
        ("page_headers", "page headers /class/<slug:slug>/"): (1, 0, 1),
    }
    assert all(" /" in key.key and " #" in key.key for key in cache.hot_keys)


def test_a_page_learned_of_later_is_named_then() -> None:
    request = RequestFactory().get("/product/17/")
    key = django_cache.learn_cache_key(request, HttpResponse(), 60, "")
    routes.forget()
    assert name_key(key) == (key, "page GET {hash}", "page")
    assert not may_be_cached(name_key(key))
    django_cache.get_cache_key(request, "")
    assert name_key(key).group == "page GET /product/<int:pk>/"
    assert may_be_cached(name_key(key))


def test_a_request_that_is_no_http_request_will_do() -> None:
    """The REST framework hands its own to ``cache_page`` on a method."""
    request = RequestFactory().get("/product/17/")
    match = SimpleNamespace(route="api/<pk>/")
    proxy = SimpleNamespace(
        path_info="/product/17/",
        META=request.META,
        build_absolute_uri=request.build_absolute_uri,
        resolver_match=match,
    )
    key = django_cache._generate_cache_header_key("", proxy)
    assert name_key(key).group == "page headers /api/<pk>/"


def test_a_request_with_urls_of_its_own_is_looked_up_there() -> None:
    request = RequestFactory().get("/admin/login/")
    request.urlconf = "tests.urls"
    key = django_cache._generate_cache_header_key("", request)
    assert name_key(key).group == "page headers /admin/login/"


class TestHarmlessness:
    def test_the_keys_are_djangos_own(self) -> None:
        request = RequestFactory().get("/product/17/?q=ä")
        for name in ("_generate_cache_key", "_generate_cache_header_key"):
            ours = getattr(django_cache, name)
            arguments = (
                (request, "GET", ["HTTP_A"], "p") if "header" not in name else ("p", request)
            )
            assert ours(*arguments) == ours.__wrapped__(*arguments)

    def test_djangos_own_error_comes_through(self) -> None:
        request = RequestFactory().get("/", headers={"host": "bad host"})
        with pytest.raises(Exception, match="bad host"):
            django_cache.get_cache_key(request, "")

    def test_a_fault_of_ours_changes_nothing_and_is_logged_once_without_the_address(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with override_settings(ROOT_URLCONF="no.such.module"):
            for n in range(2):
                request = RequestFactory().get(f"/secret/{n}/")
                assert page_key(django_cache.learn_cache_key(request, HttpResponse(), 60, ""))
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        assert "could not be found (ModuleNotFoundError in" in caplog.text
        assert "secret" not in caplog.text

    def test_nothing_is_learned_where_the_monitor_is_off(self) -> None:
        with override_settings(CACHE_MONITOR={"ENABLED": False}):
            key = django_cache.learn_cache_key(
                RequestFactory().get("/product/17/"), HttpResponse(), 60, ""
            )
        assert name_key(key).group == "page GET {hash}"

    def test_it_is_put_in_once_however_often_the_app_gets_ready(self) -> None:
        before = django_cache._generate_cache_key
        learn_routes()
        assert django_cache._generate_cache_key is before

    def test_without_djangos_functions_there_is_nothing_to_learn_from(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        empty = SimpleNamespace()
        monkeypatch.setattr(module, "django_cache", empty)
        learn_routes()
        assert vars(empty) == {}

    def test_a_site_without_the_monitor_has_djangos_own_functions(self) -> None:
        program = (
            "import django; from django.conf import settings;"
            "settings.configure("
            "INSTALLED_APPS=['cache_monitor'], CACHE_MONITOR={'ENABLED': False});"
            "django.setup(); from django.utils import cache;"
            "print(hasattr(cache._generate_cache_key, '__wrapped__'))"
        )
        answer = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True
        )
        assert answer.stdout.strip() == "False"


class TestMemory:
    def test_the_tables_are_bounded_and_the_last_addresses_are_in(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_MOST", 100)
        table, request = Routes(), SimpleNamespace(resolver_match=SimpleNamespace(route="a/"))
        for n in range(1000):
            table.learn(f"{n:032x}"[::-1], request)
            assert len(table._young) + len(table._old) <= 200
        assert all(table.of(f"{n:032x}"[::-1]) == "/a/" for n in range(900, 1000))
        assert table.of(f"{0:032x}") is None
        assert len({id(route) for route in table._old.values()}) == 1

    def test_names_of_routes_are_bounded_too(self) -> None:
        table = Routes()
        for n in range(100):
            request = SimpleNamespace(resolver_match=SimpleNamespace(route=f"{n}/"))
            table.learn(f"{n:016x}" * 2, request)
        assert module.readable.cache_parameters()["maxsize"] == module._MOST_NAMES
        assert table.of(f"{5:016x}" * 2) == "/5/"

    def test_a_forked_child_knows_what_its_parent_learned(self) -> None:
        answer = subprocess.run(
            [sys.executable, "-c", FORKING_SITE], check=True, capture_output=True, text=True
        )
        assert answer.stdout == "page headers /product/<int:pk>/"


FORKING_SITE = """
import os
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["cache_monitor"],
    ROOT_URLCONF="tests.keys.test_known_keys_routes",
    ALLOWED_HOSTS=["*"],
)
django.setup()
from django.test import RequestFactory
from django.utils import cache
from cache_monitor.keys.naming import name_key

key = cache._generate_cache_header_key("", RequestFactory().get("/product/17/"))
child = os.fork()
if child == 0:
    os.write(1, name_key(key).group.encode())
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.parametrize(
    ("route", "path_"),
    [
        ("", "/"),
        ("^$", "/"),
        (r"^item/(?P<pk>\d+)/$", "/item/<pk>/"),
        (r"^a/(?P<x>[^/()]+)/(\w+)\Z", "/a/<x>/<var>"),
        ("en-us/item/<int:pk>/", "/en-us/item/<int:pk>/"),
        (r"price/\$/$", r"/price/\$/"),
    ],
)
def test_a_route_reads_as_a_path(route: str, path_: str) -> None:
    assert readable(route) == path_


@pytest.mark.parametrize(
    ("route", "path", "many"),
    [
        (r"^((?:[\w\-]+/)*)$", "/<var>", True),
        (r"^wiki/(?P<title>.+)/$", "/wiki/<title>/", True),
        (r"wiki/<path:title>", "/wiki/<path:title>", True),
        (r"^a/(?P<slug>[^/]+)/(\w+)$", "/a/<slug>/<var>", False),
        (r"^a/(?:b|c)/(\d+(?:-\d+)?)/$", "/a/(?:b|c)/<var>/", False),
        (r"^odd/([(]\(\w\))/$", "/odd/<var>/", False),
        ("", "/", False),
    ],
)
def test_a_route_that_takes_whole_paths_is_told_by_its_parts(
    route: str, path: str, many: bool
) -> None:
    assert readable(route) == path
    assert is_catch_all(route) is many


@pytest.mark.parametrize("tree", ["wiki/<path:title>", "pages/<var>"])
def test_pages_of_one_route_are_told_apart_by_their_paths(tree: str) -> None:
    root = tree.partition("/")[0]
    names = set()
    for page in ("about/", "about/us/"):
        with capture_cache_calls() as calls:
            Client().get(f"/{root}/{page}")
        stored = {key for call in calls if call.operation == "set" for key in call.keys}
        [key] = [each for each in stored if each.startswith("page GET ")]
        assert key.startswith(f"page GET /{root}/{page} #")
        names |= {group for call in calls for group in call.groups}
    assert names == {f"page GET /{tree}", f"page headers /{tree}"}
