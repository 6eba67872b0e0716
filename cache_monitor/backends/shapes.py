"""What an operation's arguments and result say: the keys, and which of them were there.

A shape looks at a call before it is made and may hand the backend other arguments of the same
meaning: a default of our own, to tell a miss from a stored None without comparing values, or a
generator that notes the keys while the backend consumes them.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, ClassVar

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from cache_monitor import scope
from cache_monitor.calls import bounded

MISSING = object()
"""The default that tells a miss from everything that can be stored."""

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class Shape:
    """An operation on one key, or on none that we can see."""

    __slots__ = ("args", "kwargs")

    timeout_at: ClassVar[int | None] = None
    """The position of the argument ``timeout``, where the operation has one."""
    version_at: ClassVar[int | None] = 1
    """The position of the argument ``version``, where the operation has one."""
    moves_values: ClassVar[bool] = False
    """Whether values pass between caller and backend, so that their size means something."""

    def __init__(self, args: Args, kwargs: Kwargs) -> None:
        self.args = args
        self.kwargs = kwargs

    def key(self) -> Hashable:
        """The key, or a tuple of keys, as the user wrote them."""
        key = self.args[0] if self.args else self.kwargs.get("key", MISSING)
        return None if key is MISSING else bounded(key)

    def outcome(self, result: Any) -> bool | tuple[bool, ...] | None:
        """Whether the key was there; for several keys, which; None where nothing was looked up."""
        return None

    def result(self, result: Any) -> Any:
        """What the caller gets for what the backend returned."""
        return result

    def timeout(self) -> object:
        """The timeout that the caller gave, or Django's ``DEFAULT_TIMEOUT`` where he gave none;
        None for an operation without one."""
        at = self.timeout_at
        if at is None:
            return None
        given = len(self.args) > at or "timeout" in self.kwargs
        return self.argument(at, "timeout") if given else DEFAULT_TIMEOUT

    def version(self) -> Hashable:
        """The version that the caller gave; None where he gave none."""
        at = self.version_at
        version = self.kwargs.get("version") if at is None else self.argument(at, "version")
        return version if version is None else bounded(version)

    def size(self, sizes: list[int]) -> int:
        """The bytes of the values moved, given the sizes noted while the call ran."""
        return sum(sizes)

    def argument(self, position: int, name: str) -> Any:
        """An argument by its position or name; None where it was not given."""
        if len(self.args) > position:
            return self.args[position]
        return self.kwargs.get(name)

    def replace(self, position: int, name: str, value: Any) -> None:
        """Hand the backend another argument."""
        if len(self.args) > position:
            self.args = (*self.args[:position], value, *self.args[position + 1 :])
        else:
            self.kwargs[name] = value


class Keyless(Shape):
    """An operation on the whole cache, or one whose first argument need not be a key."""

    __slots__ = ()
    version_at = None

    def key(self) -> Hashable:
        first = self.args[0] if self.args else self.kwargs.get("key")
        return bounded(first) if isinstance(first, str) else None


class Change(Shape):
    """``incr`` and its like."""

    __slots__ = ()
    version_at = 2


class Touch(Shape):
    """``touch``."""

    __slots__ = ()
    version_at = 2
    timeout_at = 1


class Write(Shape):
    """``set`` and ``add``."""

    __slots__ = ()
    version_at = 3
    moves_values = True
    timeout_at = 2


class Lookup(Shape):
    """``get``."""

    __slots__ = ("default",)
    version_at = 2
    moves_values = True

    def __init__(self, args: Args, kwargs: Kwargs) -> None:
        super().__init__(args, kwargs)
        self.default = self.argument(1, "default")
        self.replace(1, "default", MISSING)

    def outcome(self, result: Any) -> bool:
        return result is not MISSING

    def result(self, result: Any) -> Any:
        return self.default if result is MISSING else result


class Production(Shape):
    """``get_or_set``: a hit unless the value had to be produced."""

    __slots__ = ("produced",)
    version_at = 3
    moves_values = True
    timeout_at = 2

    def __init__(self, args: Args, kwargs: Kwargs) -> None:
        super().__init__(args, kwargs)
        self.produced = False
        if len(args) > 1 or "default" in kwargs:
            default = self.argument(1, "default")
            self.replace(1, "default", self._producer(default))

    def _producer(self, default: Any) -> Callable[[], Any]:
        if not callable(default):
            return partial(self._give, default)
        if iscoroutinefunction(default):
            return partial(self._produce_async, default)
        return partial(self._produce, default)

    def _give(self, value: Any) -> Any:
        self.produced = True
        return value

    def _produce(self, producer: Callable[[], Any]) -> Any:
        self.produced = True
        token = scope.enter_callback()
        try:
            return producer()
        finally:
            scope.leave(token)

    async def _produce_async(self, producer: Callable[[], Any]) -> Any:
        self.produced = True
        token = scope.enter_callback()
        try:
            return await producer()
        finally:
            scope.leave(token)

    def outcome(self, result: Any) -> bool:
        return not self.produced

    def size(self, sizes: list[int]) -> int:
        # A miss writes the value and reads it again: one value all the same.
        return sizes[-1]


class Many(Shape):
    """``delete_many``: several keys, perhaps from an iterator that can be consumed only once."""

    __slots__ = ("keys",)

    def __init__(self, args: Args, kwargs: Kwargs) -> None:
        super().__init__(args, kwargs)
        keys = self.argument(0, "keys")
        self.keys: Iterable[Any] = ()
        if isinstance(keys, Iterator):
            seen: list[Any] = []
            self.keys = seen
            self.replace(0, "keys", _noting(keys, seen))
        elif isinstance(keys, Iterable):
            self.keys = keys

    def key(self) -> Hashable:
        return tuple(bounded(key) for key in self.keys)


class LookupMany(Many):
    """``get_many``."""

    __slots__ = ()
    moves_values = True

    def outcome(self, result: Any) -> tuple[bool, ...] | None:
        if not isinstance(result, Mapping):
            return None
        return tuple(key in result for key in self.keys)


class Mapped(Shape):
    """``set_many``."""

    __slots__ = ()
    version_at = 2
    moves_values = True
    timeout_at = 1

    def key(self) -> Hashable:
        data = self.argument(0, "data")
        return tuple(bounded(key) for key in data) if isinstance(data, Mapping) else None


def _noting(keys: Iterator[Any], seen: list[Any]) -> Iterator[Any]:
    for key in keys:
        seen.append(key)
        yield key


SHAPES: Mapping[str, type[Shape]] = {
    "get": Lookup,
    "get_many": LookupMany,
    "get_or_set": Production,
    "set": Write,
    "add": Write,
    "touch": Touch,
    "delete": Shape,
    "has_key": Shape,
    "incr": Change,
    "decr": Change,
    "incr_version": Change,
    "decr_version": Change,
    "set_many": Mapped,
    "delete_many": Many,
}
"""The shapes of Django's own operations; what a backend adds is :class:`Keyless`."""
