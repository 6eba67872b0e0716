"""Make caches that are recorded, and reach past the recording."""

from typing import Any

from cache_monitor import context
from cache_monitor.instrument.aliases import alias_of
from cache_monitor.instrument.install import instrument


def make_recorded(class_: Any, location: str = "", alias: str = "default") -> Any:
    """An instance of the backend ``class_`` as Django makes one for ``alias``."""
    cache = class_(location, {})
    instrument(cache, alias)
    return cache


def is_recorded(cache: object) -> bool:
    return alias_of(cache) is not None


def clear_unrecorded(cache: Any) -> None:
    with context.muted():
        cache.clear()
