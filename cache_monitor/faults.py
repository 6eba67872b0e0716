"""Faults of the monitor's own: noted by kind, logged at a bounded rate, never the site's."""

import logging
import time
from collections import deque
from collections.abc import Callable
from traceback import TracebackException, walk_tb
from types import TracebackType

from msgspec import Struct

from cache_monitor.interruptions import PACKAGE

logger = logging.getLogger("cache_monitor")

INTERVAL = 60.0
"""Seconds between two records of one kind."""
MOST_KINDS = 50
"""Kinds that are told apart; all further ones are one."""

_Kind = tuple[str, str]


class _Seen(Struct):
    """What is known of a kind: when it was last to be logged, and how many came since."""

    logged_at: float
    since: int = 0


class Faults:
    """Notes faults, and logs them when told to: where no lock is held that the site may want.

    A kind is a place in our code and a type of exception. The first of a kind is logged, and from
    then on one in ``INTERVAL`` seconds, with how many were left out.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[_Kind, _Seen] = {}
        self._waiting: deque[tuple[str, int, TracebackException]] = deque()

    def note(self, error: BaseException) -> None:
        """Take note of ``error``. Keeps nothing of what the site had in its hands."""
        kind = _kind(error)
        if kind not in self._kinds and len(self._kinds) >= MOST_KINDS:
            kind = ("other places", "faults")
        seen = self._kinds.get(kind)
        now = self._clock()
        if seen is not None and now < seen.logged_at + INTERVAL:
            seen.since += 1
            return
        left_out = 0 if seen is None else seen.since
        self._kinds[kind] = _Seen(now)
        told = TracebackException(type(error), error, error.__traceback__, lookup_lines=False)
        self._waiting.append((" at ".join(reversed(kind)), left_out, told))

    def tell(self) -> None:
        """Log what was noted."""
        while self._waiting:
            try:
                kind, left_out, told = self._waiting.popleft()
            except IndexError:
                # Another thread tells of it.
                return
            more = f" {left_out} more of the kind were not logged." if left_out else ""
            logger.error(
                "A fault of the cache monitor's own, which the site does not notice: %s.%s\n%s",
                kind,
                more,
                "".join(told.format()).rstrip(),
            )


def _kind(error: BaseException) -> _Kind:
    return _place(error.__traceback__), type(error).__qualname__


def _place(traceback: TracebackType | None) -> str:
    """The last line of ours that it came through; of any other where none of ours is there."""
    place = "an unknown place"
    for frame, line in walk_tb(traceback):
        name = str(frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] == PACKAGE or place == "an unknown place":
            place = f"{name}:{line}"
    return place
