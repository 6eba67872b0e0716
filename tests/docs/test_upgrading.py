"""A store that another version has written to is read or skipped, and never fatal.

The rows in ``stores/`` were written by the package as it was on its way to 0.1.0, and as it came to
be: 50 sets, 50 gets of which all hit, 50 ``get_many`` of a key that is there and one that is not,
and a ``get_or_set`` that made its value.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import pytest
from django.test import Client

import cache_monitor
from cache_monitor.reports import Report
from cache_monitor.stats.codec import decode, encode
from cache_monitor.stats.details import StoredDetails
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Row, get_store

WRITTEN: Final = Path(__file__).parent / "stores"
BEGIN: Final = 1_772_442_000
"""A full hour, in Unix time."""
FORMAT_BYTES: Final = 1

pytestmark = pytest.mark.usefixtures("fresh")


def _rows(name: str) -> list[Row]:
    return [
        Row(
            each["kind"],
            "of-before",
            each["alias"],
            BEGIN + each["after"],
            each["seconds"],
            base64.b64decode(each["payload"]),
        )
        for each in json.loads((WRITTEN / f"{name}.json").read_text())
    ]


def _report(rows: list[Row]) -> Report:
    get_store().put(rows, now=BEGIN + 120)
    since, until = (datetime.fromtimestamp(BEGIN + after, UTC) for after in (0, 600))
    return cache_monitor.report(since=since, until=until)


@pytest.mark.parametrize("name", ["0.1.0"])
def test_what_a_version_of_before_wrote_is_read(name: str) -> None:
    report = _report(_rows(name))
    cache = report.caches["default"]
    assert report.quality.corrupt_windows == 0
    assert (cache.lookups, cache.hits, cache.misses) == (151, 100, 51)
    assert cache.operations["get_many"].calls == 50
    lookups = {each.key: (each.lookups, each.misses) for each in cache.hot_keys}
    assert (lookups["a:1"], lookups["user:4:profile"]) == ((50, 50), (11, 0))
    assert {each.group for each in cache.key_groups} >= {"a:{int}", "user:{int}:profile"}


def _of_later(row: Row) -> Row:
    """``row`` with every field that this version knows, and one more behind them."""
    known = encode(decode(row.payload, Window if row.kind == "window" else StoredDetails))
    fields = msgspec.msgpack.decode(known[FORMAT_BYTES:], strict=False)
    payload = known[:FORMAT_BYTES] + msgspec.msgpack.encode([*fields, "new"])
    return row._replace(payload=payload)


def test_fields_that_a_later_version_has_added_are_passed_over() -> None:
    report = _report([_of_later(row) for row in _rows("0.1.0")])
    assert report.quality.corrupt_windows == 0
    assert report.caches["default"].lookups == 151


def test_rows_of_another_format_are_skipped_and_counted() -> None:
    window = Window(BEGIN, 10)
    window.operation("get").calls = 7
    later = Row("window", "of-after", "default", BEGIN, 10, b"\x02" + encode(window)[1:])
    report = _report([*_rows("0.1.0"), *_rows("another-format"), later])
    assert report.quality.corrupt_windows == 2
    assert report.caches["default"].lookups == 151


def test_the_dashboard_tells_of_them(admin_client: Client) -> None:
    _report([*_rows("0.1.0"), *_rows("another-format")])
    day = datetime.fromtimestamp(BEGIN, UTC).isoformat()
    end = datetime.fromtimestamp(BEGIN + 600, UTC).isoformat()
    page = admin_client.get(
        "/admin/cache_monitor/dashboard/", {"since": day, "until": end}, follow=True
    )
    assert page.status_code == 200
    [corrupt] = [line for line in page.content.decode().splitlines() if "Corrupt windows" in line]
    assert ">1<" in corrupt.replace(" ", "")
