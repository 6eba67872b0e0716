"""What the URL may ask for, and how a wrong one is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.http import QueryDict
from django.test import Client

from cache_monitor.dashboard.query import BadParameterError, parse_query
from tests.dashboard.reports import NOW

BAD = [
    ("range=2y", "range", "30d"),
    ("range=1h&range=6h", "range", "once"),
    ("range=1h&since=2h", "range", "not both"),
    ("since=yesterday", "since", "90m"),
    ("since=99999999d", "since", "too long ago"),
    ("since=5m&until=10m", "since", "before"),
    ("until=tomorrow", "until", "RFC 3339"),
    ("until=0001-01-01T00:00:00Z", "until", "long ago"),
    ("alias=nowhere", "alias", "default"),
    ("partial=yes", "partial", "1"),
    ("compare=2", "compare", "1"),
    ("colour=red", "colour", "range"),
]


@pytest.mark.parametrize(("query", "parameter", "advice"), BAD)
def test_a_bad_parameter_is_named_on_the_page(
    query: str, parameter: str, advice: str, viewer: Client, page_url: str
) -> None:
    response = viewer.get(f"{page_url}?{query}")
    page = response.content.decode()
    assert response.status_code == 400
    assert f"<code>{parameter}</code>" in page
    assert advice in page
    assert "Traceback" not in page


@pytest.mark.parametrize(("query", "parameter", "advice"), BAD)
def test_a_bad_parameter_is_named_in_json(
    query: str, parameter: str, advice: str, viewer: Client, json_url: str
) -> None:
    response = viewer.get(f"{json_url}?{query}")
    assert response.status_code == 400
    assert response["Content-Type"] == "application/json"
    problem = response.json()["error"]
    assert problem["parameter"] == parameter
    assert advice in problem["message"]


def test_a_hostile_parameter_is_escaped(viewer: Client, page_url: str) -> None:
    page = viewer.get(page_url, {"<script>x</script>": "1", "range": "<b>"}).content.decode()
    assert "<script>x" not in page


def test_the_last_hour_is_the_default() -> None:
    query = parse_query(QueryDict(""), NOW)
    assert query.live
    assert query.until == NOW
    assert query.until - query.since == timedelta(hours=1)


def test_a_form_may_send_empty_fields() -> None:
    query = parse_query(QueryDict("range=6h&alias=&since=&until="), NOW)
    assert query.alias is None
    assert query.until - query.since == timedelta(hours=6)


def test_a_range_ends_at_until() -> None:
    query = parse_query(QueryDict("range=6h&until=1h"), NOW)
    assert not query.live
    assert query.until == NOW - timedelta(hours=1)
    assert query.since == NOW - timedelta(hours=7)


@pytest.mark.parametrize("asked", ["since=90m&alias=default", "range=6h", "since=2h&until=1h"])
def test_a_query_is_written_as_it_was_asked(asked: str) -> None:
    """Links, the JSON's address and the refresh ask the same question."""
    assert parse_query(QueryDict(asked), NOW).encode() == asked


def test_unknown_parameters_are_cut_short() -> None:
    with pytest.raises(BadParameterError) as caught:
        parse_query(QueryDict("x" * 10_000 + "=1"), NOW)
    assert len(caught.value.parameter) < 100
