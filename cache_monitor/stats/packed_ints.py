"""Columns of counts in few bytes: read from a row all at once, and made numbers of only where
somebody asks for them."""

import sys
from array import array
from collections.abc import Collection

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
