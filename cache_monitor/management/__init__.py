"""What the commands share: options, refusals, output to the terminal or a file, progress; figures
and names as a terminal shows them."""

import codecs
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser

from cache_monitor.api import UnknownAlias, parse_moment, store_note
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


STDOUT = "-"
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "alias": {"help": "only this cache of CACHES"},
    "since": {"help": "how long ago (90m, 1h, 7d) or an RFC 3339 time; default: 1h"},
    "until": {"help": "likewise; default: now"},
    "format": {"choices": ("table", "json"), "default": "table", "help": "default: table"},
    "output": {
        "metavar": "FILE",
        "help": "write here, all or nothing, instead of printing; - is the standard output",
    },
    "schema": {
        "action": "store_true",
        "help": "print the JSON Schema of --format json instead",
    },
}


class MonitorCommand(BaseCommand):
    """What the commands have in common."""

    # A site that does not pass them needs the figures all the more.
    requires_system_checks: list[str] = []

    def add_options(self, parser: CommandParser, *names: str, **changed: Mapping[str, Any]) -> None:
        """Add the options ``names``, which mean the same in each command, and those ``changed``."""
        for name in (*names, *changed):
            parser.add_argument(f"--{name}", **{**_OPTIONS[name], **changed.get(name, {})})

    def note_store(self) -> None:
        """Say where the statistics are in the memory of a process, as nobody has asked."""
        if note := store_note():
            self.stderr.write(note)

    def give(self, text: str, path: str | None = None, *, utf_8: bool = False) -> None:
        """Print ``text``; or write it to ``path``, whole or not at all. A file is in UTF-8; what is
        printed is in the encoding of the standard output, unless the format is ``utf_8`` always."""
        if path not in {None, STDOUT}:
            with writing(path) as file:
                file.write(text.rstrip("\n").encode() + b"\n")
            return
        stream: Any = getattr(self.stdout, "_out", self.stdout)
        encoding = "utf-8" if utf_8 else getattr(stream, "encoding", None) or "utf-8"
        # A visitor may have written a key, and somebody may have tampered with the store.
        is_json = text.startswith("{")
        shown = harmless_json(text, encoding) if is_json else nearest(harmless(text), encoding)
        with _to_reader(self.stdout):
            if utf_8 and hasattr(stream, "buffer"):
                stream.flush()
                stream.buffer.write(shown.encode())
            else:
                self.stdout.write(shown)
            self.stdout.flush()

    def give_json(self, document: Any, path: str | None = None) -> None:
        """Print ``document``, or write it to ``path``."""
        self.give(msgspec.json.format(msgspec.json.encode(document), indent=2).decode(), path)


@contextmanager
def _to_reader(stream: Any) -> Iterator[None]:
    """Passes over that whoever reads from the standard output has read enough, as ``head``; one
    that cannot be written to, such as a full disk, is refused."""
    try:
        yield
    except OSError as error:
        if getattr(stream, "_out", stream) is not sys.stdout:
            raise
        # Python would write what is left, and fail once more, when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise refusal(f"The standard output failed: {error.strerror or error}") from error


@contextmanager
def writing(path: str) -> Iterator[BinaryIO]:
    """A file as of :func:`whole_file`, or one that goes to the standard output at the end; one that
    cannot be written is refused."""
    try:
        if path == STDOUT:
            with TemporaryFile() as file:
                yield file
                file.seek(0)
                with _to_reader(sys.stdout):
                    shutil.copyfileobj(file, sys.stdout.buffer)
                    sys.stdout.flush()
        else:
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


NOTHING = "–"
_SIGN = "\ufffd"
"""Replaces an unprintable character."""


def count(number: int | None) -> str:
    return NOTHING if number is None else f"{number:,}"


def brief(number: int | None) -> str:
    """A number in at most seven characters."""
    if number is None:
        return NOTHING
    # From where it is rounded to one of the next unit, which has fewer digits.
    for least, length, unit in ((999.95e9, 1e12, "T"), (999.95e6, 1e9, "G"), (1e6, 1e6, "M")):
        if number >= least:
            return f"{number / length:,.1f}{unit}"
    return f"{number:,}"


def share(ratio: float | None) -> str:
    """A share in per cent; only a true 0 or 1 reads as 0.0% or 100.0%."""
    if ratio is None:
        return NOTHING
    if 0 < ratio < 0.001:
        return "<0.1%"
    return ">99.9%" if 0.999 < ratio < 1 else f"{ratio:.1%}"


def duration(seconds: float | None) -> str:
    """A time in at most eight characters, up to a day."""
    if seconds is None:
        return NOTHING
    if seconds < 999.95e-6:
        return f"{seconds * 1e6:.1f} µs"
    if seconds < 999.95e-3:
        return f"{seconds * 1e3:.{2 if seconds < 99.995e-3 else 1}f} ms"
    return f"{seconds:.2f} s" if seconds < 999.995 else f"{seconds:,.0f} s"


def size(number: float | None) -> str:
    """Bytes in at most eight characters, up to a petabyte."""
    if number is None:
        return NOTHING
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1023.5:
            places = 0 if unit == "B" or number >= 999.95 else 1
            return f"{number:.{places}f} {unit}"
        number /= 1024
    return f"{number:,.1f} TB"


def processes(number: int) -> str:
    return f"{number:,} process" if number == 1 else f"{number:,} processes"


def harmless(text: str) -> str:
    """``text`` without characters that control a terminal."""
    return "".join(each if each.isprintable() or each == "\n" else _SIGN for each in text)


def harmless_json(text: str, encoding: str = "utf-8") -> str:
    """The JSON document ``text``, with characters that control a terminal escaped; all but ASCII
    where ``encoding`` is not UTF-8, in which JSON is."""
    if codecs.lookup(encoding).name != "utf-8":
        return "".join(
            each if " " <= each <= "~" or each == "\n" else _escape(each) for each in text
        )
    return "".join(each if each.isprintable() or each == "\n" else _escape(each) for each in text)


def _escape(character: str) -> str:
    return json.dumps(character)[1:-1]


_LIKES = {NOTHING: "-", "─": "-", "µ": "u", "±": "+/-"}
NEAREST = "cache_monitor.nearest"
"""An error handler for encodings that lack a character."""


def _like(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_LIKES.get(each, "?") for each in missing), error.end


codecs.register_error(NEAREST, _like)


def nearest(text: str, encoding: str) -> str:
    """``text`` with the characters that ``encoding`` has."""
    return text.encode(encoding, NEAREST).decode(encoding)


def plain(text: str, width: int) -> str:
    """``text`` in at most ``width`` characters: visitors may have written it."""
    shown = "".join(each if each.isprintable() else _SIGN for each in text)
    return shown if len(shown) <= width else f"{shown[: width - 1]}…"
