"""See what makes a page personal: where the session is read, a CSRF token is made, a header set.

Django tells none of it: ``Vary: Cookie`` is on the response, and that is all. So the places are
watched that each of these must go through. They are only watched from the first request on that
passes the page cache; what is done there is done by Django as before.
"""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import django.middleware.csrf as django_csrf
from django.contrib.sessions.backends.base import SessionBase
from django.http.response import ResponseHeaders

Blame = Callable[[str], None]
"""Told what was done, by a hook that whoever did it has called."""

_MARK = "_cache_monitor_blames"


def watch_causes(blame: Blame) -> None:
    """Tell ``blame`` from now on. Idempotent."""
    if not hasattr(ResponseHeaders, _MARK):
        setattr(ResponseHeaders, _MARK, True)
        _watch_headers(blame)
        _watch_tokens(blame)
        _watch_sessions(blame)


def _watch_headers(blame: Blame) -> None:
    original = ResponseHeaders.__setitem__

    @wraps(original)
    def set_header(self: ResponseHeaders, key: Any, value: Any) -> None:
        name = key.lower() if type(key) is str and len(key) in _LENGTHS else ""
        if name in _WATCHED:
            before = _words(self.get(key, ""))
            original(self, key, value)
            for word in _words(self[key]):
                if word not in before:
                    blame(f"{name}:{word}")
        else:
            original(self, key, value)

    ResponseHeaders.__setitem__ = set_header  # type: ignore[method-assign]  # the purpose


_WATCHED = frozenset({"vary", "cache-control"})
_LENGTHS = frozenset(map(len, _WATCHED))


def _words(value: str) -> Iterable[str]:
    """The names in a header: those of ``Vary``, the directives of ``Cache-Control``."""
    return [word.partition("=")[0].strip().lower() for word in value.split(",")]


def _watch_tokens(blame: Blame) -> None:
    # What get_token() calls last, by its module's name for it: others have get_token by theirs.
    original = getattr(django_csrf, "_mask_cipher_secret", None)
    if original is None:
        return

    @wraps(original)
    def _mask_cipher_secret(secret: Any) -> Any:
        blame("csrf")
        return original(secret)

    django_csrf._mask_cipher_secret = _mask_cipher_secret  # type: ignore[attr-defined]  # private


def _watch_sessions(blame: Blame) -> None:
    # Every engine of Django's or of others' derives from it.
    if "accessed" not in vars(SessionBase):
        SessionBase.accessed = _Accessed(blame)  # type: ignore[assignment]  # a descriptor of it


class _Accessed:
    """``SessionBase.accessed``, an attribute of each session as before."""

    def __init__(self, blame: Blame) -> None:
        self._blame = blame

    def __get__(self, session: Any, owner: type) -> Any:
        if session is None:
            # As for a class that has no such attribute.
            raise AttributeError(f"type object {owner.__name__!r} has no attribute 'accessed'")
        try:
            return session.__dict__["accessed"]
        except KeyError:
            message = f"{type(session).__name__!r} object has no attribute 'accessed'"
            raise AttributeError(message, name="accessed", obj=session) from None

    def __set__(self, session: Any, value: Any) -> None:
        session.__dict__["accessed"] = value
        if value:
            self._blame("session")

    def __delete__(self, session: Any) -> None:
        try:
            del session.__dict__["accessed"]
        except KeyError:
            raise AttributeError("accessed") from None
