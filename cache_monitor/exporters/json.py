"""The report as JSON, schema version 1, and the JSON Schema of that document.

The schema is made from the types that the document is encoded from.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
from msgspec.structs import replace

from cache_monitor.reports import SCHEMA_VERSION, Cache, Report
from cache_monitor.what_if import WhatIf

__all__ = ["encode", "schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_IDS: Mapping[type[msgspec.Struct], str] = {
    Report: f"urn:django-cache-monitor:report:{SCHEMA_VERSION}",
    WhatIf: "urn:django-cache-monitor:what-if:1",
}

_encoder = msgspec.json.Encoder()


def encode(report: Report, *, indent: int | None = None) -> bytes:
    """The report as one JSON document in UTF-8, on one line unless ``indent`` is given."""
    return _laid_out(_encoder.encode(report), indent)


@cache
def schema(document: type[msgspec.Struct] = Report) -> dict[str, Any]:
    """The JSON Schema of a ``document``: the report, or the answer of ``cache_whatif``.

    Every field is required, null or not. Further fields are allowed, for later releases.
    """
    made = msgspec.json.schema(document)
    for definition in made["$defs"].values():
        if "properties" in definition:
            definition["required"] = list(definition["properties"])
            # Defaults are for the package's code; a document has all values.
            for each in definition["properties"].values():
                each.pop("default", None)
        if "description" in definition:
            definition["description"] = _as_prose(definition["description"])
    return {"$schema": DIALECT, "$id": _IDS[document], "title": document.__name__, **made}


def encode_schema(document: type[msgspec.Struct] = Report, *, indent: int | None = None) -> bytes:
    return _laid_out(msgspec.json.encode(schema(document)), indent)


def _laid_out(document: bytes, indent: int | None) -> bytes:
    return document if indent is None else msgspec.json.format(document, indent=indent)


def _as_prose(docstring: str) -> str:
    """A docstring without the marks and the line breaks of the source."""
    return " ".join(docstring.replace("``", "").split())


MOST = 100_000


def parse_top(text: str) -> int:
    """The number of elements that ``text`` asks for. Raises ``ValueError``."""
    # Python refuses to read numbers of many thousand digits.
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= number <= MOST:
        raise ValueError(f"Write a whole number from 1 to {MOST}, such as 10.")
    return number


def trim(report: Report, top: int) -> Report:
    """``report`` with at most ``top`` elements in each list that is ordered by weight.

    Findings and the series stay whole.
    """
    return replace(
        report, caches={alias: _trimmed(each, top) for alias, each in report.caches.items()}
    )


def _trimmed(cache: Cache, top: int) -> Cache:
    memory, stale = cache.memory, cache.stale
    return replace(
        cache,
        hot_keys=cache.hot_keys[:top],
        key_groups=cache.key_groups[:top],
        views=cache.views[:top],
        memory=replace(memory, groups=memory.groups[:top], largest=memory.largest[:top]),
        stale=replace(stale, entries=stale.entries[:top]),
    )
