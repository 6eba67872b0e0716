"""The part of memcached's text protocol that a scan needs, over its own connection.

The client libraries cannot list keys, and their connections are the site's.
"""

import re
import socket
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import unquote_to_bytes

from cache_monitor.scan.limits import BoundedSocket, Bounds, ScanError

_CHUNK = 1 << 16
_PORT = 11211
_ADDRESS = re.compile(
    r"(?:inet6?:)?(?:\[(?P<six>[^\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>[0-9]{1,5}))?(?::[0-9]+)?"
)
_TRIES, _BUSY_PAUSE = 5, 0.2
_ENOUGH = 1024
"""Bytes of a long answer that a server must send in the time of a short one."""
_LONGEST_LINE = 8192
_NO_ANSWER = "The server's answer is none of memcached's."
_FAILURES = (b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR")


class _Refused(ScanError):
    """The server does not know the command, or does not allow it."""


class Connection:
    """A connection to one server; ``server`` as in ``LOCATION``, ``tls`` an ``ssl.SSLContext``.

    Raises ``OSError`` where nothing answers, and :class:`ScanError` where the answer is too late,
    too long or implausible.
    """

    def __init__(self, server: object, tls: Any = None, bounds: Bounds | None = None) -> None:
        self._bounds = Bounds() if bounds is None else bounds
        self._bounds.begin()
        plain = _connected(server, self._bounds.seconds())
        if tls is not None:
            plain = tls.wrap_socket(plain, server_hostname=address_of(server)[0])
        self._socket = BoundedSocket(plain, self._bounds)

    def close(self) -> None:
        with suppress(OSError):
            self._socket.close()

    def stats(self) -> dict[str, str]:
        """The server's own statistics."""
        found = {}
        for line in self._answer(b"stats"):
            parts = line.decode("utf-8", "replace").split(" ", 2)
            if len(parts) < 3:
                raise ScanError(_NO_ANSWER)
            found[parts[1]] = parts[2]
        return found

    def dump(self) -> Generator[bytes, None, None]:
        """One line for each entry; an empty one now and then while there are none.

        Raises :class:`ScanError` where the server's crawler may not be used, or is in use.
        """
        try:
            # By its table: the other lists, by age, move while they are scanned.
            yield from self._answer(b"lru_crawler metadump hash", is_long=True)
        except _Refused:
            yield from self._answer(b"lru_crawler metadump all", is_long=True)

    def entry(self, key: bytes) -> dict[str, str] | None:
        """The metadata of an entry; None without one. Does not count as a use."""
        self._socket.sendall(b"me " + key + b"\r\n")
        line = next(self._lines())
        if line.startswith(b"EN"):
            return None
        if not line.startswith(b"ME "):
            raise ScanError("The server is too old to tell of single entries (before 1.5.17).")
        return fields(line[len(key) + 4 :])

    def _answer(self, question: bytes, is_long: bool = False) -> Generator[bytes, None, None]:
        """The lines of an answer, without its END.

        A long one may take as long as the scan, if enough of it comes all the time.
        """
        for tries_left in reversed(range(_TRIES)):
            self._socket.sendall(question + b"\r\n")
            for line in self._lines(is_long):
                if line == b"END":
                    return
                if line.startswith(b"BUSY"):
                    if not tries_left:
                        raise ScanError("The server is listing its keys for somebody else.")
                    time.sleep(_BUSY_PAUSE)
                    break
                if line.startswith(_FAILURES):
                    raise _Refused(f"The server refuses {question.split()[0].decode()}.")
                yield line

    def _lines(self, is_long: bool = False) -> Iterator[bytes]:
        rest, received = b"", 0
        while chunk := self._socket.recv(_CHUNK):
            received += len(chunk)
            if is_long and received >= _ENOUGH:
                self._bounds.begin()
                received = 0
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            if len(rest) > _LONGEST_LINE:
                raise ScanError(_NO_ANSWER)
            for line in lines:
                yield line.rstrip(b"\r")
            if is_long and not lines:
                yield b""
        raise ScanError("The server ended the connection: it may want a user and a password.")


def fields(line: bytes) -> dict[str, str]:
    """The ``name=value`` pairs of a line."""
    pairs = (part.split(b"=", 1) for part in line.split(b" ") if b"=" in part)
    return {
        name.decode("ascii", "replace"): value.decode("ascii", "replace") for name, value in pairs
    }


def quoted_key_in(line: bytes) -> bytes:
    """The stored key of a line of a dump, percent-encoded."""
    name, is_there, _ = line.partition(b" ")
    if not (is_there and name.startswith(b"key=")):
        raise ScanError(_NO_ANSWER)
    return name[4:]


def key_in(line: bytes) -> bytes:
    """The stored key of a line of a dump."""
    return unquote_to_bytes(quoted_key_in(line))


def _connected(server: object, timeout: float) -> socket.socket:
    if isinstance(server, str) and server.startswith(("unix:", "/")):
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            found.settimeout(timeout)
            found.connect(server.removeprefix("unix:"))
        except OSError:
            found.close()
            raise
        return found
    return socket.create_connection(address_of(server), timeout)


def address_of(server: object) -> tuple[str, int]:
    """The host and port of a server in ``LOCATION``. Raises :class:`ScanError`."""
    if isinstance(server, (tuple, list)):
        return str(server[0]), int(server[1])
    match = _ADDRESS.fullmatch(str(server).strip())
    if match is None:
        raise ScanError("LOCATION is in a form that cannot be looked into.")
    return match["six"] or match["host"] or "localhost", int(match["port"] or _PORT)
