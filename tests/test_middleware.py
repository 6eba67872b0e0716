"""Requests are counted for their views."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import caches
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path, register_converter

from cache_monitor.api import report
from cache_monitor.middleware import UNKNOWN_VIEW, CacheMonitorMiddleware
from cache_monitor.reports import View
from cache_monitor.worker import requests
from tests.anew import begin_anew
from tests.stored import stored_details

pytestmark = pytest.mark.django_db


def product(request: HttpRequest, pk: int) -> HttpResponse:
    caches["default"].get_or_set(f"product:{pk}", 1)
    caches["default"].get("absent")
    return HttpResponse("product")


def quiet(request: HttpRequest) -> HttpResponse:
    return HttpResponse("no cache was called")


def personal(request: HttpRequest) -> HttpResponse:
    caches["default"].get("absent")
    return HttpResponse(request.user.get_username())


async def slowly(request: HttpRequest) -> HttpResponse:
    await caches["default"].aget("absent")
    return HttpResponse("slowly")


def failing(request: HttpRequest) -> HttpResponse:
    caches["default"].get("absent")
    raise ValueError("the view's own fault")


def producing(request: HttpRequest) -> HttpResponse:
    cache = caches["default"]
    if cache.get("slow") is None:
        time.sleep(0.02)
        cache.set("slow", 1)
    return HttpResponse("producing")


urlpatterns = [
    path("product/<int:pk>/", product, name="product"),
    path("quiet/", quiet, name="quiet"),
    path("personal/", personal, name="personal"),
    path("slowly/", slowly, name="slowly"),
    path("failing/", failing, name="failing"),
    path("producing/", producing, name="producing"),
]


class _Elsewhere:
    """The URLs of another of the project's hosts."""

    urlpatterns = [path("product/<int:pk>/", product, name="another")]


@pytest.fixture(autouse=True)
def site() -> Iterator[None]:
    with override_settings(
        ROOT_URLCONF=__name__,
        CACHE_MONITOR={"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}},
        MIDDLEWARE=[
            "cache_monitor.middleware.CacheMonitorMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            f"{__name__}.answer_from_cache",
        ],
    ):
        begin_anew()
        caches["default"].clear()
        yield
        begin_anew()


def answer_from_cache(get_response: Any) -> Any:
    """A middleware that answers without a view, as Django's cache middleware does."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.headers.get("X-Cached"):
            if "elsewhere" in request.headers["X-Cached"]:
                setattr(request, "urlconf", _Elsewhere)  # noqa: B010 - whatever has patterns
            caches["default"].get("page")
            return HttpResponse("from the cache")
        response: HttpResponse = get_response(request)
        return response

    return middleware


def _views() -> dict[str, View]:
    return {view.view: view for view in report().caches["default"].views}


def test_requests_lookups_and_misses_are_counted_for_the_view() -> None:
    for pk in (1, 1, 2):
        Client().get(f"/product/{pk}/")
    view = _views()["product"]
    assert (view.requests, view.lookups, view.misses) == (3, 6, 5)
    assert view.misses_per_request == pytest.approx(5 / 3, abs=1e-4)
    assert view.seconds > 0


def test_a_page_that_middleware_answers_counts_for_its_view() -> None:
    Client().get("/product/7/", headers={"X-Cached": "yes"})
    assert _views()["product"].requests == 1


def test_a_page_of_a_requests_own_urls_counts_for_its_view_there() -> None:
    Client().get("/product/7/", headers={"X-Cached": "elsewhere"})
    assert [view.view for view in report().caches["default"].views] == ["another"]


def test_a_request_without_a_view_has_a_place() -> None:
    Client().get("/nowhere/", headers={"X-Cached": "yes"})
    assert _views()[UNKNOWN_VIEW].requests == 1


def test_a_request_that_calls_no_cache_is_not_counted() -> None:
    Client().get("/quiet/")
    assert _views() == {}


def test_a_view_that_raises_is_counted() -> None:
    Client(raise_request_exception=False).get("/failing/")
    assert _views()["failing"].misses == 1


def test_async_requests_are_counted_and_do_not_mix() -> None:
    async def visits_at_once() -> None:
        await asyncio.gather(*(AsyncClient().get("/slowly/") for _ in range(10)))

    asyncio.run(visits_at_once())
    assert (_views()["slowly"].requests, _views()["slowly"].lookups) == (10, 10)


def test_staff_sees_the_tally_in_server_timing() -> None:
    client = Client()
    client.force_login(User.objects.create_user("staff", is_staff=True))
    answer = client.get("/personal/")
    assert answer["Server-Timing"].startswith("cache;dur=")
    assert answer["Server-Timing"].endswith('desc="1 calls, 0% hits"')


def test_others_do_not() -> None:
    client = Client()
    client.force_login(User.objects.create_user("reader"))
    assert "Server-Timing" not in client.get("/personal/")
    assert "Server-Timing" not in Client().get("/personal/")


def test_a_page_that_asks_for_no_user_asks_for_none_with_us(
    django_assert_num_queries: Any,
) -> None:
    client = Client()
    client.force_login(User.objects.create_user("staff", is_staff=True))
    with django_assert_num_queries(0):
        answer = client.get("/product/1/")
    assert "Cookie" not in answer.get("Vary", "")


@override_settings(CACHE_MONITOR={"ENABLED": False})
def test_switched_off_it_takes_itself_out() -> None:
    with pytest.raises(MiddlewareNotUsed):
        CacheMonitorMiddleware(lambda request: HttpResponse())


def test_visits_that_nobody_counts_make_room_for_newer_ones() -> None:
    assert requests.waiting.maxlen == requests.MOST_WAITING


def test_the_time_of_the_request_and_of_what_it_produced_is_told() -> None:
    for _ in range(2):
        Client().get("/producing/")
    view = stored_details().views["producing"]
    [group] = stored_details().groups.values()
    [use] = view.groups.values()
    assert (view.requests, view.calls, use.lookups, use.hits) == (2, 3, 2, 1)
    assert 0.02 <= group.produce_seconds <= view.request_seconds
    assert use.seconds == view.seconds
    assert view.seconds < view.request_seconds


class Fragile:
    """A converter that takes for granted what the other middleware has not made sure of."""

    regex = "[a-z]+"

    def to_python(self, value: str) -> str:
        raise KeyError(value)

    def to_url(self, value: str) -> str:
        return value


register_converter(Fragile, "fragile")
urlpatterns.append(path("fragile/<fragile:name>/", quiet, name="fragile"))


def test_an_answer_is_not_lost_to_the_sites_own_faults() -> None:
    response = Client().get("/fragile/name/", headers={"X-Cached": "yes"})
    assert response.content == b"from the cache"
