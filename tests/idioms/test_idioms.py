"""The healthy ways to use Django's caches have no finding, and groups as a reader would draw them.

Each idiom makes its real calls, on a real cache and behind the middleware, as the code of its
package makes them, for an hour of the test's own clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from django.contrib.sessions.backends.cache import SessionStore
from django.core.cache import BaseCache
from django.http import HttpRequest, HttpResponse
from django.template import Context, Engine
from django.views.decorators.cache import cache_page

import cache_monitor
from tests.idioms.hours import SimulatedHour, simulated_hour

# A report asks who may see what, and a request gives connections back.
pytestmark = pytest.mark.django_db


VISITORS = 20
VISITS = 1200
WORK = 0.04


@pytest.fixture(autouse=True)
def hour(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedHour]:
    with simulated_hour(monkeypatch) as hour:
        _hours.append(hour)
        yield hour
        _hours.pop()


_hours: list[SimulatedHour] = []


def _cache() -> BaseCache:
    return _hours[-1].cache


def _work() -> str:
    return str(_hours[-1].work(WORK))


def _use(idiom: Callable[[int], None], number: int, request: HttpRequest) -> None:
    idiom(number)


def throttle(number: int) -> None:
    """A history of requests that is read, trimmed and written, as in DRF's SimpleRateThrottle."""
    key = f"throttle_anon_10.0.0.{number % VISITORS}"
    now = _hours[-1].clock.now
    history = _cache().get(key, [])
    while history and history[-1] <= now - 60:
        history.pop()
    if len(history) < 100:
        history.insert(0, now)
        _cache().set(key, history, 60)


def ratelimit(number: int) -> None:
    """A counter that is added, else counted up, as in django-ratelimit."""
    key = f"rl:{number % VISITORS}"
    if not _cache().add(key, 1, 60):
        _cache().incr(key)


def failed_logins(number: int) -> None:
    """Attempts that hardly anybody has made, as in the cache handler of django-axes."""
    key = f"axes-{number % VISITORS}"
    failures = _cache().get(key, 0)
    if number % 150 == 0:
        _cache().set(key, failures + 1, 3600)


def beat_lock(number: int) -> None:
    """A lock that one worker gets, as for Celery's tasks."""
    if _cache().add(f"lock:report:{number % 3}", "worker", 60) and number % 2:
        _cache().delete(f"lock:report:{number % 3}")


def namespace(number: int) -> None:
    """A version in the keys, raised where their content changes."""
    version = _cache().get("products:version")
    if version is None:
        version = 1
        _cache().set("products:version", version, None)
    key = f"products:list:{version}"
    if _cache().get(key) is None:
        _work()
        _cache().set(key, ["a", "b"], 300)
    if number % 100 == 99:
        _cache().incr("products:version")


def absent_counters(number: int) -> None:
    """Counters that are begun where there is none to count up, as most are."""
    try:
        _cache().incr(f"visits:{number}")
    except ValueError:
        _cache().set(f"visits:{number}", 1, 60)


def deny_list(number: int) -> None:
    """Addresses that are hardly ever denied."""
    if number == 7:
        _cache().set("deny:10.0.0.3", 1, 3600)
    _cache().get(f"deny:10.0.0.{number % VISITORS}")


def maintenance_flag(number: int) -> None:
    """A flag that is never set."""
    _cache().get("maintenance-mode")


def querysets(number: int) -> None:
    """What a query gives, for each of many slugs."""
    word = "abcdefghijkl"[number % 12] + "opqrstuvwxy"[number % 11]
    _cache().get_or_set(f"api:product:{word}-shirt", _work, 3600)


def session(number: int) -> None:
    """Django's sessions in the cache, each saved on every request."""
    store = SessionStore(f"{number % VISITORS:032d}")
    store["visits"] = store.get("visits", 0) + 1
    store.save()


class _Work:
    """What a template has to work for."""

    def __str__(self) -> str:
        return _work()


def fragment(number: int) -> None:
    """A template's fragment, made once for each language."""
    text = "{% load cache %}{% cache 300 sidebar lang %}{{ work }}{% endcache %}"
    _TEMPLATES.from_string(text).render(
        Context({"lang": "de" if number % 2 else "en", "work": _Work()})
    )


_TEMPLATES = Engine(libraries={"cache": "django.templatetags.cache"})


@pytest.mark.parametrize(
    ("idiom", "states", "copies"),
    [
        (throttle, {"throttle_anon_{ip}"}, set()),
        (ratelimit, {"rl:{int}"}, set()),
        (failed_logins, {"axes-{int}"}, set()),
        (beat_lock, {"lock:report:{int}"}, set()),
        (absent_counters, {"visits:{int}"}, set()),
        (namespace, {"products:version"}, {"products:list:{int}"}),
        (deny_list, {"deny:{ip}"}, set()),
        (maintenance_flag, set(), {"maintenance-mode"}),
        (querysets, set(), {"api:product:{text}"}),
        (session, {"session"}, set()),
        (fragment, set(), {"fragment sidebar"}),
    ],
)
def test_a_healthy_idiom_has_no_finding(
    idiom: Callable[[int], None], states: set[str], copies: set[str], hour: SimulatedHour
) -> None:
    for number in hour.moments(VISITS):
        hour.visit(partial(_use, idiom, number))
    report = hour.report()
    assert report.findings == []
    assert report.caches["default"].errors == 0
    groups = report.caches["default"].key_groups
    assert {each.group for each in groups if each.is_state} == states
    assert {each.group for each in groups} == states | copies
    assert all(each.seconds_saved == 0 for each in groups if each.is_state)


def test_a_cached_page_saves_once_what_it_takes(hour: SimulatedHour) -> None:
    @cache_page(300)
    def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse(_work())

    for _ in hour.moments(VISITS):
        hour.visit(page, "/page/")
    report = hour.report()
    cache = report.caches["default"]
    [view] = cache.views
    [group] = [each for each in cache.key_groups if each.kind == "page"]
    made = round(hour.worked / WORK)
    assert (group.produced, group.hits) == (made, VISITS - made)
    assert group.produce_seconds == pytest.approx(WORK, rel=0.05)
    # Each hit once, though it takes two lookups: of the list of headers and of the page.
    saved = group.hits * (group.produce_seconds or 0.0) - view.seconds
    assert view.seconds_saved == pytest.approx(saved)
    assert cache.seconds_saved == pytest.approx(saved)
    assert report.findings == []


@pytest.mark.parametrize("earlier", [0, 3])
def test_what_was_just_warmed_up_had_no_time_to_be_read(earlier: int, hour: SimulatedHour) -> None:
    """Be there some entries of before, which nobody has read either."""
    for number in range(earlier):
        hour.cache.set(f"warm:{number}", "x" * 10_000, 3600)
    assert cache_monitor.flush()
    hour.clock.go_on(3500)
    for number in range(2000):
        hour.cache.set(f"warm:{number}", "x" * 10_000, 3600)
    # In local memory a value's size is looked up when its call is counted.
    assert cache_monitor.flush()
    hour.clock.go_on(4)
    assert hour.report().findings == []
    hour.clock.go_on(1800)
    assert [each.code for each in hour.report().findings] == ["never-read"]
