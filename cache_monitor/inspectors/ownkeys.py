"""Tell an alias's own entries from others in the same place, and undo what made their keys.

Several aliases, projects and programs may share one server, table or dict. What an alias's key
function makes of a probe shows the form of the alias's own keys.
"""

import re
from typing import NamedTuple

from django.core.cache.backends.base import BaseCache

_KEY = "cachemonitorkey"
_VERSION = 90714263
_PROBES = re.compile(f"({_KEY}|{_VERSION})")
_GLOB_SPECIAL = re.compile(r"([*?\[\]\\])")


class KeyForm(NamedTuple):
    """The form of an alias's stored keys.

    ``glob`` is a Redis pattern that all of them match; None where the key function leaves nothing
    to tell them from other keys by.
    """

    pattern: re.Pattern[str] | None
    glob: str | None

    def user_key(self, stored: str) -> str | None:
        """The key that the user wrote, whatever its version; None for somebody else's entry.

        A key function that cannot be undone leaves the stored key.
        """
        if self.pattern is None:
            return stored
        match = self.pattern.fullmatch(stored)
        return None if match is None else match["key"]


def key_form(cache: BaseCache) -> KeyForm:
    """The form of ``cache``'s stored keys, with its prefix and any version."""
    parts = _PROBES.split(_stored_probe(cache))
    if parts.count(_KEY) != 1:
        return KeyForm(None, None)
    pattern = "".join(_regex(part, cache.version) for part in parts)
    # The split puts what is not a probe at the even places.
    tells_own = any(parts[::2])
    return KeyForm(
        re.compile(pattern, re.DOTALL), "".join(map(_glob, parts)) if tells_own else None
    )


def _stored_probe(cache: BaseCache) -> str:
    try:
        return str(cache.key_func(_KEY, cache.key_prefix, _VERSION))
    except Exception:
        # A key function of the user's that wants something else of keys or versions.
        return ""


def _regex(part: str, version: object) -> str:
    if part == _KEY:
        return "(?P<key>.*)"
    if part == str(_VERSION):
        return f"(?:-?[0-9]+|{re.escape(str(version))})"
    return re.escape(part)


def _glob(part: str) -> str:
    return "*" if _PROBES.fullmatch(part) else _GLOB_SPECIAL.sub(r"\\\1", part)
