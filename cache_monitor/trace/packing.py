"""Bytes of a store: MessagePack, compressed, behind a byte for the version.

What comes from a store is not trusted: it is bounded, checked while it is read, never executed.
"""

import zlib
from typing import TypeVar

import msgspec

MAX_BYTES = 16 * 1024 * 1024
"""Of a row, unpacked."""
_FORMAT = b"\x01"

T = TypeVar("T")


class Unreadable(ValueError):
    """Bytes that are not of this version."""


def read(payload: bytes, decoder: msgspec.msgpack.Decoder[T]) -> T:
    """What ``decoder`` makes of bytes that were compressed behind a version. Raises
    :class:`Unreadable` for anything else."""
    try:
        return decoder.decode(_inflated(payload))
    except (msgspec.DecodeError, RecursionError, OverflowError, UnicodeDecodeError) as error:
        raise Unreadable(str(error)) from error


def packed(value: object) -> bytes:
    """``value`` compressed, behind a byte for the version."""
    return _FORMAT + zlib.compress(_encoder.encode(value), 6)


def _inflated(payload: bytes) -> bytes:
    if payload[:1] != _FORMAT:
        raise Unreadable(f"version {payload[:1]!r}")
    try:
        inflater = zlib.decompressobj()
        found = inflater.decompress(memoryview(payload)[1:], MAX_BYTES)
        if not inflater.eof:
            raise Unreadable("cut, or too large")
    except zlib.error as error:
        raise Unreadable(str(error)) from error
    return found


_encoder = msgspec.msgpack.Encoder()
