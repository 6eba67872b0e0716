"""The healthy ways to use Django's caches have no finding, and groups as a reader would draw them.

Each idiom makes its real calls, on a real cache and behind the middleware, as the code of its
package makes them. What an hour of a site brings is made in some seconds, in which each mistake
would cost many times its share of time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest
from django.contrib.sessions.backends.cache import SessionStore
from django.core.cache import BaseCache, caches
from django.core.signals import request_started
from django.http import HttpRequest, HttpResponse
from django.template import Context, Engine
from django.test import RequestFactory, override_settings
from django.views.decorators.cache import cache_page

import cache_monitor
from cache_monitor.collecting import joining
from cache_monitor.middleware import CacheMonitorMiddleware
from cache_monitor.reports.schema import Cache, KeyGroup, Report

# A report asks who may see what, and a request gives connections back.
pytestmark = pytest.mark.django_db


LOCMEM = {
    "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
    "LOCATION": "idioms",
    "OPTIONS": {"MAX_ENTRIES": 5000},
}
MEMORY = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}
VISITORS = 20
VISITS = 600
KEYS = 4
WORK = 0.004


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """A process that has recorded nothing, with a store of its own."""
    with override_settings(CACHES={"default": LOCMEM}, CACHE_MONITOR=MEMORY):
        joining.collector.stop()
        joining.collector.after_fork()
        yield
        joining.collector.stop()
        joining.collector.after_fork()
        caches["default"].clear()


def _cache() -> BaseCache:
    return caches["default"]


def _visit(work: Callable[[], object]) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        work()
        return HttpResponse()

    request_started.send(sender=None)
    CacheMonitorMiddleware(view)(RequestFactory().get("/"))


def _visit_page(view: Callable[[HttpRequest], HttpResponse]) -> None:
    request_started.send(sender=None)
    CacheMonitorMiddleware(view)(RequestFactory().get("/page/"))


def _report() -> Report:
    assert cache_monitor.flush()
    return cache_monitor.report()


def _group(cache: Cache, name: str) -> KeyGroup:
    return next(each for each in cache.key_groups if each.group == name)


def throttle(number: int) -> None:
    """A history of requests that is read, trimmed and written, as in DRF's SimpleRateThrottle."""
    key = f"throttle_anon_10.0.0.{number % VISITORS}"
    now = time.monotonic()
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
        time.sleep(WORK)
        _cache().set(key, ["a", "b"], 300)
    if number % 100 == 99:
        _cache().incr("products:version")


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
    _cache().get_or_set(f"api:product:{word}-shirt", _work, 300)


def session(number: int) -> None:
    """Django's sessions in the cache, each saved on every request."""
    store = SessionStore(f"{number % VISITORS:032d}")
    store["visits"] = store.get("visits", 0) + 1
    store.save()


def fragment(number: int) -> None:
    """A template's fragment, made once for each language."""
    text = "{% load cache %}{% cache 300 sidebar lang %}{{ work }}{% endcache %}"
    _TEMPLATES.from_string(text).render(Context({"lang": "de" if number % 2 else "en"}))


_TEMPLATES = Engine(libraries={"cache": "django.templatetags.cache"})


_worked: list[float] = []


def _work() -> str:
    began = time.perf_counter()
    time.sleep(WORK)
    _worked.append(time.perf_counter() - began)
    return "value"


@pytest.mark.parametrize(
    ("idiom", "states", "copies"),
    [
        (throttle, {"throttle_anon_{ip}"}, set()),
        (ratelimit, {"rl:{int}"}, set()),
        (failed_logins, {"axes-{int}"}, set()),
        (beat_lock, {"lock:report:{int}"}, set()),
        (namespace, {"products:version"}, {"products:list:{int}"}),
        (deny_list, {"deny:{ip}"}, set()),
        (maintenance_flag, set(), {"maintenance-mode"}),
        (querysets, set(), {"api:product:{text}"}),
        (session, {"session"}, set()),
        (fragment, set(), {"fragment sidebar"}),
    ],
)
def test_a_healthy_idiom_has_no_finding(
    idiom: Callable[[int], None], states: set[str], copies: set[str]
) -> None:
    for number in range(VISITS):
        _visit(lambda number=number: idiom(number))  # type: ignore[misc]  # mypy infers no default
    report = _report()
    assert report.findings == []
    groups = report.caches["default"].key_groups
    assert {each.group for each in groups if each.is_state} == states
    assert {each.group for each in groups} == states | copies
    assert all(each.seconds_saved == 0 for each in groups if each.is_state)


def test_what_a_cache_saves_is_what_a_stopwatch_says() -> None:
    """Of two groups, one dear and asked for seldom, one cheap and asked for often, each view saves
    what its own takes. What a value took lies between two stopwatches, one within the work and one
    around the call that made it; all else is exact."""
    inside: dict[str, float] = {"dear": 0.0, "cheap": 0.0}
    around: dict[str, float] = {"dear": 0.0, "cheap": 0.0}
    visits = {"dear": 40, "cheap": 400}

    def made(name: str, seconds: float) -> Callable[[], str]:
        def make() -> str:
            began = time.perf_counter()
            time.sleep(seconds)
            inside[name] += time.perf_counter() - began
            return name

        return make

    for name, seconds in (("dear", 0.05), ("cheap", 0.002)):
        for number in range(visits[name]):
            began = time.perf_counter()
            _cache().get_or_set(f"{name}:{number % 4}", made(name, seconds), 300)
            if number < KEYS:
                around[name] += time.perf_counter() - began
    cache = _report().caches["default"]
    for name, asked in visits.items():
        group = _group(cache, f"{name}:{{int}}")
        assert group.produced == KEYS
        took = group.produce_seconds or 0.0
        assert inside[name] <= KEYS * took <= around[name]
        assert group.seconds_saved == pytest.approx((asked - KEYS) * took - group.seconds)


def test_a_cached_page_saves_once_what_it_takes() -> None:
    worked: list[float] = []

    @cache_page(300)
    def page(request: HttpRequest) -> HttpResponse:
        began = time.perf_counter()
        time.sleep(0.03)
        worked.append(time.perf_counter() - began)
        return HttpResponse("page")

    for _ in range(100):
        _visit_page(page)
    report = _report()
    cache = report.caches["default"]
    [made] = worked
    [view] = cache.views
    [group] = [each for each in cache.key_groups if each.kind == "page"]
    took = group.produce_seconds or 0.0
    assert took >= made
    # Each hit once, though it takes two lookups: of the list of headers and of the page.
    assert view.lookups == 199
    assert view.seconds_saved == pytest.approx(99 * took - view.seconds)
    assert cache.seconds_saved == pytest.approx(99 * took - view.seconds)
    assert report.findings == []


Mistake = Callable[[int], None]


def lost_url(number: int) -> None:
    """Asks eight times in a request for what nobody ever stores."""
    for part in range(8):
        _cache().get(f"urlrev_{part}")


def one_of_a_kind(number: int) -> None:
    """Keeps each answer under a key of its own, which takes 4 ms to make."""
    _cache().get_or_set(f"search:{number}", _work, 300)


def overwritten_list(number: int) -> None:
    """Reads and writes one growing list."""
    ring = _cache().get("key-ring", "")
    _cache().set("key-ring", ring + "x" * 200, 300)


@pytest.mark.parametrize(
    ("mistake", "code", "group", "worth"),
    [
        (lost_url, "never-stored", "urlrev_{int}", "failed_calls"),
        (one_of_a_kind, "key-explosion", "search:{int}", "seconds"),
        (overwritten_list, "overwritten", "key-ring", "bytes"),
    ],
)
def test_a_mistake_is_found_where_it_is_with_what_it_costs(
    mistake: Mistake, code: str, group: str, worth: str
) -> None:
    _worked.clear()
    for number in range(VISITS):
        _visit(lambda number=number: mistake(number))  # type: ignore[misc]  # as above
        if number % 20 == 0:
            # In local memory a value's size is looked up when its call is counted.
            cache_monitor.flush()
    report = _report()
    [finding] = report.findings
    assert (finding.code, finding.group) == (code, group)
    cache = report.caches["default"]
    # An hour of it is as busy as the steps of the report that had calls.
    first, second = (datetime.fromisoformat(point.at) for point in cache.series[:2])
    busy = sum(point.lookups > 0 for point in cache.series)
    hours = 3600 / (busy * (second - first).total_seconds())
    expected = {
        "failed_calls": VISITS * 8 * hours,
        "seconds": sum(_worked) * hours,
        "bytes": 200 * VISITS * (VISITS - 1) / 2,
    }
    assert getattr(finding.worth, worth) == pytest.approx(expected[worth], rel=0.2)
