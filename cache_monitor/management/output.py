"""What the commands share: refusals, the option of a moment, output to a file, progress."""

import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError

from cache_monitor.api import UnknownAlias
from cache_monitor.exporters.table import harmless, harmless_json
from cache_monitor.periods import parse_moment
from cache_monitor.stores.base import StoreError

REFUSED, INTERRUPTED = 2, 130
"""The exit statuses for bad arguments or a failing store, and for Ctrl-C."""

_BAR_WIDTH = 30
_BAR_INTERVAL = 0.1


def refusal(message: str) -> CommandError:
    """The error for arguments that cannot be used, which ends the command."""
    return CommandError(message, returncode=REFUSED)


@contextmanager
def refusing() -> Iterator[None]:
    """Refuses an unknown cache and a store that fails."""
    try:
        yield
    except (UnknownAlias, StoreError) as error:
        raise refusal(str(error)) from error


def moment_option(options: Mapping[str, Any], name: str, now: datetime) -> datetime | None:
    """The moment that the option ``name`` gives, or None."""
    text = options[name]
    try:
        return None if text is None else parse_moment(text, now)
    except ValueError as error:
        raise refusal(f"--{name} is {text!r}. {error}") from error


def give(command: BaseCommand, text: str, path: str | None = None) -> None:
    """Print ``text``; or write it to ``path``, whole or not at all."""
    if path is None:
        # A visitor may have written a key, and somebody may have tampered with the store.
        is_json = text.startswith("{")
        command.stdout.write(harmless_json(text) if is_json else harmless(text))
        return
    with writing(path) as file:
        file.write(text.rstrip("\n").encode() + b"\n")


@contextmanager
def writing(path: str) -> Iterator[BinaryIO]:
    """A file as of :func:`whole_file`; one that cannot be written is refused."""
    try:
        with whole_file(Path(path)) as file:
            yield file
    except OSError as error:
        raise refusal(f"Nothing was written to {path}: {error.strerror or error}") from error


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write and read, which replaces ``path`` atomically at the end.

    It follows a symbolic link. Raises ``OSError``; after an exception ``path`` is as before.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise OSError(f"{path} is not a file.")
    # Beside the target: a rename must not cross file systems.
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


class ProgressBar:
    """A line that is overwritten with the progress; none where ``stream`` is no terminal.

    ``stream`` is a text stream, usually a command's standard error.
    """

    def __init__(self, stream: Any) -> None:
        # Django's wrapper ends each text with a new line.
        self._stream = getattr(stream, "_out", stream)
        self._is_shown = bool(getattr(stream, "isatty", lambda: False)())
        self._next = 0.0
        self._length = 0

    def show(self, name: str, done: int, total: int | None) -> None:
        """Show ``done`` of ``total``, None where that is unknown."""
        if not self._is_shown or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _BAR_INTERVAL
        if total:
            share = min(1.0, done / total)
            bar = ("#" * round(share * _BAR_WIDTH)).ljust(_BAR_WIDTH)
            self._write(f"{name} [{bar}] {share:4.0%} {done:,}")
        else:
            self._write(f"{name} {done:,}")

    def clear(self) -> None:
        """Remove the line."""
        if self._is_shown and self._length:
            self._write("")
            self._stream.write("\r")
            self._stream.flush()
            self._length = 0

    def _write(self, text: str) -> None:
        self._stream.write(f"\r{text.ljust(self._length)}")
        self._stream.flush()
        self._length = len(text)
