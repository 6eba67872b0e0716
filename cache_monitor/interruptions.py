"""Telling a fault of ours from an exception that only happened to be raised in our midst.

The handler of a signal runs between any two steps of a program, and what it raises comes out of
whatever is under way: the time limit of a task queue, of a test, Ctrl-C. That is the caller's, and
must not be taken for a fault of the code that it interrupts.
"""

import sys
from collections.abc import Iterator
from inspect import CO_VARARGS
from itertools import pairwise
from types import FrameType

PACKAGE = __name__.partition(".")[0]


def let_pass(error: BaseException) -> None:
    """Raise ``error`` again, to be called where it was caught, if it only passed by."""
    if is_passing(error):
        raise error


def is_passing(error: BaseException) -> bool:
    """Whether ``error`` came from outside into the code that it was caught in.

    A signal's handler is known by what it was called with: the frame that it interrupts. What
    another thread has raised in ours has no frame of its own, and is known by being none of the
    exceptions that our code can come upon: those of Python and its library.
    """
    if not isinstance(error, Exception):
        return True
    frames = list(_frames(error))
    if any(_was_given(frame, interrupted) for interrupted, frame in pairwise(frames)):
        return True
    return bool(frames) and _package(frames[-1]) == PACKAGE and not _is_of_python(type(error))


def _frames(error: BaseException) -> Iterator[FrameType]:
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _was_given(frame: FrameType, other: FrameType) -> bool:
    """Whether ``frame`` has ``other`` for an argument."""
    code, values = frame.f_code, frame.f_locals
    arguments = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & CO_VARARGS)
    for name in code.co_varnames[:arguments]:
        value = values.get(name)
        if value is other or (type(value) is tuple and any(each is other for each in value)):
            return True
    return False


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_of_python(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in sys.stdlib_module_names
