"""Keys as they are pressed, in a terminal made for the test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TextIO

import pytest

from cache_monitor.management.commands.cache_top import keyboard

pty = pytest.importorskip("pty", reason="there are no terminals on this system")
termios = pytest.importorskip("termios", reason="there are no terminals on this system")


@pytest.fixture
def fingers(monkeypatch: pytest.MonkeyPatch) -> Iterator[TextIO]:
    """What is written here is typed into the terminal that is the standard input."""
    leader, subscriber = pty.openpty()
    with os.fdopen(leader, "w", buffering=1) as fingers, os.fdopen(subscriber) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        yield fingers


def _press(fingers: TextIO, key: str) -> None:
    fingers.write(key)
    fingers.flush()


def test_a_key_comes_without_the_enter_key(fingers: TextIO) -> None:
    with keyboard() as keys:
        _press(fingers, "m")
        assert keys.wait(60) == "m"
        assert keys.wait(0) is None


def test_keys_that_are_no_ascii_mean_nothing(fingers: TextIO) -> None:
    with keyboard() as keys:
        _press(fingers, "é")
        assert keys.wait(60) not in {"e", "q", None}


@pytest.mark.parametrize("fails", [False, True])
def test_the_terminal_is_put_back(fingers: TextIO, fails: bool) -> None:
    before = termios.tcgetattr(fingers.fileno())
    try:
        with keyboard():
            assert termios.tcgetattr(fingers.fileno()) != before
            if fails:
                raise RuntimeError
    except RuntimeError:
        pass
    assert termios.tcgetattr(fingers.fileno()) == before


def test_without_a_terminal_there_are_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing, monkeypatch.context() as patch:  # noqa: PTH123 - a device
        patch.setattr("sys.stdin", nothing)
        with keyboard() as keys:
            assert keys.wait(0) is None
