"""Tell an alias's own entries from others in the same place, and undo what made their keys.

Several aliases, projects and programs may share one server, table or dict. What an alias's key
function makes of probes, with its own prefix and version, shows the form of the alias's own keys.
"""

import re
from itertools import takewhile
from typing import NamedTuple

from django.core.cache.backends.base import BaseCache

# They begin and end differently, whatever the case of their letters. And of a key function that
# hides the key, such as a digest, so many results share no more than what is the same in all of
# them: one accidental hexadecimal digit is a matter of 1 to 16 ** 11.
_PROBES = tuple(f"{letter}-probe-{letter}" for letter in "bcdfghjklmnp")
OF_TENANTS = ("django_tenants", "tenant_schemas")
"""Packages whose key functions make another key of the same for each tenant: which, the thread's
connection tells, and that of the monitor's is no tenant's."""

_GLOB_SPECIAL = re.compile(r"([*?\[\]\\])")


class KeyForm(NamedTuple):
    """The form of an alias's stored keys: what stands ``before`` and ``after`` the user's key.

    ``opaque`` says that what stands between is not the user's key but something made of it.
    """

    before: str
    after: str
    opaque: bool

    @property
    def tells_own(self) -> bool:
        """Whether there is anything to tell the alias's keys from others by."""
        return bool(self.before or self.after)

    @property
    def glob(self) -> str:
        """A Redis pattern that all stored keys match."""
        return f"{_escaped(self.before)}*{_escaped(self.after)}"

    def user_key(self, stored: str) -> str | None:
        """The key that the user wrote; None for somebody else's entry.

        A key function that cannot be undone leaves the stored key.
        """
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
        # It makes the same of different keys, or nothing at all.
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
    """Whether a stored key is text: others no cache of Django's has written, and could ask for."""
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
        # A key function of the user's that wants something else of keys.
        return ""


def _escaped(part: str) -> str:
    return _GLOB_SPECIAL.sub(r"\\\1", part)
