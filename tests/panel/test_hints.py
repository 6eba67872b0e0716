"""What a request is told to change, and what it is not."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from cache_monitor.calls import Call, Source
from cache_monitor.conf import Thresholds
from cache_monitor.panel.hints import MANY_UNREAD_SETS, Hint, HintContext, Usage, hints
from cache_monitor.panel.request import CallRow
from cache_monitor.stats.access_patterns import MANY_REPEATS, MANY_SINGLES, AccessPatterns
from tests.panel.making import call, in_turn, rows_of

LARGE_BYTES = Thresholds().large_value_bytes
LINE = ("shop/views.py", 12)
PAGE = f"views.decorators.cache.cache_page..GET.{'a' * 32}.{'b' * 32}.en.UTC"
HEADERS = f"views.decorators.cache.cache_header..{'a' * 32}.en.UTC"


def told(rows: list[CallRow], lines: list[Any] | None = None, **case: Any) -> list[Hint]:
    return hints(HintContext(rows, lines or [LINE] * len(rows), **case))


def codes(rows: list[CallRow], lines: list[Any] | None = None, **case: Any) -> list[str]:
    return [hint.code for hint in told(rows, lines, **case)]


@pytest.mark.parametrize(
    "rows",
    [
        in_turn(("get", "product:1", True)),
        in_turn(("get", "product:1", False), ("set", "product:1")),
        in_turn(("get", "a", True), ("get", "b", True), ("get", "a", True)),
        in_turn(("get_many", tuple(f"p:{n}" for n in range(50)), (True,) * 50)),
        in_turn(("add", "lock"), ("delete", "lock")),
        in_turn(("add", "visits"), ("incr", "visits"), ("incr", "visits")),
        in_turn(*[("get", f"views:{n}:head", True) for n in range(MANY_SINGLES - 1)]),
        in_turn(("get", PAGE, True), ("get", HEADERS, True)),
        in_turn(("set", "last-seen:5"), ("get", "other", True)),
    ],
    ids=str,
)
def test_a_sensible_request_gets_no_hint(rows: list[CallRow]) -> None:
    assert told(rows) == []


def test_the_same_entry_again_and_again_is_told_with_what_it_cost() -> None:
    [hint] = told(in_turn(*[("get", "config", True)] * 4, took=2.0))
    assert (hint.code, hint.alias, hint.what) == ("repeated-gets", "default", "config")
    assert hint.calls == (0, 1, 2, 3)
    assert hint.saves == pytest.approx(6.0)


def test_keys_of_a_get_many_and_a_get_or_set_count_as_lookups_of_the_same_entry() -> None:
    rows = in_turn(
        ("get", "config", True),
        ("get_many", ("config", "other"), (True, True)),
        ("get_or_set", "config", True),
    )
    assert codes(rows) == ["repeated-gets"]


@pytest.mark.parametrize(
    "between",
    [("set", "config"), ("delete", "config"), ("incr", "config"), ("clear", None)],
    ids=lambda each: each[0],
)
def test_a_change_in_between_makes_the_next_lookup_a_new_one(between: tuple[Any, ...]) -> None:
    rows = in_turn(
        ("get", "config", True), ("get", "config", True), between, ("get", "config", True)
    )
    assert codes(rows) == []


def test_a_clear_of_another_cache_changes_nothing() -> None:
    rows = rows_of(
        call("get", "config", True, at=0),
        call("get", "config", True, at=1),
        call("clear", None, at=2, alias="files"),
        call("get", "config", True, at=3),
    )
    assert codes(rows) == ["repeated-gets"]


def test_filling_a_miss_is_no_change_of_what_was_asked_for() -> None:
    rows = in_turn(("get", "a", False), ("set", "a"), ("get", "a", True), ("get", "a", True))
    assert codes(rows) == ["repeated-gets"]


def test_the_same_key_of_another_cache_or_version_is_another_entry() -> None:
    rows = rows_of(
        call("get", "a", True, at=0),
        call("get", "a", True, at=1, alias="files"),
        call("get", "a", True, at=2, version=2),
    )
    assert codes(rows) == []


def test_a_lookup_that_failed_is_no_repeat() -> None:
    rows = rows_of(*(call("get", "a", None, at=n, error="OSError") for n in range(MANY_REPEATS)))
    assert codes(rows) == []


def test_gets_in_a_loop_are_told_with_the_round_trips_that_a_get_many_would_save() -> None:
    [hint] = told(in_turn(*[("get", f"price:{n}", True) for n in range(10)], took=2.0))
    assert (hint.code, hint.what) == ("single-gets", "price:{int}")
    assert len(hint.calls) == 10
    assert hint.saves == pytest.approx(18.0)
    assert hint.evidence.milliseconds_a_get == pytest.approx(2.0)


def test_misses_that_are_filled_one_by_one_are_a_loop_too() -> None:
    calls = [each for n in range(6) for each in (("get", f"price:{n}", False), ("set", f"p:{n}"))]
    assert codes(in_turn(*calls)) == ["single-gets"]


def test_gets_of_one_group_from_several_lines_are_no_loop() -> None:
    rows = in_turn(*[("get", f"user:{n}:name", True) for n in range(10)])
    assert codes(rows, [("shop/views.py", line) for line in range(10)]) == []


def test_without_stacks_the_group_alone_tells_a_loop() -> None:
    rows = in_turn(*[("get", f"price:{n}", True) for n in range(10)])
    assert codes(rows, [None] * 10) == ["single-gets"]


@pytest.mark.parametrize("key", ["template.cache.box.{:032x}", PAGE + "{}"], ids=["box", "page"])
def test_what_django_gets_by_itself_is_no_loop(key: str) -> None:
    rows = in_turn(*[("get", key.format(n), True) for n in range(10)])
    assert codes(rows) == []


def test_a_large_value_is_told_with_its_size() -> None:
    rows = rows_of(call("get", "catalogue", True, size=LARGE_BYTES + 1))
    [hint] = told(rows)
    assert (hint.code, hint.what) == ("large-values", "catalogue")
    assert hint.evidence.bytes == LARGE_BYTES + 1


def test_what_is_large_is_the_projects_to_say() -> None:
    rows = rows_of(call("get", "catalogue", True, size=2000))
    assert codes(rows, limits=Thresholds(large_value_bytes=1000)) == ["large-values"]


def test_many_small_values_together_are_not_large() -> None:
    keys = tuple(f"p:{n}" for n in range(10))
    rows = rows_of(call("get_many", keys, (True,) * 10, size=LARGE_BYTES * 2))
    assert codes(rows) == []


def test_a_value_replaced_at_once_was_written_for_nobody() -> None:
    [hint] = told(in_turn(("set", "total"), ("set", "total"), ("set", "total")))
    assert (hint.code, hint.what, hint.calls) == ("never-read", "total", (0, 1))
    assert hint.saves == pytest.approx(2.0)


def test_a_value_that_was_read_before_it_was_replaced_was_of_use() -> None:
    assert codes(in_turn(("set", "total"), ("get", "total", True), ("set", "total"))) == []


def test_a_value_that_stood_for_a_while_may_have_been_read_by_others() -> None:
    rows = rows_of(call("set", "progress", at=0), call("set", "progress", at=500))
    assert codes(rows) == []


def test_a_group_that_the_site_writes_and_never_looks_up_is_told() -> None:
    usage = {("default", "report:{int}"): Usage(sets=MANY_UNREAD_SETS, uses=0)}
    [hint] = told(in_turn(("set", "report:4")), usage=usage)
    assert (hint.code, hint.what) == ("never-read", "report:{int}")
    assert hint.evidence.sets == MANY_UNREAD_SETS


@pytest.mark.parametrize("usage", [Usage(4, 0), Usage(900, 1)], ids=str)
def test_a_group_that_may_be_read_is_not_told(usage: Usage) -> None:
    assert codes(in_turn(("set", "report:4")), usage={("default", "report:{int}"): usage}) == []


@pytest.mark.parametrize("use", ["has_key", "incr", "touch", "add"])
def test_a_group_that_the_request_uses_without_a_lookup_is_not_told(use: str) -> None:
    usage = {("default", "lock:{int}"): Usage(sets=MANY_UNREAD_SETS, uses=0)}
    assert codes(in_turn(("set", "lock:4"), (use, "lock:4")), usage=usage) == []


def test_a_page_that_varies_by_cookie_is_told_by_its_route() -> None:
    rows = rows_of(call("set", HEADERS), call("set", PAGE, at=1), route="/offers/")
    [hint] = told(rows, varies_by_cookie=True)
    assert (hint.code, hint.what, hint.calls) == ("key-explosion", "/offers/", (1,))


def test_a_response_that_varies_by_cookie_and_is_not_cached_is_none() -> None:
    assert codes(in_turn(("get", "product:1", True)), varies_by_cookie=True) == []


def test_what_saves_most_comes_first() -> None:
    rows = rows_of(
        *(call("get", "config", True, at=n) for n in range(3)),
        *(call("get", f"price:{n}", True, at=10 + n, took=5.0) for n in range(6)),
    )
    assert codes(rows) == ["single-gets", "repeated-gets"]


@pytest.mark.parametrize("number", range(40))
def test_the_panel_and_the_findings_agree_on_what_is_a_repeat(number: int) -> None:
    """Of the same calls, whatever they are."""
    random = Random(number)
    calls: list[tuple[Any, ...]] = []
    for _ in range(random.randrange(3, 14)):
        operation = random.choice(["get", "get", "get_many", "get_or_set", "set", "add", "delete"])
        operation = random.choice([operation, operation, operation, "clear", "has_key", "incr"])
        key = random.choice("ab")
        hit = random.random() < 0.7
        if operation == "get_many":
            calls.append((operation, ("a", "b"), (hit, hit)))
        elif operation in {"get", "get_or_set"}:
            calls.append((operation, key, hit))
        else:
            calls.append((operation, None if operation == "clear" else key))
    rows = in_turn(*calls)
    habits = AccessPatterns()
    for operation, key, *found in calls:
        outcome = found[0] if found else None
        habits.note(Call(Source("default", operation), 1.0, 0.1, key, outcome))
    by_the_panel = {hint.what for hint in told(rows) if hint.code == "repeated-gets"}
    repeated = {got.key for got in habits.repeated_gets() if got.again}
    # A call on several keys could be spared where all of them are asked for again and again.
    assert repeated <= by_the_panel
    singles = [each for each in calls if each[0] != "get_many"]
    if singles == calls:
        assert repeated == by_the_panel
