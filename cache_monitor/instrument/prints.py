"""Fingerprints of values: whether what is written is what was there before.

Taken of the bytes that the backend has at hand anyway, whole or not at all: of a part nobody could
say that the rest is the same. Of a cached page the content counts, for its headers have times.
"""

from typing import Any
from zlib import crc32

from django.http import HttpResponse

MOST_BYTES = 32_768
"""Of a value whose fingerprint is taken while the site waits: some eight microseconds."""

_IN_DIGITS = frozenset({str, int, float})
"""Types that travel as text."""


def print_of(data: Any, value: Any) -> int:
    """The fingerprint of ``value``, which the backend has made ``data`` of; 0 where it is not
    taken."""
    # By its type: to ask a lazy value for its class would make it.
    if issubclass(type(value), HttpResponse):
        return _of_page(value)
    if type(data) is bytes:
        return of_bytes(data)
    return of_bytes(str(data).encode()) if type(data) in _IN_DIGITS else 0


def of_bytes(data: bytes, most: int = MOST_BYTES) -> int:
    """The fingerprint of ``data``, above 0; 0 where there are more than ``most``."""
    return (crc32(data) or 1) if len(data) <= most else 0


def _of_page(page: Any) -> int:
    parts = vars(page).get("_container")
    if type(parts) is not list or any(type(each) is not bytes for each in parts):
        return 0
    if sum(map(len, parts)) > MOST_BYTES:
        return 0
    return of_bytes(b"%d\n" % page.status_code + b"".join(parts), 2 * MOST_BYTES)
