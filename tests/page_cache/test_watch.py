"""What the page cache does with each kind of answer is told, and nothing of it is changed."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.cache import caches
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.utils import translation
from django.views.decorators.cache import cache_page

from cache_monitor import context
from cache_monitor.listeners import Capture
from cache_monitor.page_cache import PagePass, cache_status
from cache_monitor.panel.present import page_sentences
from cache_monitor.panel.request import page_row
from cache_monitor.stacks import caller_of
from tests.page_cache import site

pytestmark = pytest.mark.django_db

SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
UPDATE = "django.middleware.cache.UpdateCacheMiddleware"
FETCH = "django.middleware.cache.FetchFromCacheMiddleware"
PER_SITE = [
    UPDATE,
    SESSIONS,
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    FETCH,
]

DECORATED = [
    ("plain", None, ""),
    ("private", "private", "private"),
    ("no_store", "no-store", "no-store"),
    ("star", "vary_star", ""),
    ("missing", "status", "404"),
    ("streamed", "streaming", ""),
    ("file", "streaming", ""),
    ("cookie", "cookie", "seen"),
    ("switched_off", "disabled", ""),
    ("reads_session", None, ""),
    ("makes_token", "cookie", "csrftoken"),
    ("template_token", "cookie", "csrftoken"),
    ("no_time", "timeout_0", ""),
    ("dummy", "dummy", ""),
    ("asynchronous", None, ""),
]
"""Pages behind ``cache_page``, why they are not stored, and what there is to add."""

SITE_WIDE = [
    ("plain", None, ""),
    ("zero", "max_age_0", "max-age=0"),
    ("private", "private", "private"),
    ("reads_session", None, ""),
    ("writes_session", "cookie", "sessionid"),
    ("makes_token", "cookie", "csrftoken"),
    ("failing", "status", "500"),
    ("asynchronous", None, ""),
]
"""The same behind the middleware of the whole site."""


@pytest.fixture(autouse=True)
def pages() -> Iterator[None]:
    with override_settings(ROOT_URLCONF="tests.page_cache.site", MIDDLEWARE=[SESSIONS]):
        caches["default"].clear()
        yield
        caches["default"].clear()


@contextmanager
def heard() -> Iterator[list[PagePass]]:
    """The passes of what is asked for inside: what waits to be counted the worker may take."""
    capture = Capture()
    context.start_listening(capture)
    try:
        yield capture.page_passes
    finally:
        context.stop_listening(capture)


def passes_of(url: str, method: str = "get", **headers: str) -> list[PagePass]:
    with heard() as passes:
        getattr(Client(raise_request_exception=False), method)(url, headers=headers)
    return passes


def last_of(url: str, method: str = "get", **headers: str) -> PagePass:
    return passes_of(url, method, **headers)[-1]


async def async_pass_of(url: str) -> PagePass:
    with heard() as passes:
        await AsyncClient(raise_request_exception=False).get(url)
    return passes[-1]


@pytest.mark.parametrize(("page", "reason", "detail"), DECORATED)
def test_a_decorated_page_tells_whether_it_is_stored_and_why_not(
    page: str, reason: str | None, detail: str
) -> None:
    made = last_of(f"/cached/{page}/3/")
    assert (made.fetch, made.missed, made.stored) == ("miss", "header_list", reason is None)
    assert (made.reason, made.detail) == (reason, detail)
    assert made.route == f"/cached/{page}/<int:pk>/"
    again = last_of(f"/cached/{page}/3/")
    assert again.fetch == ("hit" if reason is None else "miss")


@pytest.mark.parametrize(("page", "reason", "detail"), SITE_WIDE)
def test_a_page_of_a_cached_site_tells_whether_it_is_stored_and_why_not(
    page: str, reason: str | None, detail: str
) -> None:
    with override_settings(MIDDLEWARE=PER_SITE):
        made = last_of(f"/site/{page}/")
        assert (made.fetch, made.stored) == ("miss", reason is None)
        assert (made.reason, made.detail) == (reason, detail)
        assert last_of(f"/site/{page}/").fetch == ("hit" if reason is None else "miss")


@pytest.mark.parametrize(("page", "reason", "detail"), DECORATED)
def test_an_asynchronous_handler_tells_the_same(page: str, reason: str | None, detail: str) -> None:
    made = asyncio.run(async_pass_of(f"/cached/{page}/3/"))
    assert (made.fetch, made.stored, made.reason) == ("miss", reason is None, reason)


@pytest.mark.parametrize(("page", "reason", "detail"), SITE_WIDE)
def test_a_site_behind_an_asynchronous_handler_tells_the_same(
    page: str, reason: str | None, detail: str
) -> None:
    with override_settings(MIDDLEWARE=PER_SITE):
        made = asyncio.run(async_pass_of(f"/site/{page}/"))
        assert (made.fetch, made.stored, made.reason) == ("miss", reason is None, reason)


def test_a_method_that_is_not_cached_passes_by() -> None:
    made = last_of("/cached/plain/3/", "post")
    assert (made.fetch, made.stored, made.reason, made.detail) == (
        "bypass",
        False,
        "method",
        "POST",
    )


def test_a_served_page_tells_its_age_and_what_is_left_of_its_time() -> None:
    passes_of("/cached/plain/3/")
    served = last_of("/cached/plain/3/")
    assert served.fetch == "hit"
    assert served.age is not None
    assert served.ttl == 60 - served.age
    assert served.stored is None


def test_a_class_based_page_is_watched() -> None:
    assert [last_of("/cached/class/").fetch for _ in range(2)] == ["miss", "hit"]


def test_a_page_within_a_page_is_told_of_each_for_itself() -> None:
    inner, outer = passes_of("/cached/nested/3/")
    assert (inner.stored, outer.stored) == (True, True)
    (served,) = passes_of("/cached/nested/3/")
    assert served.fetch == "hit"


def test_a_page_that_one_within_it_has_served_says_so() -> None:
    passes_of("/cached/nested/3/")
    request = RequestFactory().get("/cached/nested/3/")
    other = cache_page(60, key_prefix="other")(cache_page(30, key_prefix="in")(site.plain))
    with heard() as passes:
        other(request)
    inner, outer = passes
    assert (inner.fetch, outer.fetch) == ("hit", "miss")
    assert (outer.stored, outer.reason) == (False, "inner")


def test_a_site_that_only_updates_has_nothing_stored_since_nobody_fetched() -> None:
    with override_settings(MIDDLEWARE=[UPDATE]):
        made = last_of("/site/plain/")
    assert (made.fetch, made.stored, made.reason) == ("none", False, "no_fetch")


def test_another_variant_of_a_page_is_told_from_a_page_that_was_never_there() -> None:
    with override_settings(MIDDLEWARE=PER_SITE):
        passes_of("/site/reads_session/")
        other = last_of("/site/reads_session/", cookie="sessionid=other")
    assert (other.fetch, other.missed) == ("miss", "page")
    assert other.varies == ("cookie",)


def test_a_page_that_is_stored_under_another_key_than_it_is_looked_up_by_says_so() -> None:
    order = [FETCH, SESSIONS, "django.middleware.locale.LocaleMiddleware", UPDATE]
    with override_settings(MIDDLEWARE=order, USE_I18N=True, LANGUAGE_CODE="en-us", USE_TZ=False):
        # As in a new thread: a request leaves its language to the next.
        with translation.override("en-us"):
            passes_of("/site/plain/", accept_language="de")
        with translation.override("en-us"):
            made = last_of("/site/plain/", accept_language="de")
    assert (made.fetch, made.stored, made.missed, made.detail) == (
        "miss",
        True,
        "other_key",
        "de, en-us",
    )
    assert cache_status(made).endswith('detail="other-key"')
    sentences = list(page_sentences(page_row(made), [], {}, {}))
    assert sentences[1].startswith("It was looked up for en-us, and stored for de:")


@pytest.mark.parametrize(
    ("page", "middleware", "line"),
    [
        ("cached/reads_session/3", [SESSIONS], "# the line to be named"),
        ("site/reads_session", [SESSIONS, UPDATE, FETCH], "# the line to be named"),
        ("cached/reads_session/3", PER_SITE, "# the line to be named"),
        ("site/reads_session", PER_SITE, None),
        ("cached/plain/3", [SESSIONS], None),
    ],
)
def test_a_page_of_one_visitor_that_is_stored_for_all_is_told_with_the_line(
    page: str, middleware: list[str], line: str | None
) -> None:
    with override_settings(MIDDLEWARE=middleware):
        made = passes_of(f"/{page}/")[0]
    assert made.stored
    unvaried = made.unvaried()
    told = "Yet the page is stored without" in " ".join(page_sentences(page_row(made), [], {}, {}))
    assert (unvaried is not None, told) == (line is not None, line is not None)
    if unvaried is not None and line is not None:
        place = caller_of(unvaried[1])
        assert place is not None
        assert line in place.source


@pytest.mark.parametrize(
    ("page", "cause", "line"),
    [
        ("cached/private/3", "cache-control:private", "cache_control(private=True)"),
        ("cached/no_store/3", "cache-control:no-store", '"no-store"'),
        ("cached/cookie/3", "vary:cookie", 'patch_vary_headers(response, ["Cookie"])'),
        ("cached/makes_token/3", "csrf", "get_token(request)"),
        ("site/reads_session", "session", "# the line to be named"),
        ("site/writes_session", "session", 'request.session["basket"] = 1'),
    ],
)
def test_the_line_of_code_that_made_the_page_personal_is_named(
    page: str, cause: str, line: str
) -> None:
    with override_settings(MIDDLEWARE=PER_SITE if page.startswith("site") else [SESSIONS]):
        found = last_of(f"/{page}/").cause()
    assert found is not None
    assert found[0] == cause
    place = caller_of(found[1])
    assert place is not None
    assert place.path == "tests/page_cache/site.py"
    assert line in place.source


def test_what_a_middleware_varies_by_is_that_middlewares() -> None:
    with override_settings(MIDDLEWARE=PER_SITE, USE_I18N=False):
        made = last_of("/site/plain/")
    assert made.varies == ("accept-language",)
    found = made.cause()
    assert found is not None
    place = caller_of(found[1])
    assert place is not None
    assert place.path == "django/middleware/locale.py"


def test_a_cache_that_raises_fails_the_page_as_it_would_and_is_told() -> None:
    broken: Any = cache_page(60, cache="broken")(site.plain)
    location = {"BACKEND": "tests.page_cache.site.RefusingCache"}
    with override_settings(CACHES={"default": location, "broken": location}):
        with heard() as passes, pytest.raises(LookupError):
            broken(RequestFactory().get("/"))
        made = passes[-1]
    assert (made.stored, made.reason, made.detail) == (False, "error", "LookupError")


def test_a_page_is_not_stored_where_the_cache_s_client_keeps_its_errors_to_itself() -> None:
    page: Any = cache_page(60, cache="away")(site.plain)
    away = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": "redis://127.0.0.1:1",
        "OPTIONS": {"IGNORE_EXCEPTIONS": True},
    }
    with override_settings(CACHES={"default": away, "away": away}):
        with heard() as passes:
            assert page(RequestFactory().get("/")).content == b"page"
        made = passes[-1]
    assert (made.stored, made.reason, made.detail) == (False, "error", "ConnectionError")
    assert cache_status(made) == 'django; fwd=bypass; detail="error"'


def test_a_view_that_raises_leaves_nothing_behind_for_the_next_request() -> None:
    assert passes_of("/cached/failing/3/") == []
    made = last_of("/cached/plain/4/")
    assert made.outer is None
    assert (made.fetch, made.stored) == ("miss", True)


def test_what_is_switched_off_is_not_watched() -> None:
    with override_settings(CACHE_MONITOR={"ENABLED": False}):
        assert passes_of("/cached/plain/3/") == []


def test_a_fault_of_ours_in_a_hook_does_not_reach_the_site(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(skipped: int) -> Any:
        raise LookupError

    monkeypatch.setattr("cache_monitor.instrument.pages.take_stack", broken)
    made = last_of("/cached/private/3/")
    assert (made.stored, made.reason, made.cause()) == (False, "private", None)
