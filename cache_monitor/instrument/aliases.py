"""Which alias of ``CACHES`` an instance of a backend serves.

Kept beside the instances, not in them: what a project pickles, compares or lists of a cache is
its own. An instance that is not here was not made for an alias, and is not recorded.
"""

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import ref

from cache_monitor.calls import Source
from cache_monitor.instrument.finalkeys import KeyMaker, makes_own_keys


class Sources(dict[str, Source]):
    """The sources of one alias by their operations: always the same ones."""

    def __init__(self, alias: str) -> None:
        super().__init__()
        self.alias = alias

    def __missing__(self, operation: str) -> Source:
        # setdefault: another thread may be here too, and sources are compared by identity.
        return self.setdefault(operation, Source(self.alias, operation))


class Noted(ref[Any]):
    """An instance that serves ``alias``."""

    __slots__ = ("alias", "key_maker", "leaf_get", "leaf_set", "sources")
    alias: str
    key_maker: KeyMaker | None
    """Where the keys are of the project's own making."""
    sources: Sources
    leaf_get: Source | None
    """Where the calls of ``get`` come from, if it calls no other operation of the cache."""
    leaf_set: Source | None


_noted: dict[int, Noted] = {}
_latest: dict[str, Noted] = {}
_sources: dict[str, Sources] = {}
_key_makers: dict[str, KeyMaker] = {}

find: Callable[[int], Noted | None] = _noted.get
"""What is noted of the instance with that ``id``; the hot path asks nothing of the instance."""


def note(cache: object, alias: str, is_leaf: bool) -> None:
    """Let ``cache`` serve ``alias``."""
    key_maker = _key_makers.setdefault(alias, KeyMaker()) if makes_own_keys(cache) else None
    is_leaf = is_leaf and key_maker is None
    # In C alone: what a signal's handler raises in a callback would be lost.
    noted = Noted(cache, partial(_noted.pop, id(cache)))
    noted.alias = alias
    noted.key_maker = key_maker
    noted.sources = _sources.setdefault(alias, Sources(alias))
    noted.leaf_get = noted.sources["get"] if is_leaf else None
    noted.leaf_set = noted.sources["set"] if is_leaf else None
    _noted[id(cache)] = _latest[alias] = noted


def alias_of(cache: object) -> str | None:
    """The alias that ``cache`` serves, if its calls are recorded."""
    noted = find(id(cache))
    return None if noted is None else noted.alias


def instance_of(alias: str) -> Any:
    """An instance that serves ``alias``, of whatever thread; None where there is none by now.

    For those who only want to know how it is set up: one made for them would count where a
    backend counts its instances.
    """
    noted = _latest.get(alias)
    return None if noted is None else noted()


def forget_instances() -> None:
    """Give none that was made under other settings."""
    _latest.clear()
    _key_makers.clear()


def forget_all() -> None:
    """Record no instance from now on."""
    _noted.clear()
    _latest.clear()
