"""Errors of the monitor's own: noted by kind, logged at a bounded rate, never the site's.

The handler of a signal runs between any two steps of a program, and what it raises comes out of
whatever is under way: the time limit of a task queue, of a test, Ctrl-C. That is the caller's, and
must not be taken for a fault of the code that it interrupts: neither of ours nor of a backend.
"""

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from inspect import CO_VARARGS
from itertools import pairwise
from signal import Signals
from traceback import TracebackException, walk_tb
from types import FrameType, TracebackType

from msgspec import Struct

PACKAGE = __name__.partition(".")[0]

_COME_UPON = frozenset({PACKAGE, "django", "msgspec", *sys.stdlib_module_names})
"""Whose exceptions our own code raises, or comes upon without a frame of theirs between: where a
function in C raises them."""
_SIGNALS = frozenset(map(int, Signals))


def let_pass(error: BaseException) -> None:
    """Raise ``error`` again, to be called where it was caught, if it only passed by."""
    if is_passing(error):
        raise error


def is_passing(error: BaseException) -> bool:
    """Whether ``error`` came from outside into the code of ours that it was caught in.

    What another thread has raised in ours has no frame of its own, and is known by being none of
    the exceptions that our code can come upon.
    """
    if is_interruption(error):
        return True
    frames = list(_frames(error))
    return bool(frames) and _package(frames[-1]) == PACKAGE and not _is_come_upon(type(error))


def is_interruption(error: BaseException) -> bool:
    """Whether ``error`` came from outside into whatever it was caught in, ours or not.

    Whatever is no ``Exception`` does: a cancelled task, Ctrl-C, the end of the process or of a
    generator. A signal's handler is known by what it was called with: a signal and the frame that
    it interrupts.
    """
    if not isinstance(error, Exception):
        return True
    return any(_handles_signal(frame, before) for before, frame in pairwise(_frames(error)))


def _frames(error: BaseException) -> Iterator[FrameType]:
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _handles_signal(frame: FrameType, interrupted: FrameType) -> bool:
    """Whether ``frame`` was called with a signal and ``interrupted``, as only a handler is."""
    given = list(_given(frame))
    return any(each is interrupted for each in given) and any(
        isinstance(each, int) and each in _SIGNALS for each in given
    )


def _given(frame: FrameType) -> Iterator[object]:
    """The arguments of ``frame``, those of ``*args`` one by one."""
    code, values = frame.f_code, frame.f_locals
    arguments = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & CO_VARARGS)
    for name in code.co_varnames[:arguments]:
        value = values.get(name)
        if type(value) is tuple:
            yield from value
        else:
            yield value


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_come_upon(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _COME_UPON


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


EXTRAS = {
    "opentelemetry": "opentelemetry",
    "prometheus_client": "prometheus",
    "rich": "cli",
}
"""The extra of our distribution that brings each package."""


class MissingExtra(ImportError):
    """A package that this export needs is not installed; the message says how to get it."""

    def __init__(self, package: str) -> None:
        extra = EXTRAS[package]
        super().__init__(
            f"{package} is not installed: python -m pip install 'django-cache-monitor[{extra}]'"
        )


class NotReady(Exception):
    """The settings or apps are not ready yet; they may be later."""
