"""Windows, details, traces and other values as the payloads of rows, and columns of counts.

A payload is MessagePack behind a byte for its version, compressed or not. What comes from a store
is not trusted: it is bounded in size, checked against the types while it is read, and never
executed.

A column of counts is bytes, each count of as many as the greatest needs. It is read from a row at
once, and made numbers of only where somebody asks for them.
"""

import sys
import zlib
from array import array
from collections.abc import Collection, Iterator
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

MAX_BYTES = 4 * 1024 * 1024
"""The size of a payload that is not compressed."""
MAX_INFLATED = 16 * 1024 * 1024
"""The size of one that was."""
_PLAIN, _COMPRESSED = b"\x01", b"\x81"

T = TypeVar("T")


class CorruptPayload(ValueError):
    """Bytes that are not a payload of this version."""


class Packed(Struct):
    """A value that a store has in another form."""

    def stored_forms(self) -> Iterator[Struct]:
        """The forms in which it may be stored, each smaller than the one before."""
        raise NotImplementedError


def encode(value: Struct) -> bytes:
    """``value`` as bytes: in the first of its forms that a reader would take, or in its last."""
    payload = b""
    for form in value.stored_forms() if isinstance(value, Packed) else (value,):
        payload = _PLAIN + msgspec.msgpack.encode(form, enc_hook=_packed)
        if len(payload) <= MAX_BYTES:
            break
    return payload


def compress(value: object) -> bytes:
    """``value`` as fewer bytes, which take longer to make: for the trace, which is large."""
    return _COMPRESSED + zlib.compress(msgspec.msgpack.encode(value), 6)


def decode(payload: bytes, type_: type[T]) -> T:
    """The value that :func:`encode` or :func:`compress` made ``payload`` of, in the form that was
    stored.

    Raises :class:`CorruptPayload` for anything else: cut, damaged, too large, of a newer version.
    """
    try:
        return msgspec.msgpack.decode(_content(payload), type=type_, dec_hook=_unpacked)
    except (msgspec.DecodeError, RecursionError, OverflowError, UnicodeDecodeError) as error:
        raise CorruptPayload(str(error)) from error


def _content(payload: bytes) -> memoryview | bytes:
    version, content = payload[:1], memoryview(payload)[1:]
    if version == _COMPRESSED:
        return _inflated(content)
    if version != _PLAIN:
        raise CorruptPayload(f"version {version!r}")
    if len(payload) > MAX_BYTES:
        raise CorruptPayload(f"{len(payload)} bytes, more than {MAX_BYTES}")
    return content


def _inflated(content: memoryview) -> bytes:
    inflater = zlib.decompressobj()
    try:
        found = inflater.decompress(content, MAX_INFLATED)
    except zlib.error as error:
        raise CorruptPayload(str(error)) from error
    if not inflater.eof:
        raise CorruptPayload("cut, or too large")
    return found


def _packed(value: Any) -> bytes:
    packed: bytes = value.pack()
    return packed


def _unpacked(type_: Any, value: object) -> object:
    if isinstance(value, bytes):
        return type_.unpack(value)
    raise ValueError(f"a {type_.__name__} that is no bytes")


MAX_COUNT = 2**53
"""Up to this every reader of JSON has integers, and no sum of the rows of a store comes to what
MessagePack cannot write."""
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
"""By how many bytes a number takes, what :mod:`array` calls it."""
_WIDEST = max(_CODES)
NO_INTS = b"\x01"
"""No numbers, packed."""


def pack_ints(numbers: Collection[int]) -> bytes:
    """``numbers`` in as few bytes as the greatest needs for each, behind a byte that says how many
    these are. None may be negative. One of more than ``MAX_COUNT``, which only rows that somebody
    has tampered with add up to, counts as that."""
    for width, code in _CODES.items():
        try:
            # In one go: what does not fit is mostly found at once, and to ask for the greatest
            # first takes twice as long.
            packed = array(code, numbers)
        except OverflowError:
            continue
        if width < _WIDEST or max(packed) <= MAX_COUNT:
            return _to_bytes(width, packed)
    capped = [min(number, MAX_COUNT) for number in numbers]
    return _to_bytes(_WIDEST, array(_CODES[_WIDEST], capped))


def _to_bytes(width: int, numbers: "array[int]") -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return bytes((width,)) + numbers.tobytes()


def length_of(packed: bytes) -> int:
    """How many numbers are packed in ``packed``. Raises :class:`ValueError` for what
    :func:`pack_ints` did not make, and for numbers that are no counts."""
    width = packed[0] if packed else 0
    if width not in _CODES or (len(packed) - 1) % width:
        raise ValueError("numbers that are cut")
    if width == _WIDEST and max(unpack_ints(packed), default=0) > MAX_COUNT:
        raise ValueError("a number that is no count")
    return (len(packed) - 1) // width


def unpack_ints(packed: bytes) -> "array[int]":
    """What :func:`pack_ints` made ``packed`` of; :func:`length_of` refuses anything else."""
    return read_ints(_CODES[packed[0]], packed[1:])


def read_ints(code: str, little_endian: bytes) -> "array[int]":
    """Numbers of the width that :mod:`array` calls ``code``."""
    numbers = array(code, little_endian)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
