"""What a project lets be kept of a key: its ``KEY_SANITIZER``."""

import inspect
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

from django.apps import apps
from django.conf import settings
from django.utils.module_loading import import_string

from cache_monitor.calls import bounded
from cache_monitor.conf import SETTING, get_conf
from cache_monitor.keys.faults import described
from cache_monitor.setting_changes import forget_on_change

logger = logging.getLogger("cache_monitor")

NOT_SANITIZED = "(KEY_SANITIZER failed)"
"""Stands for every key that the sanitizer could not deal with."""

Sanitizer = Callable[[str], str]


def sanitized(text: str) -> str:
    """What may be kept and shown of the key ``text``: the text itself without a sanitizer.

    The sanitizer is given at most 512 characters, whoever asks. Where it raises, or returns
    something else than a text, the answer is :data:`NOT_SANITIZED`. Never raises.
    """
    sanitizer = _sanitizer()
    return text if sanitizer is None else sanitizer(text)


def is_sanitizing() -> bool:
    """Whether keys as they are must not be kept, not even in memory."""
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
        # Some functions of C do not tell.
        return True
    return True


class _Guarded:
    """A sanitizer whose faults stay here and are logged once."""

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
            self._failed(f"raised {described(error)}")
        return NOT_SANITIZED

    def _failed(self, how: str) -> None:
        if not self._has_failed:
            self._has_failed = True
            logger.error(
                "CACHE_MONITOR['KEY_SANITIZER'] %s %s. Keys that it cannot deal with are shown as"
                " %r; further faults are not logged.",
                self._path,
                how,
                NOT_SANITIZED,
            )


class _NotYet(Exception):
    """The settings cannot be asked now, or the function not be imported; they may be later."""


def _sanitizer() -> Sanitizer | None:
    try:
        return _imported()
    except _NotYet:
        return _refusing if settings.configured else None


def _refusing(text: str) -> str:
    return NOT_SANITIZED


@cache
def _imported() -> Sanitizer | None:
    if not settings.configured:
        raise _NotYet
    path = get_conf().key_sanitizer
    if path is None:
        return None
    try:
        return _Guarded(path, import_string(path))
    except Exception as error:
        if not apps.ready:
            raise _NotYet from error
        logger.error(
            "CACHE_MONITOR['KEY_SANITIZER'] %s cannot be imported (%s), so every key is shown as"
            " %r. Run manage.py check.",
            path,
            described(error),
            NOT_SANITIZED,
        )
        return _refusing


forget_on_change((SETTING,), _imported.cache_clear)
