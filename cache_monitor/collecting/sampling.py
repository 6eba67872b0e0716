"""A few of the keys that one request found, and of those that it missed."""

from collections.abc import Hashable

from cache_monitor.calls import RawCall
from cache_monitor.stats.samples import KEPT


class Sampled:
    """The first few different keys that a request asked one cache for."""

    __slots__ = ("hits", "misses")

    def __init__(self) -> None:
        self.hits: list[Hashable] = []
        self.misses: list[Hashable] = []

    def note(self, call: RawCall) -> None:
        """Take in a lookup; quick where there are enough."""
        key, outcome = call[3], call[4]
        if outcome is True:
            if len(self.hits) < KEPT:
                _note(self.hits, key)
        elif outcome is False:
            if len(self.misses) < KEPT:
                _note(self.misses, key)
        elif isinstance(outcome, tuple) and isinstance(key, tuple):
            for each, hit in zip(key, outcome, strict=False):
                _note(self.hits if hit else self.misses, each)


def _note(noted: list[Hashable], key: Hashable) -> None:
    if len(noted) < KEPT and key not in noted:
        noted.append(key)
