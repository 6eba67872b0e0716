"""Telling a fault of ours from an exception that only happened to be raised in our midst.

The handler of a signal runs between any two steps of a program, and what it raises comes out of
whatever is under way: the time limit of a task queue, of a test, Ctrl-C. That is the caller's, and
must not be taken for a fault of the code that it interrupts: neither of ours nor of a backend.
"""

import sys
from collections.abc import Iterator
from inspect import CO_VARARGS
from itertools import pairwise
from signal import Signals
from types import FrameType

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
