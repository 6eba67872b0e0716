"""Single key presses, as they come, from the terminal that started the program."""

import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

try:
    import termios
    import tty
except ImportError:  # Windows
    _HAS_TERMINALS = False
else:
    _HAS_TERMINALS = True


class Keyboard:
    """Where keys are read from; nowhere if there is no terminal to read."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def wait(self, seconds: float) -> str | None:
        """The key that is pressed within ``seconds``; None where none is."""
        if self._descriptor is None:
            time.sleep(seconds)
            return None
        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        if not ready:
            return None
        # What is not ASCII is no key of ours; an end of input is like the key that ends.
        return os.read(self._descriptor, 1).decode("ascii", "replace") or "q"


@contextmanager
def keyboard() -> Iterator[Keyboard]:
    """The keyboard without echo and line editing, put back as it was at the end."""
    if not (_HAS_TERMINALS and sys.stdin.isatty()):
        yield Keyboard(None)
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield Keyboard(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
