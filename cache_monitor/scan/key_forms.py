"""Recognize an alias's own stored keys among others, and recover the users' keys.

Several aliases and programs may share one server, table or dict. The form of an alias's stored keys
is found by calling its key function with probes.
"""

import re
from itertools import takewhile
from typing import NamedTuple

from django.core.cache.backends.base import BaseCache

# They differ at both ends, in either case of letters. So many digests share only what is the same
# in all: the chance of a common hexadecimal digit is 1 in 16 ** 11.
_PROBES = tuple(f"{letter}-probe-{letter}" for letter in "bcdfghjklmnp")
NOT_RECOGNIZABLE = "KEY_FUNCTION leaves nothing that distinguishes this cache's keys from others."
OF_TENANTS = ("django_tenants", "tenant_schemas")
"""Packages whose key functions make another key of the same for each tenant: which, the thread's
connection determines, and the monitor's has no tenant."""

_GLOB_SPECIAL = re.compile(r"([*?\[\]\\])")


class KeyForm(NamedTuple):
    """What stands ``before`` and ``after`` the user's key in a stored key.

    ``opaque``: between them is something made of the user's key, such as a digest.
    """

    before: str
    after: str
    opaque: bool

    @property
    def is_recognizable(self) -> bool:
        """Whether the alias's keys can be distinguished from others."""
        return bool(self.before or self.after)

    @property
    def glob(self) -> str:
        """A Redis pattern that all stored keys match."""
        return f"{_escaped(self.before)}*{_escaped(self.after)}"

    def user_key(self, stored: str) -> str | None:
        """The user's key, or the stored one where that is opaque; None for another's entry."""
        before, after = self.before, self.after
        if not (stored.startswith(before) and stored.endswith(after)):
            return None
        if len(stored) < len(before) + len(after):
            return None
        return stored if self.opaque else stored[len(before) : len(stored) - len(after)]


def key_form(cache: BaseCache) -> KeyForm:
    """The form of ``cache``'s stored keys, with its prefix and its version."""
    if getattr(cache.key_func, "__module__", "").partition(".")[0] in OF_TENANTS:
        return KeyForm("", "", opaque=True)
    made = [_stored_probe(cache, probe) for probe in _PROBES]
    if len(set(made)) < len(made):
        # Different keys become the same one, or it fails.
        return KeyForm("", "", opaque=True)
    before, after = _common(made)
    is_undone = all(
        stored == f"{before}{probe}{after}" for stored, probe in zip(made, _PROBES, strict=True)
    )
    return KeyForm(before, after, opaque=not is_undone)


def shown_text(stored: bytes) -> str:
    """A stored key as text, whatever bytes it is made of."""
    return stored.decode("utf-8", "backslashreplace")


def is_text(stored: bytes) -> bool:
    """Whether a stored key is text. No cache of Django's writes others."""
    try:
        stored.decode()
    except UnicodeDecodeError:
        return False
    return True


def _common(texts: list[str]) -> tuple[str, str]:
    """What all of ``texts`` begin with, and what the rest of them ends with."""
    before = _beginning(texts)
    rests = [each[len(before) :][::-1] for each in texts]
    return before, _beginning(rests)[::-1]


def _beginning(texts: list[str]) -> str:
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False))
    return "".join(letters[0] for letters in alike)


def _stored_probe(cache: BaseCache, probe: str) -> str:
    try:
        return str(cache.key_func(probe, cache.key_prefix, cache.version))
    except Exception:
        return ""


def _escaped(part: str) -> str:
    return _GLOB_SPECIAL.sub(r"\\\1", part)
