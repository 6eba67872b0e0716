"""Windows and details as the payloads of rows.

A payload is MessagePack behind a version byte. What comes from a store is not trusted: it is
bounded in size, checked against the types while it is read, and never executed.
"""

from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from cache_monitor.stats.details import Details, folded, pack_details
from cache_monitor.stats.histogram import Histogram
from cache_monitor.stats.hot_keys import StoredKeys
from cache_monitor.stats.window import Count, Length, Start

MAX_BYTES = 4 * 1024 * 1024
_VERSION = b"\x01"

T = TypeVar("T")


class DetailedKeys(Struct, array_like=True, gc=False):
    """The beginning of :class:`StoredDetails`, for those who want its keys alone: what follows is
    not even read."""

    start: Start
    seconds: Length
    hot_keys: StoredKeys


class DetailsState(Struct, array_like=True, gc=False):
    """:class:`StoredDetails` for those who want to know whether they are final, and nothing of
    what is in them."""

    start: Start
    seconds: Length
    hot_keys: Raw
    group_limit: Count
    groups: Raw = Raw()
    uses: Count = 0
    views: Raw = Raw()
    final: bool = False


class CorruptPayload(ValueError):
    """Bytes that are not a payload of this version."""


def encode(value: Struct) -> bytes:
    """``value`` as bytes. Details of more groups than a reader would take have the least used ones
    in one."""
    if not isinstance(value, Details):
        return _encoded(value)
    payload = _encoded(pack_details(value))
    groups = len(value.groups)
    while len(payload) > MAX_BYTES and groups > 1:
        groups //= 2
        payload = _encoded(pack_details(folded(value, groups)))
    return payload


def _encoded(value: Struct) -> bytes:
    return _VERSION + msgspec.msgpack.encode(value, enc_hook=Histogram.pack)


def decode(payload: bytes, type_: type[T]) -> T:
    """The value that :func:`encode` made ``payload`` of; of details, :class:`StoredDetails`.

    Raises :class:`CorruptPayload` for anything else: cut, damaged, too large, of a newer version.
    """
    if len(payload) > MAX_BYTES:
        raise CorruptPayload(f"{len(payload)} bytes, more than {MAX_BYTES}")
    if payload[:1] != _VERSION:
        raise CorruptPayload(f"version {payload[:1]!r}")
    try:
        return msgspec.msgpack.decode(memoryview(payload)[1:], type=type_, dec_hook=_unpacked)
    except (msgspec.DecodeError, RecursionError) as error:
        raise CorruptPayload(str(error)) from error


def _unpacked(_: type, value: Any) -> Histogram:
    if isinstance(value, bytes):
        return Histogram.unpack(value)
    raise ValueError("a histogram that is no bytes")
