"""Each mistake, planted in an hour of a site's use, is found where it is, with what it costs.

The clock is the test's: what a mistake costs is known to the millisecond.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from string import ascii_lowercase
from typing import Final, NamedTuple

import pytest
from django.core.cache.backends import locmem
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.cache import cache_page

import cache_monitor
from cache_monitor.reports import Finding, Worth
from tests.idioms.hours import CALL, SimulatedHour, simulated_hour

pytestmark = pytest.mark.django_db

VISITS: Final = 1000
PAGE: Final = 0.03
"""Seconds that a page takes beside."""
WORK: Final = 0.1
GROWTH: Final = 200
SOME: Final = 120
"""Visits that tell enough of a mistake that costs each of them the same: two a minute, so that none
is without, wherever it begins."""
LARGE: Final = 100_000
QUICK: Final = 0.000039
NAMES: Final = [f"{one}{other}" for one in ("anna", "bert", "carl") for other in ascii_lowercase]

urlpatterns = [path("", lambda request: HttpResponse(), name="front-page")]


@pytest.fixture
def room() -> int:
    """How many entries the cache holds."""
    return 50_000


@pytest.fixture
def hour(room: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedHour]:
    with simulated_hour(monkeypatch, room=room) as hour:
        yield hour


class Visit(NamedTuple):
    """A request, the number of which it is of the hour."""

    hour: SimulatedHour
    number: int
    request: HttpRequest

    def work(self) -> str:
        return str(self.hour.work(WORK))


def asked_for_and_never_stored(visit: Visit) -> None:
    for part in range(8):
        visit.hour.cache.get(f"urlrev_{part}")


def asked_for_by_a_name_and_never_stored(visit: Visit) -> None:
    """Fifteen times for each of many users."""
    for _ in range(15):
        visit.hour.cache.get(f"avatar-img-{NAMES[visit.number % len(NAMES)]}")


def one_of_a_kind(visit: Visit) -> None:
    visit.hour.cache.get_or_set(f"search:{visit.number}", visit.work, 300)


def one_list_that_grows(visit: Visit) -> None:
    ring = visit.hour.cache.get("key-ring", "")
    visit.hour.cache.set("key-ring", ring + "x" * GROWTH, 300)


def warmed_in_vain(visit: Visit) -> None:
    visit.hour.cache.set(f"warm:{visit.number}", "x" * 20_000, 600)


def gone_before_it_is_asked_for_again(visit: Visit) -> None:
    """Each of five keys is asked for every 18 seconds."""
    visit.hour.cache.get_or_set(f"price:{visit.number % 5}", visit.work, 10)


def asked_for_too_seldom(visit: Visit) -> None:
    """Each of 200 keys is asked for five times in the hour, and its value is another each time."""
    visit.hour.cache.get_or_set(
        f"profile:{visit.number % 200}", lambda: (visit.work(), visit.number), 60
    )


def deleted_at_once(visit: Visit) -> None:
    key = f"basket:{visit.number % 10}"
    visit.hour.cache.get_or_set(key, visit.work, 300)
    visit.hour.cache.delete(key)


def one_by_one(visit: Visit) -> None:
    if visit.number == 0:
        visit.hour.cache.set_many({f"item:{part}": part for part in range(40)}, None)
    for part in range(40):
        visit.hour.cache.get(f"item:{part}")


def the_same_ones_again(visit: Visit) -> None:
    keys = [f"block:{part}" for part in range(10)]
    if visit.number == 0:
        visit.hour.cache.set_many(dict.fromkeys(keys, 1), None)
    for _ in range(31):
        visit.hour.cache.get_many(keys)


def counted_row_by_row(visit: Visit) -> None:
    for row in range(140):
        key = f"seen:{row % 3}"
        if not visit.hour.cache.add(key, 1, None):
            visit.hour.cache.incr(key)


def others_each_time(visit: Visit) -> None:
    """What ``get_many`` asks for counts as well."""
    if visit.number == 0:
        visit.hour.cache.set_many({f"figure:{part}": part for part in range(520)}, 7200)
    for part in range(260):
        visit.hour.cache.get_many([f"figure:{2 * part}", f"figure:{2 * part + 1}"])


def quicker_to_make(visit: Visit) -> None:
    visit.hour.cache.get_or_set(f"sum:{visit.number % 20}", lambda: visit.hour.work(CALL / 2), 3600)


def quicker_to_make_and_one_by_one(visit: Visit) -> None:
    """Forty in a request, which is not to be mended by ``get_many``."""
    for part in range(40):
        visit.hour.cache.get_or_set(f"sum:{part}", lambda: visit.hour.work(QUICK), 600)


def written_after_every_hit(visit: Visit) -> None:
    key = f"basket:{visit.number % 5}"
    visit.hour.cache.get(key)
    visit.hour.cache.set(key, "x" * LARGE, 3600)


def more_than_there_is_room_for(visit: Visit) -> None:
    visit.hour.cache.get_or_set(f"crowded:{visit.number % 60}", visit.work, 3600)


def taken_away_from_outside(visit: Visit) -> None:
    """As by a server that begins anew, again and again."""
    if visit.number % 20 == 10:
        for entries in (*locmem._caches.values(), *locmem._expire_info.values()):  # type: ignore[attr-defined]  # private
            entries.clear()
    visit.hour.cache.get_or_set(f"stock:{visit.number % 20}", visit.work, 3600)


def under_a_hash(visit: Visit) -> None:
    key = hashlib.sha256(str(visit.number % 5).encode()).hexdigest()
    visit.hour.cache.get_or_set(key, visit.work, 10)


class Mistake(NamedTuple):
    """What a site does wrong, what that is called, and what it costs an hour."""

    make: Callable[[Visit], None]
    code: str
    group: str
    cost: Worth
    visits: int = VISITS


MISTAKES: Final = [
    Mistake(
        asked_for_and_never_stored,
        "never-stored",
        "urlrev_{int}",
        Worth(seconds=8 * VISITS * CALL, failed_calls=8 * VISITS),
    ),
    Mistake(
        asked_for_by_a_name_and_never_stored,
        "never-stored",
        "avatar-img-{text}",
        Worth(seconds=15 * 2 * SOME * CALL, failed_calls=15 * 2 * SOME),
        2 * SOME,
    ),
    Mistake(one_of_a_kind, "key-explosion", "search:{int}", Worth(seconds=VISITS * WORK)),
    Mistake(
        one_list_that_grows,
        "overwritten",
        "key-ring",
        Worth(seconds=VISITS * CALL, bytes=GROWTH * VISITS * VISITS // 2),
    ),
    Mistake(warmed_in_vain, "never-read", "warm:{int}", Worth(bytes=20_000 * VISITS)),
    Mistake(
        gone_before_it_is_asked_for_again,
        "short-timeout",
        "price:{int}",
        Worth(seconds=VISITS * WORK),
    ),
    Mistake(
        asked_for_too_seldom,
        "low-hit-ratio",
        "profile:{int}",
        Worth(seconds=(VISITS - 200) * WORK),
    ),
    Mistake(deleted_at_once, "deleted-early", "basket:{int}", Worth(seconds=VISITS * WORK)),
    Mistake(one_by_one, "single-gets", "item:{int}", Worth(seconds=39 * SOME * CALL), SOME),
    Mistake(
        the_same_ones_again,
        "repeated-gets",
        "block:{int}",
        Worth(seconds=30 * SOME * CALL),
        SOME,
    ),
    Mistake(
        counted_row_by_row,
        "cache-bound-view",
        "seen:{int}",
        Worth(seconds=280 * SOME * CALL),
        SOME,
    ),
    Mistake(
        quicker_to_make,
        "cheap-to-recompute",
        "sum:{int}",
        Worth(seconds=VISITS * CALL - (VISITS - 20) * CALL / 2),
    ),
    Mistake(
        others_each_time,
        "cache-bound-view",
        "figure:{int}",
        Worth(seconds=260 * SOME * CALL),
        SOME,
    ),
    Mistake(
        quicker_to_make_and_one_by_one,
        "cheap-to-recompute",
        "sum:{int}",
        Worth(seconds=40 * SOME * (CALL - QUICK)),
        SOME,
    ),
    Mistake(
        written_after_every_hit,
        "overwritten",
        "basket:{int}",
        Worth(seconds=SOME * 4 * CALL, bytes=SOME * 4 * LARGE),
        SOME * 4,
    ),
    Mistake(
        taken_away_from_outside,
        "lost-entries",
        "stock:{int}",
        Worth(seconds=(VISITS - 20) * WORK),
    ),
    Mistake(under_a_hash, "short-timeout", "{hash}", Worth(seconds=(VISITS - 5) * WORK)),
]


@pytest.mark.urls(__name__)
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.make.__name__)
def test_a_mistake_is_found_where_it_is_with_what_it_costs(
    mistake: Mistake, hour: SimulatedHour
) -> None:
    for number in hour.moments(mistake.visits):
        _visit(hour, mistake.make, number)
    finding = _found(hour, mistake)
    # Whose keys say nothing has the view that asks for them.
    assert (finding.evidence.get("view") == "front-page") == (
        mistake.group == "{hash}" or mistake.code in {"never-stored", "cache-bound-view"}
    )


@pytest.mark.parametrize("room", [20])
def test_a_cache_that_is_too_small_is_found_by_what_it_evicts(hour: SimulatedHour) -> None:
    for number in hour.moments(VISITS):
        _visit(hour, more_than_there_is_room_for, number)
    cost = Worth(seconds=(VISITS - 60) * WORK)
    _found(hour, Mistake(more_than_there_is_room_for, "evicted-early", "crowded:{int}", cost))


@pytest.mark.parametrize("room", [20])
def test_pages_that_a_cache_is_too_small_for_are_found_by_their_work(hour: SimulatedHour) -> None:
    """Whose misses are on the lists of their headers."""

    @cache_page(3600)
    def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse(hour.work(WORK))

    for number in hour.moments(VISITS):
        hour.visit(page, f"/page/{number % 60}/")
    [finding] = hour.report().findings
    assert (finding.code, finding.group) == ("evicted-early", "page GET (no route)")
    assert finding.worth.seconds == pytest.approx((VISITS - 60) * WORK, rel=0.2)


def test_what_costs_more_is_told_first(hour: SimulatedHour) -> None:
    several = (asked_for_and_never_stored, quicker_to_make, gone_before_it_is_asked_for_again)
    for number in hour.moments(400):
        for each in several:
            _visit(hour, each, number)
    found = hour.report().findings
    assert [each.group for each in found] == ["price:{int}", "urlrev_{int}", "sum:{int}"]
    costs = [each.worth.seconds or 0.0 for each in found]
    assert costs == sorted(costs, reverse=True)


def _found(hour: SimulatedHour, mistake: Mistake) -> Finding:
    """The only finding of the hour, which says no more than was counted."""
    report = hour.report()
    assert [(each.code, each.group) for each in report.findings] == [(mistake.code, mistake.group)]
    [finding] = report.findings
    for name in ("seconds", "bytes", "failed_calls"):
        expected = getattr(mistake.cost, name)
        if expected is not None:
            assert getattr(finding.worth, name) == pytest.approx(expected, rel=0.2)
    operations = report.caches["default"].operations.values()
    spent = hour.worked + sum(each.seconds.total for each in operations)
    keys = sum(each.keys for each in operations)
    assert float(finding.evidence.get("lost_seconds") or 0.0) <= spent + 0.001
    assert int(finding.evidence.get("distinct_keys") or 0) <= keys
    return finding


def _visit(hour: SimulatedHour, make: Callable[[Visit], None], number: int) -> None:
    def view(request: HttpRequest) -> None:
        make(Visit(hour, number, request))
        hour.clock.go_on(PAGE)

    hour.visit(view)
    if number % 20 == 0:
        # In local memory a value's size is looked up when its call is counted.
        assert cache_monitor.flush()


def test_pages_that_nobody_asks_for_twice_are_found_by_their_work(hour: SimulatedHour) -> None:
    """The misses are on the lists of their headers."""

    @cache_page(300)
    def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse(hour.work(WORK))

    for number in hour.moments(VISITS):
        hour.visit(page, f"/search/?q={number}")
    [finding] = hour.report().findings
    assert (finding.code, finding.group) == ("key-explosion", "page GET (no route)")
    assert finding.worth.seconds == pytest.approx(hour.worked, rel=0.2)


def test_one_of_a_kind_pages_are_found_among_those_that_are_asked_for(hour: SimulatedHour) -> None:
    """Ten pages serve most requests; 500 others come by once, with a query string of their own."""

    @cache_page(1200)
    def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse(hour.work(WORK))

    for number in hour.moments(2 * VISITS):
        query = f"?utm={number}" if number % 4 == 3 else ""
        hour.visit(page, f"/page/{number % 10}/{query}")
    [finding] = hour.report().findings
    assert (finding.code, finding.group) == ("key-explosion", "page GET (no route)")
    assert finding.evidence["one_of_a_kind"] == pytest.approx(500, rel=0.2)
    assert finding.worth.seconds == pytest.approx(500 * WORK, rel=0.2)
