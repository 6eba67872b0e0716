"""The report as JSON."""

from __future__ import annotations

import json

import msgspec

from cache_monitor.exporters.json import encode
from cache_monitor.reports.schema import Report
from tests.dashboard.reports import HOSTILE, busy_cache, quiet_cache, report_of


def test_the_document_reads_back_as_the_same_report() -> None:
    report = report_of(default=busy_cache(HOSTILE), files=quiet_cache())
    assert msgspec.json.decode(encode(report), type=Report) == report


def test_what_nobody_knows_is_null_and_never_left_out() -> None:
    document = json.loads(encode(report_of(files=quiet_cache())))
    cache = document["caches"]["files"]
    assert cache["hit_ratio"] is None
    assert cache["memory"]["bytes"] is None
    assert set(cache["miss_reasons"].values()) == {None}
    assert document["findings"] == []


def test_indentation_changes_the_layout_alone() -> None:
    report = report_of(default=busy_cache())
    plain, indented = encode(report), encode(report, indent=2)
    assert b"\n" not in plain
    assert b'\n  "schema_version": 1' in indented
    assert json.loads(plain) == json.loads(indented)
