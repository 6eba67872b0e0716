"""Name a key for people: mask what is secret, put it into the group of its like."""

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from cache_monitor.keys.display import bounded, shown, text_of
from cache_monitor.keys.grouping import GROUP_LENGTH, LOOKED_AT, group_of
from cache_monitor.keys.sessions import is_session

KeyKind = Literal["key", "page", "page_headers", "fragment", "session"]


class KeyName(NamedTuple):
    """A key as it may be shown.

    ``shown`` has at most 250 characters, ``group`` at most 120; both are printable and encode to
    UTF-8. A session's key is masked in both.
    """

    shown: str
    group: str
    kind: KeyKind


_SESSION = KeyName("session:••••", "session", "session")

# The forms of django.utils.cache and django.core.cache.utils.
_MACHINE_MADE = ("views.decorators.cache.cache_", "template.cache.")
_MD5 = "[0-9a-f]{32}"
_PAGE = re.compile(
    r"views\.decorators\.cache\.cache_page\.(?P<prefix>.*)\.(?P<method>[A-Z]+)"
    rf"\.{_MD5}\.{_MD5}(?:\..*)?",
    re.DOTALL,
)
_PAGE_HEADERS = re.compile(
    rf"views\.decorators\.cache\.cache_header\.(?P<prefix>.*)\.{_MD5}(?:\..*)?", re.DOTALL
)
_FRAGMENT = re.compile(rf"template\.cache\.(?P<name>.*)\.{_MD5}", re.DOTALL)


def name_key(key: object) -> KeyName:
    """The name of ``key`` as the user wrote it. Never raises, whatever ``key`` is."""
    text = text_of(key)
    # Before the memo, which must hold no session key.
    if is_session(text[:LOOKED_AT]):
        return _SESSION
    return _remembered(text) if len(text) <= LOOKED_AT else _name(text)


def _name(text: str) -> KeyName:
    group, kind = _machine_made(text) or (group_of(text), "key")
    return KeyName(shown(text), group, kind)


_remembered = lru_cache(maxsize=8192)(_name)


def _machine_made(text: str) -> tuple[str, KeyKind] | None:
    """Group and kind of a key that Django made; None for a key that the user wrote."""
    if not text.startswith(_MACHINE_MADE) or len(text) > LOOKED_AT:
        return None
    if page := _PAGE.fullmatch(text):
        return _page_group(page["prefix"], page["method"]), "page"
    if headers := _PAGE_HEADERS.fullmatch(text):
        return _group("page headers", headers["prefix"], "{hash}"), "page_headers"
    if fragment := _FRAGMENT.fullmatch(text):
        return _group("fragment", fragment["name"]), "fragment"
    return None


def _page_group(prefix: str, method: str) -> str:
    """The group of a cached page: the key tells its address only as a digest."""
    return _group("page", prefix, method, "{hash}")


def _group(*parts: str) -> str:
    return bounded(" ".join(group_of(part) for part in parts if part), GROUP_LENGTH)
