from typing import Any

import pytest

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
REPEATED: dict[str, Any] = {"repeated_gets": 5000, "repeated_gets_requests": 200}


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
    [{**SINGLE, "single_gets": 5000}, {**REPEATED, "repeated_gets": 4900}],
)
def test_gets_that_cost_a_request_little_are_no_finding(figures: Any) -> None:
    assert codes(asked(**figures)) == []


@pytest.mark.parametrize(
    "figures",
    [
        {"single_gets": 200_000, "single_gets_requests": 10_000},
        {"repeated_gets": 190_000, "repeated_gets_requests": 10_000},
    ],
)
def test_gets_that_cost_each_request_little_and_all_of_them_much_are_found(figures: Any) -> None:
    assert len(codes(asked(**figures))) == 1


def test_a_backend_whose_get_many_is_a_loop_of_gets_gains_nothing_by_it() -> None:
    slow = {"get": operation(seconds=9.0)}
    assert codes(cache(backend=LOCMEM, operations=slow, key_groups=[group(**SINGLE)])) == [
        ("local-memory-many-processes", None)
    ]


def test_what_no_middleware_has_seen_is_no_finding() -> None:
    unseen = dict.fromkeys([*SINGLE, *REPEATED])
    assert codes(asked(**unseen)) == []
