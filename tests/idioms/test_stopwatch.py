"""What a cache saves is what a stopwatch says: the work that its hits were spared, less its calls.

Each key has a cost of its own, between some milliseconds and a second, which varies a little; some
keys are asked for hundreds of times as often as others. The clock is the test's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from django.http import HttpRequest, HttpResponse
from django.template import Context, Engine
from django.views.decorators.cache import cache_page

from cache_monitor.reports import Cache
from tests.idioms.hours import CALL, SimulatedHour, simulated_hour

pytestmark = pytest.mark.django_db

TIMEOUT = 180
KEYS = 50
REQUESTS = 1500
_TEMPLATE = Engine(libraries={"cache": "django.templatetags.cache"}).from_string(
    "{% load cache %}{% cache timeout sidebar number %}{{ content }}{% endcache %}"
)


class Stopwatch:
    """Knows what each key takes to produce, and adds up what was spared."""

    def __init__(self, hour: SimulatedHour, vary: float = 0.1) -> None:
        self.hour = hour
        self.spared = 0.0
        self._vary = vary
        self._random = random.Random(19)
        self._costs = [self._random.lognormvariate(-3, 1) for _ in range(KEYS)]

    def pick(self, most: int = KEYS) -> int:
        """A key, the first ones much more often than the last."""
        return min(int(self._random.paretovariate(0.8)) - 1, most - 1)

    def picks(self) -> list[int]:
        return list({self.pick() for _ in range(6)})

    def cost(self, number: int) -> float:
        """What producing a value takes this time."""
        return self._costs[number] * self._random.lognormvariate(0, self._vary)

    def spare(self, number: int) -> None:
        self.spared += self.cost(number)

    def make(self, number: int) -> str:
        self.hour.work(self.cost(number))
        return "value"


@pytest.fixture
def hour(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedHour]:
    with simulated_hour(monkeypatch) as hour:
        yield hour


@pytest.fixture
def watch(hour: SimulatedHour) -> Stopwatch:
    return Stopwatch(hour)


class _Content:
    """What a template shows, made when it does."""

    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make

    def __str__(self) -> str:
        return self._make()


def get_or_set(watch: Stopwatch, timeout: int = TIMEOUT, most: int = KEYS) -> None:
    number, worked = watch.pick(most), watch.hour.worked
    watch.hour.cache.get_or_set(f"item:{number}", lambda: watch.make(number), timeout)
    if watch.hour.worked == worked:
        watch.spare(number)


def pairs(watch: Stopwatch) -> None:
    for number in watch.picks():
        if watch.hour.cache.get(f"item:{number}") is not None:
            watch.spare(number)
        else:
            watch.hour.cache.set(f"item:{number}", watch.make(number), TIMEOUT)


def gets_then_sets(watch: Stopwatch) -> None:
    """All lookups come first: what one value takes is no work for the next."""
    missed = []
    for number in watch.picks():
        if watch.hour.cache.get(f"item:{number}") is not None:
            watch.spare(number)
        else:
            missed.append(number)
    for number in missed:
        watch.hour.cache.set(f"item:{number}", watch.make(number), TIMEOUT)


def nested_pairs(watch: Stopwatch) -> None:
    """A list is made of its items, which are cached as well: its time has theirs in it."""
    numbers, worked = range(watch.pick(), KEYS, 10), watch.hour.worked
    key = f"list:{numbers[0]}"
    if watch.hour.cache.get(key) is None:
        for number in numbers:
            if watch.hour.cache.get(f"item:{number}") is None:
                watch.hour.cache.set(f"item:{number}", watch.make(number), 5)
        watch.hour.cache.set(key, "list", TIMEOUT)
    if watch.hour.worked == worked:
        for number in numbers:
            watch.spare(number)


def get_many(watch: Stopwatch) -> None:
    numbers = watch.picks()
    found = watch.hour.cache.get_many([f"item:{number}" for number in numbers])
    for number in numbers:
        if f"item:{number}" in found:
            watch.spare(number)
        else:
            watch.hour.cache.set(f"item:{number}", watch.make(number), TIMEOUT)


def set_many(watch: Stopwatch) -> None:
    numbers, made = watch.picks(), {}
    found = watch.hour.cache.get_many([f"item:{number}" for number in numbers])
    for number in numbers:
        if f"item:{number}" in found:
            watch.spare(number)
        else:
            made[f"item:{number}"] = watch.make(number)
    if made:
        watch.hour.cache.set_many(made, TIMEOUT)


def fragment(watch: Stopwatch) -> None:
    number, worked = watch.pick(), watch.hour.worked
    content = _Content(lambda: watch.make(number))
    _TEMPLATE.render(Context({"timeout": TIMEOUT, "number": number, "content": content}))
    if watch.hour.worked == worked:
        watch.spare(number)


def _own_seconds(cache: Cache) -> float:
    return sum(each.seconds.total for each in cache.operations.values())


def _stated(cache: Cache) -> tuple[float, float]:
    """What is saved, and how far off that may be."""
    assert cache.seconds_saved is not None
    assert cache.seconds_saved_error is not None
    return cache.seconds_saved, cache.seconds_saved_error


@pytest.mark.parametrize(
    "use",
    [get_or_set, pairs, gets_then_sets, nested_pairs, get_many, set_many, fragment],
)
def test_what_a_cache_saves_is_within_five_per_cent_of_the_truth(
    use: Callable[[Stopwatch], None], watch: Stopwatch
) -> None:
    for _ in watch.hour.moments(REQUESTS):
        watch.hour.visit(lambda request: use(watch))
    cache = watch.hour.report().caches["default"]
    truth = watch.spared - _own_seconds(cache)
    saved, error = _stated(cache)
    assert saved == pytest.approx(truth, rel=0.05)
    assert abs(saved - truth) <= error <= 0.16 * truth
    [view] = cache.views
    assert view.seconds_saved == pytest.approx(truth, rel=0.05)


def test_a_cached_page_saves_what_making_it_would_have_taken(watch: Stopwatch) -> None:
    """Its pages are looked up under two keys each, and the missed ones mostly under one."""
    asked: list[int] = []

    @cache_page(TIMEOUT)
    def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse(watch.make(asked[-1]))

    for _ in watch.hour.moments(REQUESTS):
        number, worked = watch.pick(), watch.hour.worked
        asked.append(number)
        watch.hour.visit(page, f"/page/{number}/")
        if watch.hour.worked == worked:
            watch.spare(number)
    cache = watch.hour.report().caches["default"]
    truth = watch.spared - _own_seconds(cache)
    saved, error = _stated(cache)
    assert saved == pytest.approx(truth, rel=0.05)
    assert abs(saved - truth) <= error
    assert cache.views[0].seconds_saved == pytest.approx(truth, rel=0.05)


def test_a_view_saves_by_what_each_of_its_hits_was_spared(watch: Stopwatch) -> None:
    """Cheap ones in each request, dear ones now and then, and thirty at once by one call."""
    hour = watch.hour
    figures = [f"figure:{number}" for number in range(30)]
    spared = 0.0

    def page(request: HttpRequest) -> None:
        nonlocal spared
        before = hour.worked
        hour.cache.get_or_set("menu", lambda: hour.work(0.004), 60)
        if number % 50 == 0:
            hour.cache.get_or_set("review", lambda: hour.work(5.4), 1000)
        found = hour.cache.get_many(figures)
        made = {key: hour.work(0.0005) for key in figures if key not in found}
        if made:
            hour.cache.set_many(made, 600)
        asked = 0.004 + 5.4 * (number % 50 == 0) + 0.0005 * len(figures)
        spared += asked - (hour.worked - before)

    for number in hour.moments(600):  # noqa: B007  # page() reads it
        hour.visit(page)
    cache = hour.report().caches["default"]
    truth = spared - _own_seconds(cache)
    [view] = cache.views
    assert (cache.seconds_saved, view.seconds_saved) == pytest.approx((truth, truth), rel=0.05)
    groups = {each.group: each for each in cache.key_groups}
    # Each of the thirty its share of its own call, not what a lookup takes on average.
    lookups = 600 * CALL
    assert groups["figure:{int}"].lookup_seconds == pytest.approx(lookups, rel=0.01)


def test_of_few_values_the_error_is_stated_as_large_as_it_is(watch: Stopwatch) -> None:
    """Three keys are produced once in the hour, whose times may be three times as long again."""
    varying = Stopwatch(watch.hour, vary=0.8)
    for _ in watch.hour.moments(REQUESTS):
        watch.hour.visit(lambda request: get_or_set(varying, timeout=7200, most=3))
    cache = watch.hour.report().caches["default"]
    [group] = cache.key_groups
    assert group.produced == 3
    truth = varying.spared - _own_seconds(cache)
    saved, error = _stated(cache)
    assert abs(saved - truth) <= error
    assert error > 0.5 * saved
    errors = [each.seconds_saved_error for each in cache.hot_keys]
    assert all(error is not None and error > 0 for error in errors)


def test_what_nobody_was_seen_to_make_is_not_known(watch: Stopwatch) -> None:
    cache = watch.hour.cache
    cache.set("made-elsewhere", 1, None)
    for _ in watch.hour.moments(50):
        watch.hour.visit(lambda request: cache.get("made-elsewhere"))
    [group] = watch.hour.report().caches["default"].key_groups
    assert (group.seconds_saved, group.seconds_saved_error) == (None, None)
    assert group.seconds == pytest.approx(51 * CALL, rel=0.01)
