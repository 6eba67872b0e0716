"""The shapes of operations on several keys."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sized
from itertools import islice
from typing import Any

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.memcached import BaseMemcachedCache

from cache_monitor.calls import KEY_LIMIT, bounded
from cache_monitor.instrument.arguments import Args, Kwargs, Shape
from cache_monitor.scope import Scope


class Many(Shape):
    """``delete_many``: several keys, perhaps from an iterator that can be consumed only once."""

    __slots__ = ("keys",)

    def __init__(self, cache: BaseCache, args: Args, kwargs: Kwargs) -> None:
        super().__init__(cache, args, kwargs)
        keys = self.argument(0, "keys")
        self.keys: Iterable[Any] = ()
        # The built-in types first: to ask an abstract class takes many times as long.
        if isinstance(keys, _COLLECTIONS) or (
            isinstance(keys, Sized) and isinstance(keys, Iterable)
        ):
            self.keys = keys
        elif isinstance(keys, Iterable):
            # An iterator, or something else that may not give the same keys twice.
            seen: list[Any] = []
            self.keys = seen
            self.replace(0, "keys", _noting(keys, seen))

    def key(self) -> Hashable:
        return all_bounded(self.keys)


class LookupMany(Many):
    """``get_many``."""

    __slots__ = ()
    moves_values = True
    looks_up = True

    def outcome(self, result: Any, inner: Scope) -> tuple[bool, ...] | None:
        return all_found(self.keys, result)

    def leave_word(self, result: Any, around: Scope) -> None:
        around.found = bool(result)

    def kind(self, result: Any, outcome: object) -> str | None:
        return all_kinds(result)


class Mapped(Shape):
    """``set_many``."""

    __slots__ = ("is_shuffled",)
    version_at = 2
    moves_values = True
    timeout_at = 1

    def __init__(self, cache: BaseCache, args: Args, kwargs: Kwargs) -> None:
        super().__init__(cache, args, kwargs)
        self.is_shuffled = isinstance(cache, BaseMemcachedCache)

    def key(self) -> Hashable:
        data = self.argument(0, "data")
        return all_bounded(data) if isinstance(data, _MAPPINGS) else None

    def prints(self, noted: list[int], outcome: object) -> tuple[int, ...]:
        # Of several servers each gets its own keys, in an order of the client's.
        data = self.argument(0, "data")
        is_each = type(data) is dict and len(data) == len(noted)
        return tuple(noted) if is_each and (len(noted) == 1 or not self.is_shuffled) else ()

    def leave_word(self, result: Any, around: Scope) -> None:
        around.wrote = True

    def kind(self, result: Any, outcome: object) -> str | None:
        return all_kinds(self.argument(0, "data"))


_COLLECTIONS = (list, tuple, set, frozenset, dict)
_MAPPINGS = (dict, Mapping)
_LOOKED_AT = 100


def all_bounded(keys: Iterable[Any]) -> tuple[Hashable, ...]:
    """The keys, bounded; without a call for each, because there may be hundreds."""
    return tuple(
        [key if type(key) is str and len(key) <= KEY_LIMIT else bounded(key) for key in keys]
    )


def all_found(keys: Iterable[Any], result: Any) -> tuple[bool, ...] | None:
    """Which of ``keys`` are in ``result``, what a ``get_many`` returned."""
    if not isinstance(result, _MAPPINGS):
        return None
    return tuple(map(result.__contains__, keys))


def all_kinds(values: Any) -> str | None:
    """The types of the values of a dict, each once; of many values, those of the first."""
    if type(values) is not dict:
        return None
    kinds = dict.fromkeys(type(value).__name__ for value in islice(values.values(), _LOOKED_AT))
    return ", ".join(kinds) or None


def _noting(keys: Iterable[Any], seen: list[Any]) -> Iterator[Any]:
    for key in keys:
        seen.append(key)
        yield key
