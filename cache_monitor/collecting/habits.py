"""What one request asks a cache for again and again, or one by one."""

from collections.abc import Hashable, Iterator
from typing import NamedTuple

from cache_monitor.calls import RawCall

MANY_REPEATS = 3
"""Gets of one unchanged entry; two happen where a page asks in its head and in its body."""
MANY_SINGLES = 5
"""Gets of different keys of a group: a loop, not a few fields."""
MOST_KEYS = 1000
"""Different keys of a request that are told apart; about 250 kB."""

_FILLS = frozenset({"set", "add", "set_many"})
_HARMLESS = frozenset({"get_or_set", "has_key", "touch"})

_Where = tuple[str, Hashable, Hashable]
"""Alias, version and key."""


class Got(NamedTuple):
    """A key of the cache ``alias`` that a request has got; ``again`` counts the gets that it could
    have spared, none where these were too few to matter, which took ``seconds``. ``several`` keys
    that were got by one call go by the first of them."""

    alias: str
    key: str
    again: int
    seconds: float = 0.0
    several: bool = False


class _Run:
    """Gets of one entry since it was changed."""

    __slots__ = ("again", "gets", "has_missed", "seconds", "waiting")

    def __init__(self) -> None:
        self.gets = 0
        self.again = 0
        self.seconds = 0.0
        self.waiting = 0.0
        self.has_missed = False

    def get(self, hit: object, seconds: float) -> None:
        self.gets += 1
        self.has_missed = hit is False or (isinstance(hit, tuple) and False in hit)
        if self.gets > 1:
            self.waiting += seconds
        if self.gets >= MANY_REPEATS:
            self.again += MANY_REPEATS - 1 if self.gets == MANY_REPEATS else 1
            self.seconds += self.waiting
            self.waiting = 0.0

    def change(self, operation: str) -> None:
        # What fills a miss leaves the value as it was asked for.
        if not (self.has_missed and operation in _FILLS):
            self.gets = 0
            self.waiting = 0.0
        self.has_missed = False


class Habits:
    """Notes the gets of one request, in bounded memory. Whoever calls holds its lock."""

    __slots__ = ("_runs", "_several")

    def __init__(self) -> None:
        self._runs: dict[_Where, _Run] = {}
        self._several: list[_Where] = []
        """Those of ``_runs`` whose key is several keys."""

    def note(self, call: RawCall) -> None:
        """Take in the next call."""
        operation, alias, key = call[0].operation, call[0].alias, call[3]
        if call[8] is not None or operation in _HARMLESS:
            return
        if operation in {"get", "get_many"}:
            run = self._runs.get((alias, call[7], key))
            if run is None:
                if len(self._runs) >= MOST_KEYS or key == ():
                    return
                run = self._runs[alias, call[7], key] = _Run()
                if isinstance(key, tuple):
                    self._several.append((alias, call[7], key))
            run.get(call[4], call[2])
        elif self._runs:
            self._change(operation, alias, call[7], key)

    def got(self) -> Iterator[Got]:
        """The keys that were got one by one."""
        for (alias, _, key), run in self._runs.items():
            several = isinstance(key, tuple)
            yield Got(alias, str(key[0] if several else key), run.again, run.seconds, several)  # type: ignore[index]  # a tuple by then

    def _change(self, operation: str, alias: str, version: Hashable, key: Hashable) -> None:
        if key is None:
            # Of the whole cache, such as a clear.
            for (of, *_), run in self._runs.items():
                if of == alias:
                    run.change(operation)
            return
        for each in key if isinstance(key, tuple) else (key,):
            changed = self._runs.get((alias, version, each))
            if changed is not None:
                changed.change(operation)
        for where in self._several:
            if where[:2] == (alias, version) and _have_in_common(where[2], key):
                self._runs[where].change(operation)


def _have_in_common(keys: Hashable, key: Hashable) -> bool:
    changed = key if isinstance(key, tuple) else (key,)
    return isinstance(keys, tuple) and not set(keys).isdisjoint(changed)
