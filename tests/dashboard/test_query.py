"""What the URL may ask for, and how a wrong one is refused."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.admin import site
from django.http import QueryDict
from django.test import Client
from django.urls import reverse
from msgspec.structs import replace

from cache_monitor.dashboard.query import BadParameterError, Links, parse_query
from cache_monitor.reports import Stale
from tests.dashboard.conftest import ShowReport
from tests.dashboard.reports import NOW, busy_cache, key_group, memory, report_of, stale_entry

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
    ("colour=red", "colour", "range"),
]
OF_PAGES = [("partial=yes", "partial", "1"), ("compare=2", "compare", "1")]
NOT_OF_JSON = [("partial=1", "partial", "range"), ("compare=1", "compare", "range")]


@pytest.mark.parametrize(("query", "parameter", "advice"), [*BAD, *OF_PAGES])
def test_a_bad_parameter_is_named_on_the_page(
    query: str, parameter: str, advice: str, viewer: Client, page_url: str
) -> None:
    response = viewer.get(f"{page_url}?{query}")
    page = response.content.decode()
    assert response.status_code == 400
    assert f"<code>{parameter}</code>" in page
    assert advice in page
    assert "Traceback" not in page


@pytest.mark.parametrize(("query", "parameter", "advice"), [*BAD, *NOT_OF_JSON])
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


def test_no_link_leads_to_what_cannot_be_named() -> None:
    links = Links(site, parse_query(QueryDict(), NOW))
    for text in ("", "x" * 251):
        assert links.entry("default", text) == links.group("default", text) == ""
        assert links.view(text) == links.action("delete_group", alias="default", group=text) == ""
    assert links.entry("default", "k").endswith("&alias=default&key=k")


@pytest.mark.parametrize("page", ["keys", "memory", "stale"])
def test_every_link_of_a_page_with_an_empty_key_leads_somewhere(
    admin_client: Client, show_report: ShowReport, page: str
) -> None:
    cache = replace(
        busy_cache(""),
        key_groups=[key_group("")],
        memory=memory(""),
        stale=Stale(expired=1, entries=[stale_entry("")]),
    )
    show_report(report_of(default=cache))
    html = admin_client.get(reverse(f"admin:cache_monitor_{page}")).content.decode()
    links = [unescape(each) for each in re.findall(r'href="(/admin/cache_monitor/[^"#]*)"', html)]
    assert links
    assert "(empty)" in html
    assert {admin_client.get(each).status_code for each in set(links)} == {200}
