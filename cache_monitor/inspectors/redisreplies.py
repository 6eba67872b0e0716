"""Read what Redis replies to a page of commands, off a connection of the library's.

The library's own reader takes several times as long for each reply, and a whole look asks three
things of maybe a million keys. It is used where a connection does not show its socket.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cache_monitor.inspectors.terms import CannotLook

_CHUNK = 1 << 16
_LINE = b"\r\n"
_INTEGER, _BULK, _ARRAY, _PUSH = b":$*>"
_FAILURES = b"-!"


class Refusal(str):
    """The server's reason for not doing what it was asked; its first word is a code."""

    __slots__ = ()

    @property
    def code(self) -> str:
        """Such as NOPERM."""
        return self.split(" ", 1)[0][:20]

    @property
    def is_final(self) -> bool:
        """Whether to ask again is of no use: it is not allowed, not known, or not to be told."""
        return self.code in {"NOPERM", "ERR", "NOAUTH"}


Reply = Any
"""An int, bytes, a list of replies, None, or a :class:`Refusal`."""


def replies_on(connection: Any, count: int) -> list[Reply]:
    """The next ``count`` replies. Raises ``OSError``, :class:`CannotLook` or the library's."""
    sock = getattr(connection, "_sock", None)
    if sock is None:
        return [_as_the_library_reads(connection) for _ in range(count)]
    return _read(sock.recv, count)


def _read(receive: Callable[[int], bytes], count: int) -> list[Reply]:
    data = bytearray()
    while True:
        chunk = receive(_CHUNK)
        if not chunk:
            raise CannotLook("The server ended the connection.")
        data += chunk
        # What is cut ends in the middle of a line, or of a key.
        if data.endswith(_LINE) and (found := _parsed(bytes(data), count)) is not None:
            return found


def _parsed(data: bytes, count: int) -> list[Reply] | None:
    """``count`` replies; None where ``data`` does not hold all of them."""
    lines = data.count(_LINE)
    if lines < count:
        return None
    if lines == count and data.startswith(b":"):
        # Nearly always all of them are numbers.
        with suppress(ValueError):
            return list(map(int, data.replace(b":", b"").split()))
    return _Reader(data).replies(count)


class _Reader:
    """Takes replies apart, of the second and the third version of the protocol."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def replies(self, count: int) -> list[Reply] | None:
        found: list[Reply] = []
        try:
            while len(found) < count:
                # What the server tells unasked is no reply.
                is_reply = self._data[self._at] != _PUSH
                reply = self._reply()
                if is_reply:
                    found.append(reply)
        except IndexError:
            return None
        return found

    def _reply(self) -> Reply:
        """Raises ``IndexError`` where the data end before it does."""
        kind = self._data[self._at]
        line = self._line()
        if kind == _INTEGER:
            return int(line)
        if kind in _FAILURES:
            text = line if kind == _FAILURES[0] else self._bulk(int(line))
            return Refusal((text or b"").decode("utf-8", "replace"))
        if kind == _BULK:
            return self._bulk(int(line))
        if kind in {_ARRAY, _PUSH}:
            return [self._reply() for _ in range(int(line))]
        return line or None

    def _line(self) -> bytes:
        end = self._data.find(_LINE, self._at)
        if end < 0:
            raise IndexError
        line = self._data[self._at + 1 : end]
        self._at = end + len(_LINE)
        return line

    def _bulk(self, length: int) -> bytes | None:
        if length < 0:
            return None
        begin, end = self._at, self._at + length
        self._at = end + len(_LINE)
        if self._at > len(self._data):
            raise IndexError
        return self._data[begin:end]


def _as_the_library_reads(connection: Any) -> Reply:
    from redis.exceptions import ResponseError  # noqa: PLC0415 - an optional dependency

    try:
        return connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return Refusal(f"{type(error).__name__} {error}")
