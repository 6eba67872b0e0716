"""What is told of a request and its response."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from django.urls import path, resolve
from django.utils.cache import patch_vary_headers
from django.utils.decorators import method_decorator
from django.views.decorators.cache import cache_page
from django.views.decorators.vary import vary_on_cookie
from django.views.generic import View

from cache_monitor.context import start_listening, stop_listening
from cache_monitor.listeners import Capture
from cache_monitor.panel.request import has_pages_by_cookie, route_of, view_of

FILE = str(Path(__file__))


@cache_page(60)
def decorated(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


@method_decorator(cache_page(60), name="dispatch")
class Decorated(View):
    """A view with its cache above its class."""


class CallableView:
    """A view that is no function."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse()


urlpatterns = [
    path("offers/<int:pk>/", decorated),
    path("class/", Decorated.as_view()),
    path("callable/", CallableView()),
]


def request_for(url: str) -> HttpRequest:
    return RequestFactory().get(url)


def line_of(text: str) -> int:
    return Path(FILE).read_text().splitlines().index(text) + 1


def test_the_route_is_told_from_the_match_of_the_request() -> None:
    request = request_for("/anything/")
    with override_settings(ROOT_URLCONF=__name__):
        request.resolver_match = resolve("/offers/4/")
    assert route_of(request) == "/offers/<int:pk>/"


@override_settings(ROOT_URLCONF=__name__)
def test_the_route_of_a_page_that_a_middleware_answered_is_looked_up() -> None:
    assert route_of(request_for("/offers/4/")) == "/offers/<int:pk>/"


@override_settings(ROOT_URLCONF=__name__)
def test_an_address_without_a_view_has_neither_route_nor_view() -> None:
    assert route_of(request_for("/nowhere/")) is None
    assert view_of(request_for("/nowhere/")) is None


@override_settings(ROOT_URLCONF=__name__)
def test_a_view_begins_with_its_decorators() -> None:
    assert view_of(request_for("/offers/4/")) == [FILE, line_of("@cache_page(60)"), "decorated"]
    of_class = view_of(request_for("/class/"))
    assert of_class == [FILE, inspect.getsourcelines(Decorated)[1], "Decorated"]


@override_settings(ROOT_URLCONF=__name__)
def test_a_view_that_is_no_function_has_no_line() -> None:
    assert view_of(request_for("/callable/")) is None


class PagesCalled:
    """What a visit of a cached page did with the caches, and how it was answered."""

    def __init__(self, view: Callable[[HttpRequest], HttpResponse]) -> None:
        caches["default"].clear()
        capture = Capture()
        start_listening(capture)
        try:
            self.response = cache_page(60)(view)(RequestFactory().get("/a-page/"))
        finally:
            stop_listening(capture)
        self.kept = capture.kept()

    def is_by_cookie(self) -> bool:
        return has_pages_by_cookie(self.response, self.kept)


@vary_on_cookie
def varying(request: HttpRequest) -> HttpResponse:
    return HttpResponse("for one visitor")


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("for all")


def test_a_page_that_varies_by_cookie_is_told() -> None:
    called = PagesCalled(varying)
    assert [call[0].operation for call, *_ in called.kept] == ["get", "set", "set"]
    assert called.is_by_cookie()


def test_a_page_for_all_does_not_vary() -> None:
    assert not PagesCalled(plain).is_by_cookie()


def test_a_header_that_middleware_adds_later_is_none_of_the_pages() -> None:
    called = PagesCalled(plain)
    patch_vary_headers(called.response, ["Cookie"])
    assert not called.is_by_cookie()


def test_without_a_cached_page_the_header_means_nothing() -> None:
    assert not has_pages_by_cookie(HttpResponse(headers={"Vary": "Cookie"}), [])


def test_the_look_at_the_list_of_headers_is_not_recorded() -> None:
    called, capture = PagesCalled(varying), Capture()
    start_listening(capture)
    try:
        called.is_by_cookie()
    finally:
        stop_listening(capture)
    assert capture.calls() == ()


def test_a_cache_that_is_away_by_then_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    called = PagesCalled(varying)

    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("away")

    monkeypatch.setattr(type(caches["default"]), "get", fail)
    assert not called.is_by_cookie()
