"""The report as JSON, schema version 1."""

import msgspec

from cache_monitor.reports.schema import Report

_encoder = msgspec.json.Encoder()


def encode(report: Report, *, indent: int | None = None) -> bytes:
    """The report as one JSON document in UTF-8, on one line unless ``indent`` is given."""
    document = _encoder.encode(report)
    return document if indent is None else msgspec.json.format(document, indent=indent)
