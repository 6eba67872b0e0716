"""What a file of Django's FileBasedCache tells without being unpickled: when it expires.

The file begins with a pickle of its expiry: a float, or None for never. A pickle is a program, so
only the few bytes that Django's own contain are understood, and nothing is executed.
"""

import errno
import os
import stat
import struct
from contextlib import suppress
from typing import NamedTuple

HEADER = 64
"""Bytes that hold any header: the longest, of protocol 0, is a float as text."""

_PROTOCOL, _FRAME, _FLOAT, _TEXT_FLOAT, _NONE, _STOP = b"\x80", b"\x95", b"G", b"F", b"N", b"."
_NO_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_NO_TRACE = getattr(os, "O_NOATIME", 0)
"""Only the owner and root may open so. Whoever is neither could not put the time back either."""


class Expiry(NamedTuple):
    """When a file's entry expires, in Unix time; None for never."""

    at: float | None


def expiry_of(head: bytes) -> Expiry | None:
    """The expiry at the beginning of a file; None where ``head`` is cut or something else.

    Django takes an empty file for one that has expired long ago.
    """
    if not head:
        return Expiry(0.0)
    if head[:1] == _PROTOCOL:
        head = head[2:]
    if head[:1] == _FRAME:
        head = head[9:]
    if head[:2] == _NONE + _STOP:
        return Expiry(None)
    if head[:1] == _FLOAT and head[9:10] == _STOP:
        (at,) = struct.unpack(">d", head[1:9])
        return Expiry(at)
    text, newline, rest = head[1:].partition(b"\n")
    if head[:1] == _TEXT_FLOAT and newline and rest[:1] == _STOP:
        with suppress(ValueError):
            return Expiry(float(text))
    return None


def read_head(path: str) -> bytes:
    """The beginning of the file, without leaving a trace in its access time.

    Raises ``OSError``, also where it is not a plain file or this would leave a trace.
    """
    # Whatever has come to its place since it was looked at must not be waited for.
    descriptor = os.open(path, os.O_RDONLY | _NO_WAITING | _NO_TRACE)
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        head = os.read(descriptor, HEADER)
        if not _NO_TRACE:
            os.utime(descriptor, ns=(before.st_atime_ns, before.st_mtime_ns))
        return head
    finally:
        os.close(descriptor)
