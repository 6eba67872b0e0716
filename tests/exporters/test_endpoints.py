"""The addresses for programs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from django.core.cache import caches
from django.test import Client, override_settings
from django.urls import reverse

import cache_monitor
from cache_monitor import api
from cache_monitor.dashboard.query import readings
from cache_monitor.exporters.json import schema
from cache_monitor.reports import Report
from tests.exporters.conftest import TOKEN

pytestmark = [pytest.mark.urls("tests.exporters.urls"), pytest.mark.usefixtures("store")]

PATHS = ["stats_json", "schema_json", "metrics"]


def _url(name: str = "stats_json") -> str:
    return reverse(f"cache_monitor:{name}")


def _traffic() -> None:
    caches["default"].set("user:1", "a", 60)
    caches["default"].get("user:1")
    caches["default"].get("user:2")
    assert cache_monitor.flush()


@pytest.mark.parametrize("name", PATHS)
def test_nobody_is_let_in_without_a_token_or_a_session(name: str) -> None:
    response = Client().get(_url(name))
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert "EXPORT_TOKENS" in response.json()["error"]["message"]


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize(
    "header",
    [
        pytest.param("Bearer wrong", id="another"),
        pytest.param("Bearer", id="none"),
        pytest.param(f"Basic {TOKEN}", id="of another scheme"),
        pytest.param(TOKEN, id="without a scheme"),
    ],
)
def test_a_wrong_token_is_refused(name: str, header: str) -> None:
    assert Client().get(_url(name), headers={"Authorization": header}).status_code == 401


@pytest.mark.parametrize("name", PATHS)
def test_a_token_lets_in(name: str, program: Client) -> None:
    response = program.get(_url(name))
    assert response.status_code == 200
    assert "private" in response["Cache-Control"]
    assert {"Authorization", "Cookie"} <= {each.strip() for each in response["Vary"].split(",")}


def test_a_token_needs_no_session_and_no_query(
    program: Client, django_assert_num_queries: Any, db: None
) -> None:
    with django_assert_num_queries(0):
        assert program.get(_url("schema_json")).status_code == 200


@override_settings(
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
)
def test_a_project_that_demands_logins_lets_programs_in(program: Client) -> None:
    assert program.get(_url("schema_json")).status_code == 200


@override_settings(MIDDLEWARE=[])
def test_a_project_without_users_lets_programs_in(program: Client) -> None:
    assert program.get(_url("schema_json")).status_code == 200
    assert Client().get(_url("schema_json")).status_code == 401


def test_staff_who_may_see_the_dashboard_are_let_in(log_in: Callable[..., Client]) -> None:
    assert log_in().get(_url()).status_code == 200


@pytest.mark.parametrize("lacks", ["staff", "permitted"])
def test_others_who_are_logged_in_are_not(lacks: str, log_in: Callable[..., Client]) -> None:
    response = log_in(**{lacks: False}).get(_url())
    assert response.status_code == 403
    assert "staff account" in response.json()["error"]["message"]


def test_the_report_is_as_the_schema_says(program: Client) -> None:
    _traffic()
    document = program.get(_url()).json()
    assert document["caches"]["default"]["lookups"] == 2
    jsonschema.validate(document, program.get(_url("schema_json")).json())


def test_the_schema_is_served_as_what_it_is(program: Client) -> None:
    response = program.get(_url("schema_json"))
    assert response["Content-Type"] == "application/schema+json"
    assert response.json() == schema()


def test_parameters_choose(program: Client) -> None:
    _traffic()
    asked = {"alias": "default", "since": "2h", "top": "1"}
    [(alias, cache)] = program.get(_url(), asked).json()["caches"].items()
    assert alias == "default"
    assert len(cache["hot_keys"]) == 1


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"alias": "<b>"}, "alias"),
        ({"since": "yesterday"}, "since"),
        ({"since": "9999999d"}, "since"),
        ({"since": "0001-01-01T00:00:00Z"}, "since"),
        ({"until": "0001-01-01"}, "until"),
        ({"since": "2999-01-01"}, "since"),
        ({"top": "0"}, "top"),
        ({"top": "9" * 5000}, "top"),
        ({"colour": "red"}, "colour"),
        ({"compare": "1"}, "compare"),
    ],
)
def test_a_bad_parameter_is_named(parameters: dict[str, str], named: str, program: Client) -> None:
    response = program.get(_url(), parameters)
    assert response.status_code == 400
    assert response["Content-Type"] == "application/json"
    error = response.json()["error"]
    assert error["parameter"] == named
    assert error["message"]


@pytest.mark.parametrize("until", ["2999-01-01", "9999-12-31T23:59:59-14:00"])
def test_a_period_does_not_go_on_for_ever(until: str, program: Client) -> None:
    for asked in ({"until": until}, {"until": until, "since": "1h"}):
        response = program.get(_url(), asked)
        assert response.status_code == 200
        assert len(response.content) < 1_000_000


def test_a_store_that_cannot_be_read_is_told(broken_store: None, program: Client) -> None:
    response = program.get(_url())
    assert response.status_code == 503
    assert "cannot be imported" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json", 200),
        ("application/*;q=0.5, text/html", 200),
        ("*/*", 200),
        ("", 200),
        ("text/html", 406),
        ("text/html, application/json;q=0", 406),
    ],
)
def test_the_accept_header_is_heeded(accept: str, status: int, program: Client) -> None:
    response = program.get(_url(), headers={"Accept": accept})
    assert response.status_code == status
    if status == 406:
        assert "application/json" in response.json()["error"]["message"]


def test_only_reading_is_answered(program: Client) -> None:
    assert program.post(_url()).status_code == 405
    assert program.head(_url()).status_code == 200


def test_who_has_it_already_is_told_so(program: Client) -> None:
    _traffic()
    # A period that is over: in one that goes on, the next call makes it new.
    asked = {"since": "2020-01-01T00:00:00Z", "until": "2020-01-01T01:00:00Z"}
    first = program.get(_url(), asked)
    again = program.get(_url(), asked, headers={"If-None-Match": first["ETag"]})
    assert again.status_code == 304
    assert again.content == b""
    assert again["ETag"] == first["ETag"]


def test_programs_that_poll_at_once_get_one_report(
    program: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []

    make = api.report

    def report(**asked: Any) -> Report:
        made.append(asked)
        return make(**asked)

    monkeypatch.setattr(api, "report", report)
    for _ in range(3):
        assert program.get(_url()).status_code == 200
    assert len(made) == 1


def test_what_is_new_is_sent(program: Client) -> None:
    first = program.get(_url())
    _traffic()
    # Some seconds later.
    readings.clear()
    again = program.get(_url(), headers={"If-None-Match": first["ETag"]})
    assert again.status_code == 200
    assert again["ETag"] != first["ETag"]


def test_the_answer_is_compressed_for_who_takes_it(program: Client) -> None:
    response = program.get(_url(), headers={"Accept-Encoding": "gzip"})
    assert response["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in response["Vary"]
    assert json.loads(gzip.decompress(response.content))["schema_version"] == 1
    assert "Content-Encoding" not in program.get(_url())


def test_metrics_come_in_the_format_that_was_asked_for(program: Client) -> None:
    _traffic()
    plain = program.get(_url("metrics"))
    assert plain["Content-Type"].startswith("text/plain")
    assert b"cache_monitor_store_up 1.0" in plain.content
    asked = {"Accept": "application/openmetrics-text;version=1.0.0"}
    openmetrics = program.get(_url("metrics"), headers=asked)
    assert openmetrics["Content-Type"].startswith("application/openmetrics-text")
    assert openmetrics.content.endswith(b"# EOF\n")
