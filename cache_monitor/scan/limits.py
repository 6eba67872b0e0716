"""How much a scan may take: time, bytes, keys, whatever the server does.

A server may be slow, broken, or somebody else's than was thought: answers may come a byte at a
time, never end, or hold figures that cannot be true. Such a look ends in the cache's ``problem``.
"""

import os
import time
from math import inf
from typing import Any, NamedTuple


class ScanLimits(NamedTuple):
    """How far a look may go. ``deadline`` is on the monotonic clock; ``stale_after`` in seconds."""

    alias: str
    limit: int
    deadline: float
    stale_after: float

    def spent(self, looked_at: int) -> bool:
        """Whether to stop after ``looked_at`` entries."""
        return looked_at >= self.limit or time.monotonic() >= self.deadline


class ScanError(Exception):
    """The cache cannot be looked into; the message may be shown to people."""


def described(error: BaseException) -> str:
    """What to show of ``error``.

    Only its type and what the operating system says: the message of a driver may quote the
    address it was given, with the password in it.
    """
    if isinstance(error, ScanError):
        return str(error)
    name = type(error).__name__
    number = _system_error(error)
    return name if number is None else f"{name}: {os.strerror(number)}"


def _system_error(error: BaseException | None) -> int | None:
    """The errno of the first system error that led to ``error``."""
    for _ in range(10):
        if error is None:
            break
        if isinstance(error, OSError) and error.errno:
            return error.errno
        error = error.__cause__ or error.__context__
    return None


PATIENCE = 5.0
"""Seconds that a server may take for the whole of an answer."""
GRACE = 2.0
"""Seconds beyond the end of a look in which what was begun may end, and the limits be asked for."""
ANSWER = 16 << 20
"""Bytes of one answer: those to a page of keys have a thousandth of it."""
MOST = 1 << 53
"""The greatest figure that is believed: bytes, entries, evictions. JSON has no greater ones."""
LONGEST = 1e11
"""Seconds, some three thousand years: what expires later never does."""

INCREDIBLE = "The server gives figures that cannot be true."
_TOO_SLOW = "The server does not answer in the time that a look has."
_TOO_MUCH = "The server's answer does not end."


class Bounds:
    """What one look may still spend.

    ``deadline``, on the monotonic clock, is when to begin nothing more. What waits for a server
    ends soon after it, and no answer takes longer than ``PATIENCE``.
    """

    def __init__(self, deadline: float = inf) -> None:
        now = time.monotonic()
        self.deadline = deadline
        self._ends = max(deadline, now) + GRACE
        self._answer_ends = inf
        self._bytes_left = ANSWER

    def begin(self) -> None:
        """Begin to wait for an answer. Raises :class:`ScanError` where the look is over."""
        now = time.monotonic()
        if now >= self._ends:
            raise ScanError(_TOO_SLOW)
        self._answer_ends = min(now + PATIENCE, self._ends)
        self._bytes_left = ANSWER

    def seconds(self, at_most: float | None = None) -> float:
        """How long the next bytes may take; ``at_most`` is what somebody else allows for.

        Raises ``TimeoutError`` where the answer has taken too long, and :class:`ScanError` where
        the whole look has.
        """
        now = time.monotonic()
        if now >= self._ends:
            raise ScanError(_TOO_SLOW)
        if now >= self._answer_ends:
            raise TimeoutError(_TOO_SLOW)
        left = min(self._answer_ends, self._ends) - now
        return left if at_most is None else min(left, at_most)

    def took(self, size: int) -> None:
        """Note ``size`` more bytes of the answer. Raises :class:`ScanError` for too many."""
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise ScanError(_TOO_MUCH)


class BoundedSocket:
    """A connected socket as the client libraries use it, that keeps to ``bounds``: each time that
    something is sent, an answer begins."""

    def __init__(self, sock: Any, bounds: Bounds) -> None:
        self._socket = sock
        self._bounds = bounds

    def sendall(self, data: bytes) -> None:
        self._bounds.begin()
        self._waiting(self._socket.sendall, data)

    def recv(self, size: int, *flags: int) -> bytes:
        received: bytes = self._waiting(self._socket.recv, size, *flags)
        self._bounds.took(len(received))
        return received

    def recv_into(self, buffer: Any, *more: int) -> int:
        count: int = self._waiting(self._socket.recv_into, buffer, *more)
        self._bounds.took(count)
        return count

    def _waiting(self, call: Any, *args: Any) -> Any:
        given = self._socket.gettimeout()
        if given == 0:
            return call(*args)
        self._socket.settimeout(self._bounds.seconds(given))
        try:
            return call(*args)
        finally:
            self._socket.settimeout(given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


def figure(value: object, most: int = MOST) -> int:
    """``value`` as a count or a size; raises :class:`ScanError` where it cannot be one."""
    if isinstance(value, (str, bytes)) and len(value) <= len(str(most)):
        try:
            value = int(value)
        except ValueError:
            raise ScanError(INCREDIBLE) from None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most:
        return value
    raise ScanError(INCREDIBLE)
