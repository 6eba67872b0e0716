"""What came of a page pass reads as RFC 9211 has it."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import caches
from django.test import Client, override_settings

from cache_monitor.page_cache import PagePass, cache_status
from cache_monitor.worker import wiring

MIDDLEWARE = [
    "cache_monitor.middleware.CacheMonitorMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    f"{__name__}.ask_who_it_is",
]


def ask_who_it_is(get_response: Any) -> Any:
    """A middleware that asks who the user is, as many sites do."""

    def answer(request: Any) -> Any:
        assert request.user.pk is None or request.user.is_staff
        response = get_response(request)
        if "before" in request.GET:
            response["Cache-Status"] = "proxy; hit"
        return response

    return answer


@pytest.mark.parametrize(
    ("page_pass", "header"),
    [
        (PagePass("a", 0, fetch="hit", ttl=120.0), "django; hit; ttl=120"),
        (PagePass("a", 0, fetch="hit"), "django; hit"),
        (PagePass("a", 0, fetch="miss", stored=True), "django; fwd=miss; stored"),
        (PagePass("a", 0, fetch="bypass", stored=False, reason="method"), "django; fwd=method"),
        (
            PagePass("a", 0, fetch="miss", stored=False, reason="cookie"),
            'django; fwd=bypass; detail="set-cookie"',
        ),
        (
            PagePass("a", 0, fetch="miss", stored=False, reason="max_age_0"),
            'django; fwd=bypass; detail="max-age-0"',
        ),
    ],
)
def test_a_pass_is_written_as_an_entry(page_pass: PagePass, header: str) -> None:
    assert cache_status(page_pass) == header


@pytest.fixture
def site(db: None) -> Iterator[None]:
    with override_settings(ROOT_URLCONF="tests.page_cache.site", MIDDLEWARE=MIDDLEWARE):
        caches["default"].clear()
        yield


@pytest.mark.usefixtures("site")
def test_visitors_are_told_nothing() -> None:
    assert "Cache-Status" not in Client().get("/cached/plain/1/")


@pytest.mark.usefixtures("site")
def test_staff_is_told_and_others_entries_stay() -> None:
    staff = Client()
    staff.force_login(User.objects.create_superuser("staff"))
    answers = [staff.get("/cached/plain/1/?before=1")["Cache-Status"] for _ in range(2)]
    assert answers[0] == "proxy; hit, django; fwd=miss; stored; ttl=60"
    assert answers[1].startswith("proxy; hit, django; hit; ttl=")


@pytest.mark.usefixtures("site")
def test_with_debug_everybody_is_told() -> None:
    with override_settings(DEBUG=True):
        answer = Client().get("/cached/private/1/")
    assert answer["Cache-Status"] == 'django; fwd=bypass; detail="private"'


@pytest.mark.usefixtures("site")
def test_of_pages_within_each_other_the_innermost_comes_first() -> None:
    with override_settings(DEBUG=True):
        answer = Client().get("/cached/nested/1/")
    assert answer["Cache-Status"].count("django; fwd=miss; stored") == 2


@pytest.mark.usefixtures("site")
def test_the_log_of_calls_has_a_record_of_the_page(caplog: pytest.LogCaptureFixture) -> None:
    wiring.background_worker.flush()
    with caplog.at_level(logging.DEBUG, "cache_monitor.calls"):
        Client().get("/cached/private/1/")
        wiring.background_worker.flush()
    (message,) = [each for each in caplog.messages if each.startswith("page ")]
    assert message == (
        'page /cached/private/<int:pk>/ of default: django; fwd=bypass; detail="private"'
    )
