"""The page that says what other sizes, policies and timeouts would bring."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.sites import site
from django.http import QueryDict
from django.test import Client
from django.urls import reverse
from django.utils import translation
from msgspec.structs import replace

from cache_monitor.dashboard import what_if
from cache_monitor.dashboard.query import Links, parse_query
from cache_monitor.reports import Cache
from cache_monitor.what_if import Bytes, TimeoutOption, Timeouts
from tests.dashboard.conftest import ShowReport
from tests.dashboard.reports import (
    NOW,
    busy_cache,
    predicted_cache,
    prediction,
    quiet_cache,
    report_of,
)


def links() -> Links:
    return Links(site, parse_query(QueryDict(), NOW))


def problem(cache: Cache) -> str:
    (row,) = what_if.whatif_rows({"default": cache})
    return row.problem


def test_a_cache_that_was_not_called_is_not_on_the_page() -> None:
    assert what_if.whatif_rows({"default": quiet_cache()}) == []


def test_what_is_not_predicted_yet_says_when_it_will_be() -> None:
    assert "within minutes of traffic" in problem(busy_cache())


def test_too_short_a_trace_says_how_much_it_takes() -> None:
    little = replace(prediction(), entries=[], lookups=412, hit_ratio=None)
    assert problem(replace(busy_cache(), what_if=little)) == (
        "The trace has 412 lookups so far; a prediction takes 1,000."
    )


def test_a_simulation_that_is_not_like_the_truth_is_told_with_both_figures() -> None:
    wrong = replace(prediction(), entries=[], hit_ratio=0.5, observed_hit_ratio=0.8)
    text = problem(replace(busy_cache(), what_if=wrong))
    assert "50.0%" in text
    assert "80.0%" in text


def test_a_cache_that_stores_nothing_is_told_so() -> None:
    dummy = replace(busy_cache(), backend="django.core.cache.backends.dummy.DummyCache")
    assert "stores nothing" in problem(dummy)


def test_a_prediction_says_what_it_rests_on() -> None:
    (row,) = what_if.whatif_rows({"default": predicted_cache()})
    assert row.problem == ""
    assert list(row.basis) == [
        "policy: locmem",
        "today room for 1,000 entries",
        "observed 71.2%, simulated 71.0%",
        "2,048 keys traced, 25.0% of all",
    ]


def test_an_assumed_policy_and_no_limit_are_told_as_such() -> None:
    it = replace(prediction(), policy="allkeys-lru", policy_is_assumed=True, room=None, rate=1.0)
    (row,) = what_if.whatif_rows({"default": replace(busy_cache(), what_if=it)})
    assert list(row.basis) == [
        "assumed: allkeys-lru",
        "today no limit, about 1,000 entries held",
        "observed 71.2%, simulated 71.0%",
        "every key traced (2,048)",
    ]


def test_the_table_of_sizes_has_the_figures_of_the_chart() -> None:
    spec = what_if.sizes({"default": predicted_cache()})
    assert spec.records() == [
        {
            "factor": 0.5,
            "entries": 500,
            "hit_ratio": 0.6,
            "error": 0.01,
            "seconds_saved_per_hour": -40.0,
            "allkeys-lfu": 0.62,
            "optimum": 0.7,
        },
        {
            "factor": 1.0,
            "entries": 1000,
            "hit_ratio": 0.71,
            "error": 0.01,
            "seconds_saved_per_hour": 0.0,
            "allkeys-lfu": 0.72,
            "optimum": 0.8,
        },
        {
            "factor": 2.0,
            "entries": 2000,
            "hit_ratio": 0.8,
            "error": 0.01,
            "seconds_saved_per_hour": 41.0,
            "allkeys-lfu": None,
            "optimum": None,
        },
    ]


def test_the_memory_that_a_size_takes_is_told_where_it_is_known() -> None:
    memory = [
        Bytes(bytes=1000 * each.entries, entries=each.entries, hit_ratio=None, error=None)
        for each in prediction().entries
    ]
    known = replace(busy_cache(), what_if=replace(prediction(), bytes=memory))
    spec = what_if.sizes({"default": known, "other": predicted_cache()})
    assert [record["bytes"] for record in spec.records()] == [
        *(500_000, 1_000_000, 2_000_000),
        *(None, None, None),
    ]


def test_a_group_has_its_timeout_and_the_one_that_gains_most() -> None:
    spec = what_if.timeouts({"default": predicted_cache()}, links(), None)
    (record,) = spec.records()
    assert record["timeout"] == 300.0
    assert record["times_2"] == 0.8
    assert record["times_8"] is None
    assert record["gains_most"] == 1200.0
    cells = {field.name: field.cell(spec.items[0]) for field in spec.columns}
    assert cells["gains_most"].text.startswith("20\u202fmin: +10.0 points ±1.00, +45")
    assert cells["times_8"].text == "–"
    assert "takes a trace of 1\u202fh 20\u202fmin; there are 1\u202fh" in cells["times_8"].title
    assert cells["unchanged"].text == cells["stale_share"].text == "–"


def group(*options: TimeoutOption) -> Timeouts:
    return Timeouts(group="product:{int}", timeout=300.0, hit_ratio=0.7, options=list(options))


def option(factor: float, ratio: float, stale: float | None = None) -> TimeoutOption:
    return TimeoutOption(
        factor=factor, timeout=300 * factor, hit_ratio=ratio, error=0.01, stale_share=stale
    )


def test_no_timeout_is_named_that_may_gain_nothing() -> None:
    assert group(option(2, 0.705)).best(None) is None


def test_of_the_timeouts_those_count_that_are_not_too_stale_for_the_reader() -> None:
    found = group(option(2, 0.8, 0.004), option(4, 0.85, 0.02))
    for most, timeout in ((None, 1200.0), (0.05, 1200.0), (0.01, 600.0)):
        best = found.best(most)
        assert best is not None
        assert best.timeout == timeout
    assert found.best(0.001) is None


def test_a_timeout_of_which_nobody_knows_how_stale_it_is_is_not_fresh_enough() -> None:
    it = replace(prediction(), timeouts=[group(option(2, 0.8)), group(option(2, 0.705, 0.0))])
    spec = what_if.timeouts({"default": replace(busy_cache(), what_if=it)}, links(), 0.01)
    (column,) = (field for field in spec.columns if field.name == "gains_most")
    texts = [column.cell(item).text for item in spec.items]
    assert texts == ["unknown: how stale it would be", "none of them"]


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_slider_has_its_numbers_as_browsers_read_them(
    viewer: Client, show_report: ShowReport, language: str
) -> None:
    it = replace(prediction(), timeouts=[group(option(2, 0.8, 0.004))])
    show_report(report_of(default=replace(busy_cache(), what_if=it)))
    with translation.override(language):
        page = viewer.get(reverse("admin:cache_monitor_what_if")).content.decode()
    slider = re.search(r'<input id="cm-stale"[^>]*>', page)
    assert slider is not None
    numbers = dict(re.findall(r'(min|max|step|value)="([^"]*)"', slider[0]))
    assert {name: float(text) for name, text in numbers.items()} == {
        "min": 0,
        "max": 10,
        "step": 0.5,
        "value": 10,
    }


def test_the_slider_is_there_where_the_share_of_stale_hits_is_known() -> None:
    assert not what_if.knows_stale_shares({"default": predicted_cache()})
    known = replace(prediction(), timeouts=[group(option(2, 0.8, 0.004))])
    assert what_if.knows_stale_shares({"default": replace(busy_cache(), what_if=known)})
