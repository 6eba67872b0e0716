"""How far a long command has come, on a terminal."""

import time
from typing import Any

_WIDTH = 30
_INTERVAL = 0.1


class ProgressBar:
    """A line that is written over again and again; nothing at all where ``stream`` is no terminal.

    ``stream`` is a text stream, usually the standard error.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._is_shown = bool(getattr(stream, "isatty", lambda: False)())
        self._next = 0.0
        self._length = 0

    def show(self, name: str, done: int, total: int | None) -> None:
        """``done`` of ``total``, None where nobody knows how many there are."""
        if not self._is_shown or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _INTERVAL
        if total:
            share = min(1.0, done / total)
            bar = ("#" * round(share * _WIDTH)).ljust(_WIDTH)
            self._write(f"{name} [{bar}] {share:4.0%} {done:,}")
        else:
            self._write(f"{name} {done:,}")

    def clear(self) -> None:
        """Take the line away."""
        if self._is_shown and self._length:
            self._write("")
            self._stream.write("\r")
            self._stream.flush()
            self._length = 0

    def _write(self, text: str) -> None:
        self._stream.write(f"\r{text.ljust(self._length)}")
        self._stream.flush()
        self._length = len(text)
