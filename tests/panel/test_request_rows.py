"""Calls as plain rows."""

from __future__ import annotations

import json

import pytest

from cache_monitor.listeners import KeptCall
from cache_monitor.panel import request as rows_module
from cache_monitor.panel.request import CallRows
from tests.panel.making import call, in_turn, rows_of

PAGE = f"views.decorators.cache.cache_page..GET.{'a' * 32}.{'b' * 32}.en.UTC"


def test_a_row_has_all_that_is_known_of_a_call() -> None:
    [row] = rows_of(
        call("get", "user:1", True, at=2.5, took=0.25, size=90, version=3, alias="files")
    )
    [key] = row["keys"]
    assert key == {
        "key": "user:1",
        "group": "user:{int}",
        "kind": "key",
        "route": None,
        "hit": True,
        "id": 0,
        "computed": None,
    }
    assert row == {
        "keys": [key],
        "alias": "files",
        "operation": "get",
        "more_keys": 0,
        "hits": 1,
        "misses": 0,
        "at": 2.5,
        "milliseconds": 0.25,
        "produced": None,
        "computed": None,
        "bytes": 90,
        "type": None,
        "timeout": "n/a",
        "version": "3",
        "error": None,
        "interrupted": False,
        "stack": None,
    }


def test_rows_survive_json() -> None:
    rows = in_turn(("get_many", ("a", "b\ud800"), (True, False)), ("set", "a"), ("clear", None))
    assert json.loads(json.dumps(rows)) == rows


def test_an_entry_has_the_same_id_wherever_it_is_named() -> None:
    rows = rows_of(
        call("get", "a", False),
        call("get_many", ("b", "a"), (True, True)),
        call("get", "a", True, version=2),
        call("get", "a", True, alias="files"),
    )
    assert [[key["id"] for key in row["keys"]] for row in rows] == [[0], [1, 0], [2], [3]]


def test_the_keys_of_a_call_and_of_all_calls_together_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rows_module, "SHOWN_KEYS", 30)
    many = tuple(f"k:{number}" for number in range(50))
    rows = in_turn(*[("get_many", many, (True,) * 50)] * 4)
    assert [(len(row["keys"]), row["more_keys"]) for row in rows] == [
        (20, 30),
        (10, 40),
        (1, 49),
        (1, 49),
    ]
    assert all(row["hits"] == 50 for row in rows)


def test_only_the_keys_of_pages_have_the_route() -> None:
    page, other = rows_of(call("get", PAGE, True), call("get", "a", True), route="/offers/")
    assert page["keys"][0]["route"] == "/offers/"
    assert other["keys"][0]["route"] is None


def test_a_request_without_cached_pages_is_not_asked_for_its_route() -> None:
    def unknown() -> str:
        raise AssertionError("asked")

    CallRows(0.0, unknown).make([KeptCall(call("get", "a", True))])


def test_a_session_is_masked() -> None:
    [row] = rows_of(call("get", "django.contrib.sessions.cache0123456789abcdef", True))
    assert "0123456789abcdef" not in json.dumps(row)


def test_a_row_tells_the_type_of_the_value_and_cuts_its_name() -> None:
    heard = [KeptCall(call("get"), name) for name in ("list", "T" * 200, None)]
    assert [row["type"] for row in CallRows(0.0, lambda: None).make(heard)] == [
        "list",
        "T" * 80,
        None,
    ]
