"""The report as JSON, and its schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from django.core.cache import caches

import cache_monitor
from cache_monitor import reports
from cache_monitor.exporters.json import encode, encode_schema, schema
from cache_monitor.reports import Finding, Report
from cache_monitor.stores.base import Store
from cache_monitor.what_if import WhatIf
from tests.dashboard.reports import HOSTILE, busy_cache, quiet_cache, report_of

SHIPPED = Path(reports.__file__).parent / "report-1.schema.json"
SHIPPED_WHAT_IF = SHIPPED.with_name("what-if-1.schema.json")


def strict_schema() -> dict[str, Any]:
    """The schema, with fields refused that it does not name."""
    strict: dict[str, Any] = json.loads(encode_schema())
    for definition in strict["$defs"].values():
        definition.setdefault("additionalProperties", False)
    return strict


def validate(document: Any) -> None:
    jsonschema.validate(document, strict_schema(), jsonschema.Draft202012Validator)


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


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize(
    "report",
    [
        report_of(),
        report_of(files=quiet_cache()),
        report_of(default=busy_cache(HOSTILE), files=quiet_cache()),
    ],
    ids=["no cache", "quiet", "busy"],
)
def test_documents_are_as_the_schema_says(report: Report) -> None:
    validate(json.loads(encode(report)))


def test_a_finding_is_as_the_schema_says() -> None:
    finding = Finding(
        code="no-expiry",
        severity="warning",
        alias="default",
        group="user:{int}",
        key=None,
        evidence={"entries": 5, "share": 0.5, "backend": "LocMemCache", "bytes": None},
        advice="Give them a timeout.",
        docs="https://example.org/#no-expiry",
    )
    document = json.loads(encode(msgspec.structs.replace(report_of(), findings=[finding])))
    validate(document)
    document["findings"][0]["severity"] = "fatal"
    with pytest.raises(jsonschema.ValidationError, match="fatal"):
        validate(document)


def test_the_report_of_a_site_is_as_the_schema_says(store: Store) -> None:
    caches["default"].set("user:1", "a", 60)
    caches["default"].get_many(["user:1", "user:2"])
    caches["other"].get_or_set("price", lambda: 5)
    assert cache_monitor.flush()
    document = json.loads(encode(cache_monitor.report()))
    assert document["caches"]["default"]["lookups"] == 2
    validate(document)


def test_every_field_is_required() -> None:
    document = json.loads(encode(report_of(default=busy_cache())))
    del document["caches"]["default"]["memory"]["limit_entries"]
    with pytest.raises(jsonschema.ValidationError, match="limit_entries"):
        jsonschema.validate(document, schema())


def test_the_fields_of_later_versions_are_no_fault() -> None:
    document = json.loads(encode(report_of(default=busy_cache())))
    document["caches"]["default"]["colour"] = "blue"
    jsonschema.validate(document, schema())
    with pytest.raises(jsonschema.ValidationError, match="colour"):
        validate(document)


def test_every_type_says_what_it_is_without_the_marks_of_the_source() -> None:
    for name, definition in schema()["$defs"].items():
        if "properties" in definition:
            assert definition["description"].endswith("."), name
            assert "``" not in definition["description"]


def _fields() -> Iterator[tuple[str, str, str]]:
    """The type and the name of each field of the documents, and what it says."""
    for document in (schema(), schema(WhatIf)):
        for type_, definition in document["$defs"].items():
            for name, each in definition.get("properties", {}).items():
                yield type_, name, each.get("description", "")


def test_every_field_says_what_it_is() -> None:
    unsaid = [f"{type_}.{name}" for type_, name, text in _fields() if not text.endswith(".")]
    assert unsaid == []


@pytest.mark.parametrize(
    ("ending", "units"),
    [
        ("bytes", ("Bytes",)),
        ("seconds", ("Seconds", "How long", "that time")),
        ("measured_at", ("RFC 3339, UTC",)),
        ("seen", ("RFC 3339, UTC",)),
        ("ratio", ("0 to 1",)),
    ],
)
def test_a_field_with_a_unit_names_it(ending: str, units: tuple[str, ...]) -> None:
    for type_, name, text in _fields():
        if name.endswith(ending):
            assert any(unit in text for unit in units), f"{type_}.{name}"


def test_the_shipped_schema_is_the_one_that_the_code_gives() -> None:
    """When this fails: make schema."""
    assert json.loads(SHIPPED.read_text()) == schema()
    assert json.loads(SHIPPED_WHAT_IF.read_text()) == schema(WhatIf)
