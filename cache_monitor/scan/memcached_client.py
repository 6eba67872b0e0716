"""As much of memcached's text protocol as looking takes, over a connection of our own.

The client libraries have no call for listing keys, and their connections are the site's.
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
"""Bytes that a server has to send of a long answer in the time that a short one may take."""
_LONGEST_LINE = 8192
_NO_ANSWER = "The server's answer is none of memcached's."
_FAILURES = (b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR")


class _Refused(ScanError):
    """The server does not know the command, or does not allow it."""


class Connection:
    """A connection to one server; ``server`` as Django's ``LOCATION`` names it.

    ``tls`` is an ``ssl.SSLContext`` or None. Raises ``OSError`` where nobody answers, and
    :class:`ScanError` where what comes is no answer, or too late, or too much.
    """

    def __init__(self, server: object, tls: Any = None, bounds: Bounds | None = None) -> None:
        self._bounds = Bounds() if bounds is None else bounds
        self._bounds.begin()
        plain = _connected(server, self._bounds.seconds())
        if tls is not None:
            plain = tls.wrap_socket(plain, server_hostname=address_of(server)[0])
        self._socket = BoundedSocket(plain, self._bounds)

    def close(self) -> None:
        """Hang up; the server then stops what it was sending."""
        with suppress(OSError):
            self._socket.close()

    def stats(self) -> dict[str, str]:
        """What the server says of itself."""
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
            # By its table: the other lists, by age, move while they are walked.
            yield from self._answer(b"lru_crawler metadump hash", is_long=True)
        except _Refused:
            yield from self._answer(b"lru_crawler metadump all", is_long=True)

    def entry(self, key: bytes) -> dict[str, str] | None:
        """What the server notes of an entry, which does not count as a use; None without one."""
        self._socket.sendall(b"me " + key + b"\r\n")
        line = next(self._lines())
        if line.startswith(b"EN"):
            return None
        if not line.startswith(b"ME "):
            raise ScanError("The server is too old to tell of single entries (before 1.5.17).")
        return fields(line[len(key) + 4 :])

    def _answer(self, question: bytes, is_long: bool = False) -> Generator[bytes, None, None]:
        """The lines of an answer, without the END behind them.

        A long one may go on as long as the look does, if enough of it comes all the time.
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
    """The stored key that a line of a dump is about, with its odd characters as ``%3A``."""
    name, is_there, _ = line.partition(b" ")
    if not (is_there and name.startswith(b"key=")):
        raise ScanError(_NO_ANSWER)
    return name[4:]


def key_in(line: bytes) -> bytes:
    """The stored key that a line of a dump is about."""
    return unquote_to_bytes(quoted_key_in(line))


def _connected(server: object, patience: float) -> socket.socket:
    if isinstance(server, str) and server.startswith(("unix:", "/")):
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            found.settimeout(patience)
            found.connect(server.removeprefix("unix:"))
        except OSError:
            found.close()
            raise
        return found
    return socket.create_connection(address_of(server), patience)


def address_of(server: object) -> tuple[str, int]:
    """The host and the port of a server that ``LOCATION`` names; raises :class:`ScanError`."""
    if isinstance(server, (tuple, list)):
        return str(server[0]), int(server[1])
    match = _ADDRESS.fullmatch(str(server).strip())
    if match is None:
        raise ScanError("LOCATION is in a form that cannot be looked into.")
    return match["six"] or match["host"] or "localhost", int(match["port"] or _PORT)
