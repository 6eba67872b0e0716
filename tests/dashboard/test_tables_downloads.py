"""The rows of every table as JSON and CSV."""

from __future__ import annotations

import csv
import io

import pytest
from django.test import Client
from django.urls import reverse
from msgspec.structs import replace

from cache_monitor.dashboard import tables
from tests.dashboard.conftest import ShowReport
from tests.dashboard.reports import busy_cache, hot_key, report_of

TABLES = [
    ("dashboard", "operations"),
    ("dashboard", "miss_reasons"),
    ("dashboard", "hit_ratio"),
    ("dashboard", "rate"),
    ("dashboard", "latency"),
    ("dashboard", "memory"),
    ("keys", "hot_keys"),
    ("groups", "key_groups"),
    ("views", "views"),
    ("memory", "groups"),
    ("memory", "largest"),
    ("memory", "memory"),
    ("memory", "abilities"),
    ("stale", "entries"),
    ("stale", "caches"),
]


def url_of(name: str, /, **query: str) -> str:
    return reverse(f"admin:cache_monitor_{name}", query=query)


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


@pytest.mark.usefixtures("full_report")
@pytest.mark.parametrize(("page", "table"), TABLES)
def test_a_table_is_the_same_in_both_formats(viewer: Client, page: str, table: str) -> None:
    as_json = viewer.get(url_of(page, table=table, format="json"))
    as_csv = viewer.get(url_of(page, table=table, format="csv"))
    assert as_json["Content-Type"] == "application/json"
    assert as_csv["Content-Disposition"] == f'attachment; filename="cache-{table}.csv"'
    rows = as_json.json()
    assert rows
    expected = [{k: "" if v is None else str(v) for k, v in row.items()} for row in rows]
    assert [dict(row) for row in rows_of(as_csv.content)] == expected


def test_a_download_has_all_rows_in_the_order_that_was_asked_for(
    viewer: Client, show_report: ShowReport
) -> None:
    keys = [replace(hot_key(f"product:{n}"), lookups=n) for n in range(150)]
    show_report(report_of(default=replace(busy_cache(), hot_keys=keys)))
    query = {"table": "hot_keys", "format": "json", "sort": "lookups", "q": "product", "page": "2"}
    rows = viewer.get(url_of("keys", **query)).json()
    assert [row["lookups"] for row in rows] == list(range(150))


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_a_spreadsheet_runs_no_key_as_a_formula(
    viewer: Client, show_report: ShowReport, sign: str
) -> None:
    key = f"{sign}cmd|'/C calc'!A0"
    show_report(report_of(default=replace(busy_cache(), hot_keys=[hot_key(key)])))
    content = viewer.get(url_of("keys", table="hot_keys", format="csv")).content
    assert rows_of(content)[0]["key"] == f"'{key}"


@pytest.mark.parametrize(
    ("key", "cell"),
    [
        (" =1+1", "' =1+1"),
        ("\t=1+1", "'\t'=1+1"),
        ('"=1+1', "'\"=1+1"),
        ("a;=1+1", "a;'=1+1"),
        ('a";=1+1', "a\";'=1+1"),
        ("a; \t@SUM(1)", "a; \t'@SUM(1)"),
        ('a;"=1+1";-2', "a;\"'=1+1\";'-2"),
        ("a;\uff1d1", "a;'\uff1d1"),
        ("user-17:a=b;c", "user-17:a=b;c"),
    ],
)
def test_no_part_of_a_key_becomes_a_formula_where_another_sign_ends_a_cell(
    key: str, cell: str
) -> None:
    assert tables._harmless(key) == cell


@pytest.mark.usefixtures("full_report")
@pytest.mark.parametrize(
    ("query", "parameter", "advice"),
    [
        ({"table": "nothing", "format": "csv"}, "table", "hot_keys"),
        ({"format": "csv"}, "table", "hot_keys"),
        ({"table": "hot_keys", "format": "xls"}, "format", "csv, json"),
    ],
)
def test_another_table_or_format_is_refused(
    viewer: Client, query: dict[str, str], parameter: str, advice: str
) -> None:
    response = viewer.get(url_of("keys", **query))
    page = response.content.decode()
    assert response.status_code == 400
    assert f"<code>{parameter}</code>" in page
    assert advice in page
