"""What comes from outside is told from what our own code, or the caller's, has raised."""

import ctypes
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest
from django.core.exceptions import ImproperlyConfigured

from cache_monitor.calls import bounded
from cache_monitor.errors import is_interruption, is_passing, let_pass
from cache_monitor.stores.base import StoreError


class LimitError(Exception):
    """What a time limit raises."""


def _raise(signum: int, frame: object) -> None:
    raise LimitError


def _raise_after_work(signum: int, frame: object) -> None:
    _raise_deeper()


def _raise_deeper() -> None:
    raise ValueError("too late")


class Handler:
    def __call__(self, *arguments: object) -> None:
        raise LimitError


HANDLERS: dict[str, Any] = {
    "a function": _raise,
    "a function that calls others": _raise_after_work,
    "an object": Handler(),
    "a method": Handler().__call__,
    "a function of more arguments": partial(lambda more, *given: _raise(*given), "more"),
    "a mock": Mock(side_effect=LimitError),
}


@contextmanager
def _handled_by(handler: Callable[..., object]) -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


class Interrupted:
    """A key that a signal interrupts while it is turned into text."""

    def __str__(self) -> str:
        signal.raise_signal(signal.SIGUSR1)
        return "text"


@pytest.mark.parametrize("name", HANDLERS)
def test_what_a_signals_handler_raises_passes(name: str) -> None:
    with _handled_by(HANDLERS[name]), pytest.raises((LimitError, ValueError)) as raised:
        bounded(Interrupted())
    assert is_passing(raised.value)


def test_what_a_key_raises_of_itself_does_not_pass() -> None:
    class Failing:
        def __str__(self) -> str:
            raise LimitError

    with _handled_by(_raise):
        assert bounded(Failing()) == "<Failing>"


def test_a_fault_does_not_pass() -> None:
    with pytest.raises(IndexError) as raised:
        [].pop()
    assert not is_passing(raised.value)
    let_pass(raised.value)


def test_the_end_of_the_program_passes() -> None:
    for kind in (KeyboardInterrupt, SystemExit, GeneratorExit):
        with pytest.raises(kind):
            let_pass(kind())


def test_what_another_thread_raises_in_our_code_passes() -> None:
    """As time limits without signals do it."""
    caught: list[BaseException] = []
    begun = threading.Event()

    def work() -> None:
        try:
            while True:
                begun.set()
                bounded(7)
        except LimitError as error:
            caught.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert begun.wait(60)
    ident = ctypes.c_ulong(thread.ident or 0)
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(LimitError)) == 1
    thread.join(60)
    assert len(caught) == 1


def test_a_fault_of_ours_does_not_pass_where_it_was_raised() -> None:
    """Not even one of a type of our own, or of a library that raises in C, without a frame."""
    namespace: dict[str, Any] = {"__name__": "cache_monitor.made_up", "msgspec": msgspec}
    code = "def ours(error):\n    raise error\ndef in_c():\n    msgspec.json.decode(b'[', type=int)"
    exec(compile(code, "made_up.py", "exec"), namespace)  # noqa: S102 - a module of ours
    for fault in (StoreError("no"), ImproperlyConfigured("no"), KeyError("no")):
        with pytest.raises(type(fault)) as raised:
            namespace["ours"](fault)
        assert not is_passing(raised.value)
    with pytest.raises(msgspec.DecodeError) as decoding:
        namespace["in_c"]()
    assert not is_passing(decoding.value)


def test_who_looks_at_its_callers_frame_is_no_signals_handler() -> None:
    def find_entry(frame: object, depth: int) -> None:
        raise LimitError

    with pytest.raises(LimitError) as raised:
        find_entry(sys._getframe(), 200)
    assert not is_interruption(raised.value)


@pytest.mark.parametrize("name", HANDLERS)
def test_what_a_handler_raises_in_anybodys_code_is_an_interruption(name: str) -> None:
    with _handled_by(HANDLERS[name]), pytest.raises((LimitError, ValueError)) as raised:
        str(Interrupted())
    assert is_interruption(raised.value)
