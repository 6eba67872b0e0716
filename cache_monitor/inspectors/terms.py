"""The terms of one look into a cache, and what to say where it is refused."""

import os
import time
from typing import NamedTuple


class Terms(NamedTuple):
    """How far a look may go. ``deadline`` is on the monotonic clock; ``stale_after`` in seconds."""

    alias: str
    limit: int
    deadline: float
    stale_after: float

    def spent(self, looked_at: int) -> bool:
        """Whether to stop after ``looked_at`` entries."""
        return looked_at >= self.limit or time.monotonic() >= self.deadline


class CannotLook(Exception):
    """The cache cannot be looked into; the message may be shown to people."""


def described(error: BaseException) -> str:
    """What to show of ``error``.

    Only its type and what the operating system says: the message of a driver may quote the
    address it was given, with the password in it.
    """
    if isinstance(error, CannotLook):
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
