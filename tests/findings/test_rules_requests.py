from typing import Any

import pytest
from msgspec.structs import replace

from cache_monitor.reports import GroupOfView, View
from tests.findings.healthy import LOCMEM, cache, codes, findings, group, operation


def asked(**figures: Any) -> Any:
    return cache(key_groups=[group("line:{int}", **figures)])


def test_values_that_are_produced_by_many_at_once_are_found() -> None:
    [finding] = findings(asked(produced=2500, stampedes=2000))
    assert (finding.code, finding.group) == ("stampede", "line:{int}")
    assert finding.evidence["lost_seconds"] == 40.0


def test_two_workers_who_always_produce_at_once_are_found() -> None:
    assert codes(asked(produced=4000, stampedes=2000)) == [("stampede", "line:{int}")]


@pytest.mark.parametrize(
    "harmless",
    [
        {"produced": 9000, "stampedes": 2000},
        {"produced": 2500, "stampedes": 1700},
        {"produced": 9, "stampedes": 9, "produce_seconds": 60.0},
    ],
    ids=["mostly alone", "soon produced", "a few"],
)
def test_what_now_and_then_two_produce_at_once_is_no_finding(harmless: Any) -> None:
    assert codes(asked(**harmless)) == []


SINGLE: dict[str, Any] = {"single_gets": 5200, "single_gets_requests": 200}
REPEATED: dict[str, Any] = {
    "repeated_gets": 5000,
    "repeated_gets_requests": 200,
    "repeated_seconds": 1.0,
}


@pytest.mark.parametrize(
    ("code", "figures"), [("single-gets", SINGLE), ("repeated-gets", REPEATED)]
)
def test_gets_that_make_each_request_wait_are_found(code: str, figures: Any) -> None:
    """25 of 0.2 ms are the 5 ms that a request may lose."""
    [finding] = findings(asked(**figures))
    assert (finding.code, finding.group) == (code, "line:{int}")
    assert finding.evidence["lost_request_seconds"] == pytest.approx(0.005)
    assert finding.evidence["requests"] == 200


@pytest.mark.parametrize(
    "figures",
    [{**SINGLE, "single_gets": 5000}, {**REPEATED, "repeated_seconds": 0.98}],
)
def test_gets_that_cost_a_request_little_are_no_finding(figures: Any) -> None:
    assert codes(asked(**figures)) == []


@pytest.mark.parametrize(
    "figures",
    [
        {"single_gets": 200_000, "single_gets_requests": 10_000},
        {"repeated_gets": 190_000, "repeated_gets_requests": 10_000, "repeated_seconds": 38.0},
    ],
)
def test_gets_that_cost_each_request_little_and_all_of_them_much_are_found(figures: Any) -> None:
    assert len(codes(asked(**figures))) == 1


def test_a_backend_whose_get_many_is_a_loop_of_gets_gains_nothing_by_it() -> None:
    slow = {"get": operation(seconds=9.0)}
    assert codes(cache(backend=LOCMEM, operations=slow, key_groups=[group(**SINGLE)])) == [
        ("local-memory-many-processes", None)
    ]


def test_what_is_produced_as_quickly_as_it_is_got_needs_no_get_many() -> None:
    cheap = {"produce_seconds": 0.00004}
    assert codes(asked(**SINGLE, **cheap)) == [("cheap-to-recompute", "line:{int}")]
    assert codes(asked(**SINGLE, **cheap, produced=1)) == []


def bound(**figures: Any) -> Any:
    """A view whose 100 requests make 40 calls each, in half of their time."""
    made = View(
        view="shop:metrics",
        requests=100,
        lookups=12_000,
        misses=0,
        misses_per_request=0.0,
        seconds=40.0,
        share_of_request=0.5,
        calls=4000,
        groups=[
            GroupOfView(group="metric:{int}", keys=9000, lookups=9000, hits=9000, seconds=30.0),
            GroupOfView(group="unit:{int}", keys=3000, lookups=3000, hits=3000, seconds=10.0),
        ],
    )
    return cache(views=[replace(made, **figures)])


def test_a_view_that_waits_for_many_calls_is_found_with_what_it_calls_for() -> None:
    [finding] = findings(bound())
    assert (finding.code, finding.group) == ("cache-bound-view", "metric:{int}")
    assert finding.evidence["view"] == "shop:metrics"
    assert finding.evidence["calls_each"] == 40.0
    assert finding.evidence["groups"] == "metric:{int}, unit:{int}"
    assert finding.worth.seconds == 40.0


@pytest.mark.parametrize(
    "harmless",
    [
        {"calls": 900},
        {"share_of_request": 0.3},
        {"seconds": 4.9},
        {"groups": []},
    ],
    ids=["a few calls", "a small share", "quick", "nothing named"],
)
def test_a_view_that_hardly_waits_is_no_finding(harmless: Any) -> None:
    assert codes(bound(**harmless)) == []


def test_of_a_view_whose_calls_are_named_already_nothing_more_is_said() -> None:
    ill = replace(bound(), key_groups=[group("metric:{int}", **SINGLE)])
    assert codes(ill) == [("single-gets", "metric:{int}")]


def test_what_no_middleware_has_seen_is_no_finding() -> None:
    unseen = dict.fromkeys([*SINGLE, *REPEATED])
    assert codes(asked(**unseen)) == []


def test_groups_that_share_one_total_are_not_named() -> None:
    of_many = GroupOfView(group="(other groups)", keys=9, lookups=9, hits=9, seconds=30.0)
    assert codes(bound(groups=[of_many])) == []
