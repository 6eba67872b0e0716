"""What of a key may be shown: bounded, printable, encodable, and after ``KEY_SANITIZER``."""

import inspect
import logging
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from traceback import walk_tb
from typing import Any

from django.apps import apps
from django.utils.module_loading import import_string

from cache_monitor.calls import bounded
from cache_monitor.conf import SETTING, forget_on_change, get_conf, kept_until_change

SHOWN_LENGTH = 250
# What cache_monitor.calls.bounded leaves of a key that was too long to be kept.
CUT = re.compile(r"… \(([0-9]{1,18}) characters\)\Z")


def text_of(key: object) -> str:
    """The text that Django makes of ``key``, always a plain ``str``; ``<TypeName>`` where its
    ``__str__`` raises."""
    if type(key) is str:
        return key
    try:
        # Under ``python -bb`` str(b"…") raises; repr() gives the same text.
        text = repr(key) if isinstance(key, bytes) else str(key)
        return str.__str__(text)
    except Exception:
        return f"<{type(key).__name__}>"


def printable(text: str) -> str:
    r"""``text`` with control characters, bidi overrides and lone surrogates as ``\u202e``."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def shortened(text: str, length: int, cut_mark: str = "…") -> str:
    """``text`` in at most ``length`` characters; ``cut_mark`` ends it where it was cut."""
    if len(text) <= length:
        return text
    return text[: length - len(cut_mark)] + cut_mark


def shown(text: str) -> str:
    """``text`` in at most 250 printable characters; a cut one ends in its true length."""
    if len(text) <= SHOWN_LENGTH and text.isprintable():
        return text
    # Escaping makes no character shorter, so one more than shown is enough.
    head = printable(text[: SHOWN_LENGTH + 1])
    cut_before = CUT.search(text)
    length = int(cut_before[1]) if cut_before else len(text)
    return shortened(head, SHOWN_LENGTH, f"… ({length:,} characters)")


_PLACEHOLDER = re.compile(r"\{(?:hash|token|uuid)\}")
_QUERY_CACHES = re.compile("^(?:cachalot|cacheops)(?: table)? ")


def is_nameless(group: str) -> bool:
    """Whether the name of a group says nothing about its keys, as ``{hash}`` does."""
    left = _PLACEHOLDER.sub("", _QUERY_CACHES.sub("", group))
    return left != group and re.search(r"\w{2}", left) is None


def describe_error(error: BaseException) -> str:
    """The type of ``error`` and the line that raised it, without its message: that may quote a
    key."""
    frames = list(walk_tb(error.__traceback__))
    if not frames:
        return type(error).__name__
    frame, line = frames[-1]
    return f"{type(error).__name__} in {Path(frame.f_code.co_filename).name}, line {line}"


logger = logging.getLogger("cache_monitor")

NOT_SANITIZED = "(KEY_SANITIZER failed)"
"""Replaces every key that the sanitizer failed on."""

Sanitizer = Callable[[str], str]


def sanitized(text: str) -> str:
    """The key ``text`` after the sanitizer, if there is one.

    The sanitizer gets at most 512 characters. Where it raises, or returns no text, the result is
    :data:`NOT_SANITIZED`. Never raises.
    """
    sanitizer = _sanitizer()
    return text if sanitizer is None else sanitizer(text)


def is_sanitizing() -> bool:
    """Whether unsanitized keys must not be kept, not even in memory."""
    return _sanitizer() is not None


def sanitizer_problem(path: str) -> str | None:
    """Why the dotted ``path`` names no sanitizer; None where it does."""
    try:
        found = import_string(path)
    except Exception as error:
        return f"names {path!r}, which cannot be imported: {type(error).__name__}: {error}."
    if not callable(found) or isinstance(found, type):
        return f"names {path!r}, which is no function."
    if inspect.iscoroutinefunction(found):
        return f"names {path!r}, which is a coroutine function."
    return None if _takes_one_text(found) else f"names {path!r}, which does not take one argument."


def _takes_one_text(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind("key")
    except TypeError:
        return False
    except ValueError:
        # Some functions of C have no signature.
        return True
    return True


class _Guarded:
    """A sanitizer whose faults are caught, and logged once."""

    def __init__(self, path: str, function: Callable[[str], object]) -> None:
        self._path = path
        self._function = function
        self._has_failed = False

    def __call__(self, text: str) -> str:
        try:
            clean = self._function(str(bounded(text)))
            if isinstance(clean, str):
                # A subclass may have methods of its own.
                return str.__str__(clean)
            self._failed(f"returned {type(clean).__name__} and no str")
        except Exception as error:
            self._failed(f"raised {describe_error(error)}")
        return NOT_SANITIZED

    def _failed(self, how: str) -> None:
        if not self._has_failed:
            self._has_failed = True
            logger.error(
                "CACHE_MONITOR['KEY_SANITIZER'] %s %s. Keys that it fails on are shown as"
                " %r; further faults are not logged.",
                self._path,
                how,
                NOT_SANITIZED,
            )


@kept_until_change(SETTING, before=None)
def _path() -> str | None:
    return get_conf().key_sanitizer


def _sanitizer() -> Sanitizer | None:
    path = _path()
    return None if path is None else _imported(path, apps.ready)


def _refusing(text: str) -> str:
    return NOT_SANITIZED


@cache
def _imported(path: str, is_final: bool) -> Sanitizer:
    try:
        return _Guarded(path, import_string(path))
    except Exception as error:
        if not is_final:
            # It may need the apps.
            return _refusing
        logger.error(
            "CACHE_MONITOR['KEY_SANITIZER'] %s cannot be imported (%s), so every key is shown as"
            " %r. Run manage.py check.",
            path,
            describe_error(error),
            NOT_SANITIZED,
        )
        return _refusing


forget_on_change((SETTING,), _imported.cache_clear)
