"""Tell the keys of Django's sessions: whoever reads one of them is logged in as its owner."""

import re
from functools import cache
from importlib import import_module
from typing import Any

from django.apps import apps
from django.conf import settings

from cache_monitor.setting_changes import forget_on_change

# However long: a key with a number that is longer than a shape's may be has none.
_NUMBERS = re.compile("[0-9]+")
# Of ``sessions.backends.cache``, and with one letter more of ``cached_db``.
_DJANGO_PREFIX = "django.contrib.sessions.cache"


class _NotYet(Exception):
    """The settings cannot be asked now; they may be later."""


def is_session(text: str) -> bool:
    """Whether the key ``text`` holds a session key, wherever in it."""
    if _DJANGO_PREFIX in text:
        return True
    try:
        own = _own_sessions()
    except _NotYet:
        return False
    return own is not None and own.search(text) is not None


def may_be_sessions(shape: str) -> bool:
    """Whether among the keys that are ``shape`` but for their numbers, which are zeros there, may
    be one that holds a session key."""
    if _DJANGO_PREFIX in shape:
        return True
    if not (settings.configured and apps.ready):
        return True
    prefix = _own_prefix()
    # Without a prefix it is 32 letters and digits in a row: that has no shape.
    return bool(prefix) and _NUMBERS.sub("0", prefix or "") in shape


@cache
def _own_sessions() -> re.Pattern[str] | None:
    """What finds the keys of a ``SESSION_ENGINE`` with a ``cache_key_prefix`` of its own."""
    if not (settings.configured and apps.ready):
        raise _NotYet
    prefix = _own_prefix()
    if prefix is None or prefix.startswith(_DJANGO_PREFIX):
        return None
    if not prefix:
        return re.compile(r"\A[a-z0-9]{32}\Z")
    # At the start of a word only: the prefix "s:" must not take "users:17" for a session.
    return re.compile(r"(?<![^\W_])" + re.escape(prefix))


def _own_prefix() -> str | None:
    try:
        store: Any = import_module(settings.SESSION_ENGINE).SessionStore
        prefix = store.cache_key_prefix
    except Exception:
        return None
    return prefix if isinstance(prefix, str) else None


forget_on_change(("SESSION_ENGINE",), _own_sessions.cache_clear)
