"""What a key function of the project's own makes of keys, asked at the call.

What it makes may depend on what is only known there, as on the tenant whose schema is in use.
"""

from collections.abc import Hashable, Sequence
from inspect import getattr_static
from time import perf_counter as clock
from typing import Any

from django.core.cache.backends.base import BaseCache, default_key_func

from cache_monitor.calls import Entries
from cache_monitor.instrument.ownership import attribute_of
from cache_monitor.interruptions import let_pass
from cache_monitor.recorder import recorder
from cache_monitor.scope import Scope, current, enter

SLOW = 0.0002
"""Seconds that a key function may take for a key."""
_MOST_SLOW = 3


def makes_own_keys(cache: object) -> bool:
    """Whether the project has a say in what ``cache`` makes of a key."""
    if attribute_of(cache, "key_func") not in (None, default_key_func):
        return True
    made_by = getattr_static(type(cache), "make_key", None)
    # One that derives from nothing of Django's may have none: its keys are those it is given.
    return made_by not in (None, vars(BaseCache)["make_key"])


class KeyMaker:
    """Asks a cache what it makes of keys.

    It does so until that turns out to be more than a glance, which the site should not wait for
    twice: where the function uses a cache itself, or takes long more than once.
    """

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = _MOST_SLOW

    def entries(self, cache: Any, key: Hashable, version: Hashable) -> Entries | None:
        """What ``cache`` makes of a key, or of several: of none where it takes one of them not;
        None where that cannot be told."""
        if self._left <= 0 or key is None:
            return None
        keys: Sequence[Any] = key if isinstance(key, tuple) else (key,)
        around, inner = current(), Scope(muted=True)
        started = clock()
        try:
            enter(inner)
            names = tuple([str(cache.make_key(each)) for each in keys])
            is_own = version is None or not names or str(version) == str(cache.version)
            varies = is_own or str(cache.make_key(keys[0], version)) != names[0]
        except Exception as fault:
            enter(around)
            let_pass(fault)
            return (), True
        except BaseException:
            enter(around)
            raise
        enter(around)
        if inner.used:
            self._left = 0
        elif clock() - started > SLOW * max(len(keys), 1):
            self._left -= 1
        return names, varies

    def note(self, cache: Any, key: Hashable, version: Hashable, around: Scope) -> None:
        """Tell the operation ``around`` what ``cache`` makes of the keys of a part of it: it may
        run in another thread, which has another tenant."""
        try:
            made = self.entries(cache, key, version)
        except Exception as fault:
            let_pass(fault)
            recorder.failed(fault)
            return
        finals = around.finals
        if made is None or finals is None:
            return
        names, varies = made
        for each, name in zip(key if isinstance(key, tuple) else (key,), names, strict=False):
            if finals.setdefault(each, (name, varies)) != (name, varies):
                finals[each] = None

    def told(self, cache: Any, key: Hashable, version: Hashable, inner: Scope) -> Entries | None:
        """What the parts of an operation told; what they did not is asked now."""
        finals = inner.finals or {}
        keys: Sequence[Any] = key if isinstance(key, tuple) else (key,)
        # A part of it may have run in another thread.
        if not any(each in finals for each in keys):
            return self.entries(cache, key, version)
        found = [made for made in map(finals.get, keys) if made is not None]
        if len(found) < len(keys):
            return None
        return tuple([name for name, _ in found]), all(varies for _, varies in found)
