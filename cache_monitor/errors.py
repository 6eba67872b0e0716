"""The monitor's own errors: noted by kind, logged at a bounded rate, never raised into the site.

A signal's handler runs between any two steps of a program. What it raises, such as the time limit
of a task queue or Ctrl-C, is an interruption. It belongs to the caller, and is no fault of the code
that it interrupts: neither of the monitor nor of a backend.
"""

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from inspect import CO_VARARGS
from itertools import pairwise
from pathlib import Path
from signal import Signals
from traceback import TracebackException, walk_tb
from types import FrameType, TracebackType

from msgspec import Struct

PACKAGE = __name__.partition(".")[0]

_EXPECTED = frozenset({PACKAGE, "django", "msgspec", *sys.stdlib_module_names})
"""Packages whose exceptions may be raised by a line of our own code: ours, and those with functions
in C, which have no frame."""
_SIGNALS = frozenset(map(int, Signals))


def let_pass(error: BaseException) -> None:
    """Raise ``error`` again where it is an interruption; called where it was caught."""
    if is_passing(error):
        raise error


def is_passing(error: BaseException) -> bool:
    """Whether ``error`` was raised from outside into our code, which caught it.

    An exception that another thread has raised in this one has no frame of its own. It is
    recognized by its type, if our code cannot raise that.
    """
    if is_interruption(error):
        return True
    frames = list(_frames(error))
    where = str(frames[-1].f_globals.get("__name__", "")) if frames else ""
    is_expected = type(error).__module__.partition(".")[0] in _EXPECTED
    return where.partition(".")[0] == PACKAGE and not is_expected


def is_interruption(error: BaseException) -> bool:
    """Whether ``error`` was raised from outside into the code that it interrupted, ours or not.

    All that are no ``Exception`` were: a cancelled task, Ctrl-C, the end of the process or of a
    generator. A signal's handler is recognized by its arguments: a signal and the interrupted
    frame.
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
    given = list(_arguments(frame))
    return any(each is interrupted for each in given) and any(
        isinstance(each, int) and each in _SIGNALS for each in given
    )


def _arguments(frame: FrameType) -> Iterator[object]:
    code, values = frame.f_code, frame.f_locals
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & CO_VARARGS)
    for name in code.co_varnames[:count]:
        value = values.get(name)
        if type(value) is tuple:
            yield from value
        else:
            yield value


logger = logging.getLogger("cache_monitor")

INTERVAL = 60.0
"""Seconds between two records of one kind."""
MOST_KINDS = 50
"""Kinds that are distinguished; all further ones are one."""

_Kind = tuple[str, str]


class _KindState(Struct):
    """When a fault of a kind was last to be logged, and how many there were since."""

    logged_at: float
    since: int = 0


class Faults:
    """Notes faults, and logs them later: where no lock is held that the site may want.

    A kind is a line of our code and a type of exception. The first fault of a kind is logged, and
    then one every ``INTERVAL`` seconds, with the number of those left out.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[_Kind, _KindState] = {}
        self._waiting: deque[tuple[str, int, TracebackException]] = deque()

    def note(self, error: BaseException) -> None:
        """Note ``error``, without any values of its frames."""
        kind = _kind(error)
        if kind not in self._kinds and len(self._kinds) >= MOST_KINDS:
            kind = ("other places", "faults")
        seen = self._kinds.get(kind)
        now = self._clock()
        if seen is not None and now < seen.logged_at + INTERVAL:
            seen.since += 1
            return
        left_out = 0 if seen is None else seen.since
        self._kinds[kind] = _KindState(now)
        summary = TracebackException(type(error), error, error.__traceback__, lookup_lines=False)
        self._waiting.append((" at ".join(reversed(kind)), left_out, summary))

    def log(self) -> None:
        while self._waiting:
            try:
                kind, left_out, summary = self._waiting.popleft()
            except IndexError:
                # Another thread logs it.
                return
            more = f" {left_out} more of the kind were not logged." if left_out else ""
            logger.error(
                "A fault of the cache monitor's own, which the site does not notice: %s.%s\n%s",
                kind,
                more,
                "".join(summary.format()).rstrip(),
            )


def _kind(error: BaseException) -> _Kind:
    return _place(error.__traceback__), type(error).__qualname__


def _place(traceback: TracebackType | None) -> str:
    """The innermost line of ours in ``traceback``; of any code where there is none of ours."""
    place = "an unknown place"
    for frame, line in walk_tb(traceback):
        name = str(frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] == PACKAGE or place == "an unknown place":
            place = f"{name}:{line}"
    return place


def type_and_line(error: BaseException) -> str:
    """The type of ``error`` and the line that raised it, without its message: that may quote a
    key."""
    frames = list(walk_tb(error.__traceback__))
    if not frames:
        return type(error).__name__
    frame, line = frames[-1]
    return f"{type(error).__name__} in {Path(frame.f_code.co_filename).name}, line {line}"


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
