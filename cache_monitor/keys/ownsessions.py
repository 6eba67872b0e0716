"""The session keys that requests of this process have, where they have another form than Django's.

A ``SESSION_ENGINE`` of the project's own may make keys of any form, and ``signed_cookies`` has the
whole cookie for a key. No look at a cache's key finds those, so they are learned where Django's
base class takes them: when a session is made for a request, before its view runs. Of Django's other
engines nothing is learned: what a visitor sends them that has not their form is no session's key.
"""

import re
from collections import Counter
from collections.abc import Iterator
from functools import wraps
from importlib import import_module
from typing import Any, Final

from django.conf import settings

from cache_monitor.interruptions import let_pass

_DJANGOS = re.compile("[a-z0-9]{32}")
_MARK: Final = "_cache_monitor_learns"
_DJANGOS_ENGINES = frozenset(
    f"django.contrib.sessions.backends.{name}" for name in ("cache", "cached_db", "db", "file")
)
_MOST = 10_000
"""Session keys that are remembered at least; twice as many at most."""
_MOST_LENGTHS = 64
"""Different lengths that are looked for in each key."""
NONE_KNOWN: Final = 1 << 62


class OwnSessions:
    """The session keys of the last requests, as hashes: nothing is logged in with those.

    Two tables take turns, which takes no lock: when the young one is full it becomes the old one,
    whose content goes. ``shortest`` is the length of the shortest key learned so far.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget all of them."""
        self.shortest = NONE_KNOWN
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}
        self._lengths: Counter[int] = Counter()

    def learn(self, session_key: object) -> None:
        """Remember a session's key, unless its form is Django's, which tells it."""
        if type(session_key) is not str or _DJANGOS.fullmatch(session_key):
            return
        digest, length = hash(session_key), len(session_key)
        if digest in self._young or not length:
            return
        young = self._young
        young[digest] = length
        self._lengths[length] += 1
        self.shortest = min(self.shortest, length)
        if len(young) >= _MOST:
            self._old, self._young = young, {}
            self._lengths = Counter(young.values())

    def within(self, text: str) -> Iterator[tuple[int, int]]:
        """Where in ``text`` one of them is."""
        if len(text) < self.shortest:
            return
        young, old = self._young, self._old
        for length, _ in self._lengths.most_common(_MOST_LENGTHS):
            for start in range(len(text) - length + 1):
                digest = hash(text[start : start + length])
                if digest in young or digest in old:
                    yield start, start + length


own_sessions = OwnSessions()


def learn_sessions() -> None:
    """Learn from now on the keys of the sessions that this process has. Idempotent."""
    if settings.SESSION_ENGINE in _DJANGOS_ENGINES:
        # Which keys are sessions' is asked later, by a thread: none may import then.
        import_module(settings.SESSION_ENGINE)
    # Its module asks for settings.
    base: Any = import_module("django.contrib.sessions.backends.base").SessionBase
    kept = base.__dict__.get("_session_key")
    if not isinstance(kept, property) or kept.fset is None or hasattr(kept.fset, _MARK):
        return
    keep = kept.fset

    @wraps(keep)
    def learning(self: Any, value: Any) -> None:
        keep(self, value)
        try:
            if type(self).__module__ not in _DJANGOS_ENGINES and kept.fget is not None:
                own_sessions.learn(kept.fget(self))
        except Exception as error:
            let_pass(error)

    setattr(learning, _MARK, True)
    base._session_key = property(kept.fget, learning, kept.fdel, kept.__doc__)
