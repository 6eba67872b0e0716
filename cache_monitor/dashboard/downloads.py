"""The rows of a table as a file: JSON for programs, CSV for spreadsheets."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from django.http import HttpResponse

from cache_monitor.dashboard.sheets import AnySheet, Value

Format = Literal["csv", "json"]
FORMATS: tuple[Format, ...] = ("csv", "json")

# A spreadsheet runs what begins so as a formula, and a visitor may have written the key.
# Some take the wide forms of East Asian scripts for the same signs.
_SIGNS = r"=+\-@\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(rf"[\t\r\n]|[\s\"']*[{_SIGNS}]")
# Where a comma is the decimal sign, a file's cells end at a semicolon, whatever stands around it;
# a text that is pasted has them end at a tab.
_NEXT_CELL = re.compile(rf"([;\t\r\n][\s\"']*)(?=[{_SIGNS}])")


def download(sheet: AnySheet, wanted: Format) -> HttpResponse:
    """All rows of ``sheet`` as a file that the browser saves."""
    body, kind = (
        (_csv(sheet), "text/csv; charset=utf-8")
        if wanted == "csv"
        else (msgspec.json.encode(sheet.records()), "application/json")
    )
    response = HttpResponse(body, content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="cache-{sheet.name}.{wanted}"'
    return response


def _csv(sheet: AnySheet) -> bytes:
    text = io.StringIO()
    names = [field.name for field in sheet.stored]
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows(_cells(record, names) for record in sheet.records())
    # With the mark by which spreadsheets know UTF-8; a lone surrogate has no bytes.
    return text.getvalue().encode("utf-8-sig", "backslashreplace")


def _cells(record: Mapping[str, Value], names: Sequence[str]) -> list[Value]:
    return [_harmless(record[name]) for name in names]


def _harmless(value: Value) -> Value:
    if not isinstance(value, str):
        return value
    text = _NEXT_CELL.sub(r"\1'", value)
    return f"'{text}" if _FORMULA.match(text) else text
