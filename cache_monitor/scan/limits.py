"""How much a scan may take: time, bytes, keys, whatever the server does.

A server may be slow or broken, or none of the expected kind: its answers may be slow, endless or
implausible. Such a scan ends in the cache's ``problem``.
"""

import os
import time
from math import inf
from typing import Any, NamedTuple


class ScanLimits(NamedTuple):
    """How far a scan may go. ``deadline`` is on the monotonic clock; ``stale_after`` in seconds."""

    alias: str
    limit: int
    deadline: float
    stale_after: float

    def spent(self, looked_at: int) -> bool:
        """Whether to stop after ``looked_at`` entries."""
        return looked_at >= self.limit or time.monotonic() >= self.deadline


class ScanError(Exception):
    """The cache cannot be scanned; the message may be shown to people."""


def described(error: BaseException) -> str:
    """What to show of ``error``: its type and what the operating system says.

    The message of a driver may quote its address, with the password.
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


ANSWER_SECONDS = 5.0
"""Seconds that a server may take for the whole of an answer."""
GRACE_SECONDS = 2.0
"""Seconds after the deadline of a scan for its last answer and the backend's limits."""
ANSWER_BYTES = 16 << 20
"""Bytes of one answer; a page of keys takes a thousandth of it."""
GREATEST = 1 << 53
"""The greatest plausible figure; JSON has no greater integers."""

INCREDIBLE = "The server gives figures that cannot be true."
_TOO_SLOW = "The server does not answer in the time that a look has."
_TOO_MUCH = "The server's answer does not end."


class Bounds:
    """What one scan may still spend.

    Nothing begins after ``deadline``, on the monotonic clock. Waiting for a server ends
    ``GRACE_SECONDS`` later; no answer takes longer than ``ANSWER_SECONDS``.
    """

    def __init__(self, deadline: float = inf) -> None:
        now = time.monotonic()
        self.deadline = deadline
        self._ends = max(deadline, now) + GRACE_SECONDS
        self._answer_ends = inf
        self._bytes_left = ANSWER_BYTES

    def begin(self) -> None:
        """Begin to wait for an answer. Raises :class:`ScanError` where the scan is over."""
        now = time.monotonic()
        if now >= self._ends:
            raise ScanError(_TOO_SLOW)
        self._answer_ends = min(now + ANSWER_SECONDS, self._ends)
        self._bytes_left = ANSWER_BYTES

    def seconds(self, at_most: float | None = None) -> float:
        """How long the next bytes may take, at most ``at_most``.

        Raises ``TimeoutError`` where the answer has taken too long, and :class:`ScanError` where
        the whole scan has.
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
    """A connected socket for a client library, within ``bounds``. An answer begins when something
    is sent."""

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


def figure(value: object, most: int = GREATEST) -> int:
    """``value`` as a count or a size; raises :class:`ScanError` where it cannot be one."""
    if isinstance(value, (str, bytes)) and len(value) <= len(str(most)):
        try:
            value = int(value)
        except ValueError:
            raise ScanError(INCREDIBLE) from None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most:
        return value
    raise ScanError(INCREDIBLE)
