"""Windows and looks as bytes: MessagePack behind a version byte.

What comes from a store is not trusted: it is bounded in size, checked against the types while it
is read, and never executed.
"""

from typing import Any, TypeVar, cast

import msgspec

from cache_monitor.stats import details
from cache_monitor.stats.compact import MAX_COUNT, Histogram
from cache_monitor.stats.details import Details, StoredDetails
from cache_monitor.stats.window import Counts

MAX_BYTES = 4 * 1024 * 1024
_VERSION = b"\x01"

T = TypeVar("T")


class CorruptPayload(ValueError):
    """Bytes that are not a payload of this version."""


def encode(value: msgspec.Struct) -> bytes:
    """``value`` as bytes. Details of more groups than a reader would take have the least used ones
    in one."""
    payload = _encoded(value)
    if isinstance(value, Details):
        groups = len(value.groups)
        while len(payload) > MAX_BYTES and groups > 1:
            groups //= 2
            payload = _encoded(details.folded(value, groups))
    return payload


def _encoded(value: msgspec.Struct) -> bytes:
    stored = details.pack(value) if isinstance(value, Details) else value
    return _VERSION + msgspec.msgpack.encode(stored, enc_hook=_packed)


def decode(payload: bytes, type_: type[T]) -> T:
    """The value that :func:`encode` made ``payload`` of.

    Raises :class:`CorruptPayload` for anything else: cut, damaged, too large, of a newer version.
    """
    if type_ is Details:
        return cast(T, details.unpack(_decode(payload, StoredDetails)))
    return _decode(payload, type_)


def _decode(payload: bytes, type_: type[T]) -> T:
    if len(payload) > MAX_BYTES:
        raise CorruptPayload(f"{len(payload)} bytes, more than {MAX_BYTES}")
    if payload[:1] != _VERSION:
        raise CorruptPayload(f"version {payload[:1]!r}")
    try:
        return msgspec.msgpack.decode(memoryview(payload)[1:], type=type_, dec_hook=_unpacked)
    except (msgspec.DecodeError, RecursionError) as error:
        raise CorruptPayload(str(error)) from error


def _packed(value: Any) -> bytes:
    if isinstance(value, Histogram):
        return value.pack()
    raise NotImplementedError(f"no encoding of {type(value)}")


def _unpacked(type_: type, value: Any) -> Any:
    """A histogram, of its bytes or of counts by bucket, as it was stored at first."""
    if isinstance(value, bytes):
        return Histogram.unpack(value)
    counts = msgspec.convert(value, Counts)
    if sum(counts.values()) > MAX_COUNT:
        raise ValueError("a histogram of too many calls")
    return Histogram(counts)
