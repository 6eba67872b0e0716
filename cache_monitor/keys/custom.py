"""The project's ``KEY_GROUPS`` and ``KEY_SANITIZER``."""

import inspect
import logging
import re
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from django.apps import apps
from django.conf import settings
from django.utils.module_loading import import_string

from cache_monitor.calls import bounded
from cache_monitor.conf import SETTING, forget_on_change, get_conf
from cache_monitor.errors import NotReady
from cache_monitor.key_patterns import Match, Search, search_for
from cache_monitor.keys.display import describe_error, printable, shortened
from cache_monitor.keys.grouping import GROUP_LENGTH

logger = logging.getLogger("cache_monitor")

SEARCHED_LENGTH = 250
"""Characters of a key that a pattern gets: memcached's limit, hence most whole keys."""
SLOW = 0.001
"""Seconds of CPU after which a search is slow: most take a thousandth of it."""
ALLOWANCE = 0.02
"""Seconds of CPU for all slow searches of one pattern. Each is repeated to exclude other causes, so
that a pattern costs 50 ms at most."""


class Rule:
    """A pattern, and the name of the group of matching keys."""

    def __init__(self, pattern: str | re.Pattern[str], name: str) -> None:
        self.name = name
        self.pattern = pattern.pattern if isinstance(pattern, re.Pattern) else pattern
        self._search: Search = search_for(pattern)
        self._left = ALLOWANCE

    @property
    def has_retired(self) -> bool:
        """Whether its searches have used their allowance."""
        return self._left <= 0

    def find(self, text: str) -> Match | None:
        """The match in ``text``; None as well after a timeout."""
        match, spent = self._timed(text)
        if spent > SLOW:
            # A garbage collection may slow one search, hardly two.
            match, spent = self._timed(text)
            if spent > SLOW:
                self._take(spent)
        return match

    def _timed(self, text: str) -> tuple[Match | None, float]:
        began = time.thread_time()
        try:
            match = self._search(text, seconds=max(self._left, SLOW))
        except TimeoutError:
            return None, max(time.thread_time() - began, 2 * SLOW)
        return match, time.thread_time() - began

    def _take(self, spent: float) -> None:
        self._left -= spent
        if self.has_retired:
            logger.error(
                "CACHE_MONITOR['KEY_GROUPS']: the pattern %r took more than %.0f ms over keys, so"
                " this process no longer uses it. Anchor it with ^, and write what may not match in"
                " several ways, such as [^:]* instead of .*.",
                self.pattern,
                ALLOWANCE * 1e3,
            )


class ChosenGroups:
    """The rules in their order. Thread-safe."""

    def __init__(self, rules: Mapping[str | re.Pattern[str], str]) -> None:
        self._rules = tuple(Rule(*each) for each in rules.items())

    def group_of(self, text: str) -> str | None:
        """The name of the first matching pattern, at most 120 printable characters, or None."""
        text = text[:SEARCHED_LENGTH]
        for rule in self._rules:
            match = rule.find(text)
            if rule.has_retired:
                self._rules = tuple(each for each in self._rules if each is not rule)
            if match is not None:
                return shortened(printable(match.expand(rule.name)), GROUP_LENGTH) or None
        return None


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


def _sanitizer() -> Sanitizer | None:
    try:
        return _imported()
    except NotReady:
        return _refusing if settings.configured else None


def _refusing(text: str) -> str:
    return NOT_SANITIZED


@cache
def _imported() -> Sanitizer | None:
    if not settings.configured:
        raise NotReady
    path = get_conf().key_sanitizer
    if path is None:
        return None
    try:
        return _Guarded(path, import_string(path))
    except Exception as error:
        if not apps.ready:
            raise NotReady from error
        logger.error(
            "CACHE_MONITOR['KEY_SANITIZER'] %s cannot be imported (%s), so every key is shown as"
            " %r. Run manage.py check.",
            path,
            describe_error(error),
            NOT_SANITIZED,
        )
        return _refusing


forget_on_change((SETTING,), _imported.cache_clear)
