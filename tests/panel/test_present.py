"""From the store's account to what the templates show."""

from __future__ import annotations

from typing import Any, cast

import pytest

from cache_monitor.calls import RawCall
from cache_monitor.panel import site
from cache_monitor.panel.hints import Usage
from cache_monitor.panel.present import KEY_LENGTH, REASONS, RequestReport
from cache_monitor.panel.request import RequestRows
from cache_monitor.panel.site import Places, RecentComputeTimes, SiteStats
from cache_monitor.stacks import PackedStacks
from tests.panel.making import call, rows_of

PAGE = f"views.decorators.cache.cache_page..GET.{'a' * 32}.{'b' * 32}.en.UTC"
STACKS: PackedStacks = {
    "frames": [["/srv/shop/views.py", 3, "view"], ["/srv/shop/views.py", 9, "other"]],
    "nodes": [[None, 0], [None, 1]],
}


@pytest.fixture(autouse=True)
def fresh_compute_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "compute_times", RecentComputeTimes())


def request_report(
    *calls: RawCall, stacks: tuple[int | None, ...] = (), **stats: Any
) -> RequestReport:
    rows = rows_of(*calls, route=stats.pop("route", None))
    for row, stack in zip(rows, stacks, strict=False):
        row["stack"] = stack
    total = {"calls": len(rows), "milliseconds": 2.0, "request_milliseconds": 20.0}
    given = {"calls": rows, "stacks": STACKS, "total": total, "pages": []}
    kept = {"varies_by_cookie": False, "view": None, **given, **stats}
    return RequestReport(cast(RequestRows, kept), ())


def context(
    told: RequestReport,
    reasons: Places | None = None,
    site_stats: SiteStats | None = None,
    most: int = 500,
) -> dict[str, Any]:
    return told.context(reasons or {}, site_stats or SiteStats(), most)


def test_the_share_of_the_request_is_told() -> None:
    assert context(request_report(call("get", "a", True)))["total"][
        "share_percent"
    ] == pytest.approx(10.0)


def test_a_request_that_took_no_time_has_no_share() -> None:
    told = request_report(total={"calls": 0, "milliseconds": 0.0, "request_milliseconds": 0.0})
    assert context(told)["total"]["share_percent"] is None


def test_a_long_key_is_cut_and_its_title_has_more_of_it() -> None:
    short, long = context(request_report(call("get", "a"), call("get", "k" * 400)))["calls"]
    assert (short.keys[0].text, short.keys[0].title) == ("a", "")
    assert len(long.keys[0].text) == KEY_LENGTH
    assert len(long.keys[0].title) == 250


def test_a_miss_has_its_reason_and_one_that_nobody_knows_says_so() -> None:
    told = request_report(call("get_many", ("a", "b", "c"), (False, False, True)))
    [shown] = context(told, {(0, 0): "expired"})["calls"]
    expected = [REASONS["expired"], REASONS["unknown"], None]
    assert [key.reason for key in shown.keys] == expected


def test_the_header_sums_up_the_reasons() -> None:
    told = request_report(call("get", "a", False), call("get", "b", False))
    places: Places = {(0, 0): "expired", (1, 0): "expired"}
    assert context(told, places)["reasons"] == [(REASONS["expired"], 2)]


def test_a_page_is_called_by_its_route_and_a_key_by_its_group() -> None:
    told = request_report(
        call("get", PAGE, True), call("get", "user:7"), call("get", "a"), route="/offers/"
    )
    labels = [each.keys[0].label for each in context(told)["calls"]]
    assert labels == ["page /offers/", "user:{int}", ""]


def test_a_call_is_put_down_to_its_line_and_a_stack_is_shown_once() -> None:
    told = request_report(*[call("get", "a", at=n) for n in range(3)], stacks=(0, 1, 0))
    first, second, third = context(told)["calls"]
    assert [each.caller.line for each in (first, second, third)] == [3, 9, 3]
    assert [len(each.trace) for each in (first, second, third)] == [1, 1, 0]
    assert [each.same_as for each in (first, second, third)] == [None, None, 1]


def test_a_hint_names_the_line_and_the_first_of_its_calls() -> None:
    calls = [call("get", f"p:{n}", True, at=n) for n in range(20)]
    told = request_report(*calls, stacks=(1,) * 20)
    [hint] = context(told)["hints"]
    assert (hint.hint.code, hint.place.line) == ("single-gets", 9)
    assert list(hint.numbers) == list(range(1, 13))
    assert hint.more == 8


def test_a_page_that_varies_by_cookie_is_put_down_to_its_view() -> None:
    told = request_report(
        call("set", PAGE), varies_by_cookie=True, view=["/srv/shop/views.py", 40, "offers"]
    )
    [hint] = context(told)["hints"]
    assert (hint.hint.code, hint.place.line, hint.place.function) == ("key-explosion", 40, "offers")


def test_the_sites_usage_is_asked_about_writes() -> None:
    usage = {("default", "report:{int}"): Usage(sets=50, uses=0)}
    [hint] = context(request_report(call("set", "report:1")), site_stats=SiteStats(usage=usage))[
        "hints"
    ]
    assert hint.hint.code == "never-read"


def test_what_this_request_produced_tells_more_than_what_the_site_did() -> None:
    told = request_report(
        call("get", "a", False, took=1),
        call("set", "a", at=41, took=1),
        call("get", "a", True, at=50, took=1),
        call("get", "b", True, at=51, took=1),
    )
    means = {("default", "a"): 500.0, ("default", "b"): 11.0}
    shown = context(told, site_stats=SiteStats(means=means))
    assert shown["saved"].milliseconds == pytest.approx(39.0 + 10.0)
    assert shown["saved_text"] == "49.00"


def test_what_costs_more_than_it_saves_has_a_minus_sign() -> None:
    told = request_report(call("get", "a", True, took=1.25))
    shown = context(told, site_stats=SiteStats(means={("default", "a"): 1.0}))
    assert shown["saved_text"] == "\N{MINUS SIGN}0.25"


def test_only_so_many_calls_are_listed_and_all_of_those_kept_count() -> None:
    told = request_report(*[call("get", "a", True, at=n) for n in range(10)])
    shown = context(told, most=4)
    assert (len(shown["calls"]), shown["shown_calls"], shown["kept_calls"]) == (4, 4, 10)
    assert shown["saved"].hits == 10


def test_filters_offer_what_there_is() -> None:
    shown = context(
        request_report(
            call("get_many", ("a", "b"), (True, False)),
            call("set", "a", alias="files"),
            call("incr", "a", error="ValueError"),
        )
    )
    assert shown["aliases"] == ["default", "files"]
    assert shown["operations"] == ["get_many", "set", "incr"]
    assert shown["outcomes"] == ["hit", "miss", "write", "error"]


@pytest.mark.parametrize(
    ("made", "title"),
    [
        (call("get", "a", False, at=1, took=0.5), "#1 get a · miss · 0.500 ms, at 1.00 ms"),
        (call("get_many", ("a", "b"), (True, True)), "#1 get_many a (+1) · hit · 1.000 ms"),
        (call("incr", "a", error="ValueError"), "#1 incr a · raised ValueError · 1.000 ms"),
        (call("clear", None), "#1 clear · 1.000 ms"),
    ],
    ids=["a miss", "several keys", "an error", "no key"],
)
def test_a_bar_says_what_its_call_was(made: RawCall, title: str) -> None:
    [timeline] = context(request_report(made))["timelines"]
    assert timeline.lanes[0].bars[0].title.startswith(title)
