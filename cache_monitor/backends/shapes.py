"""What an operation's arguments and result say: the keys, and which of them were there.

A shape looks at a call before it is made and may hand the backend other arguments of the same
meaning: a default of our own, to tell a miss from a stored None without comparing values, or a
generator that notes the keys while the backend consumes them.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sized
from functools import partial
from inspect import Parameter, iscoroutinefunction, signature
from typing import Any, ClassVar

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from cache_monitor import scope
from cache_monitor.calls import KEY_LIMIT, bounded

MISSING: object = BaseCache._missing_key
"""The default that tells a miss from everything that can be stored. Django's own one, which it
hands to ``get`` in ``get_many`` and others: whoever sits below us must know it anyway."""

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
    names: ClassVar[Mapping[str, str]] = {}
    """What the backend calls Django's arguments, where it has names of its own for them."""

    def __init__(self, args: Args, kwargs: Kwargs) -> None:
        self.args = args
        self.kwargs = kwargs

    def key(self) -> Hashable:
        """The key, or a tuple of keys, as the user wrote them."""
        if not self.args and self.names.get("key", "key") not in self.kwargs:
            return None
        return bounded(self.argument(0, "key"))

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
        given = len(self.args) > at or self.names.get("timeout", "timeout") in self.kwargs
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
        return self.kwargs.get(self.names.get(name, name))

    def replace(self, position: int, name: str, value: Any) -> None:
        """Hand the backend another argument."""
        if len(self.args) > position:
            self.args = (*self.args[:position], value, *self.args[position + 1 :])
        else:
            self.kwargs[self.names.get(name, name)] = value


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
        # There may be backends that call a default which can be called.
        if not callable(self.default):
            self.replace(1, "default", MISSING)

    def outcome(self, result: Any) -> bool:
        missing = self.default if callable(self.default) else MISSING
        return result is not missing

    def result(self, result: Any) -> Any:
        return self.default if result is MISSING else result


class LookupAsWritten(Shape):
    """``get`` of a backend, or of a patch, that might not know what to do with a default of ours:
    a miss is what gives the caller's default, and so is a stored None where he gave none."""

    __slots__ = ()
    version_at = 2
    moves_values = True

    def outcome(self, result: Any) -> bool:
        return result is not self.argument(1, "default")


class _Producer:
    """Makes the value for a ``get_or_set``, and knows whether it had to.

    Apart from the shape: that holds the arguments, which would then hold it, and the value would
    stay in memory until the next garbage collection.
    """

    __slots__ = ("was_asked",)

    def __init__(self) -> None:
        self.was_asked = False

    def give(self, value: Any) -> Any:
        self.was_asked = True
        return value

    def produce(self, producer: Callable[[], Any]) -> Any:
        self.was_asked = True
        token = scope.enter_callback()
        try:
            return producer()
        finally:
            scope.leave(token)

    async def produce_async(self, producer: Callable[[], Any]) -> Any:
        self.was_asked = True
        token = scope.enter_callback()
        try:
            return await producer()
        finally:
            scope.leave(token)


class Production(Shape):
    """``get_or_set``: a hit unless the value had to be produced."""

    __slots__ = ("producer",)
    version_at = 3
    moves_values = True
    timeout_at = 2
    may_call: ClassVar[bool] = True
    """Whether the method is known to take a callable as well where the caller gave a value."""

    def __init__(self, args: Args, kwargs: Kwargs) -> None:
        super().__init__(args, kwargs)
        self.producer: _Producer | None = _Producer()
        if len(args) > 1 or self.names.get("default", "default") in kwargs:
            default = self.argument(1, "default")
            if callable(default) or self.may_call:
                self.replace(1, "default", partial(self._way(self.producer, default), default))
            else:
                self.producer = None

    def _way(self, producer: _Producer, default: Any) -> Callable[[Any], Any]:
        if not callable(default):
            return producer.give
        # Django's own would not await it: the value is then a coroutine, and the caller's mistake.
        if iscoroutinefunction(default) and not self.may_call:
            return producer.produce_async
        return producer.produce

    def outcome(self, result: Any) -> bool | None:
        return None if self.producer is None else not self.producer.was_asked

    def size(self, sizes: list[int]) -> int:
        # A miss writes the value and reads it again: one value all the same.
        return sizes[-1]


class ProductionAsWritten(Production):
    """``get_or_set`` of a backend's own, or patched: a value reaches it as a value, and whether
    it was there already is not known then."""

    __slots__ = ()
    may_call = False


class Many(Shape):
    """``delete_many``: several keys, perhaps from an iterator that can be consumed only once."""

    __slots__ = ("keys",)

    def __init__(self, args: Args, kwargs: Kwargs) -> None:
        super().__init__(args, kwargs)
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
        return _all_bounded(self.keys)


class LookupMany(Many):
    """``get_many``."""

    __slots__ = ()
    moves_values = True

    def outcome(self, result: Any) -> tuple[bool, ...] | None:
        if not isinstance(result, _MAPPINGS):
            return None
        return tuple(map(result.__contains__, self.keys))


class Mapped(Shape):
    """``set_many``."""

    __slots__ = ()
    version_at = 2
    moves_values = True
    timeout_at = 1

    def key(self) -> Hashable:
        data = self.argument(0, "data")
        return _all_bounded(data) if isinstance(data, _MAPPINGS) else None


_COLLECTIONS = (list, tuple, set, frozenset, dict)
_MAPPINGS = (dict, Mapping)


def _all_bounded(keys: Iterable[Any]) -> tuple[Hashable, ...]:
    """The keys, bounded; without a call for each, because there may be hundreds."""
    return tuple(
        [key if type(key) is str and len(key) <= KEY_LIMIT else bounded(key) for key in keys]
    )


def _noting(keys: Iterable[Any], seen: list[Any]) -> Iterator[Any]:
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

_AS_WRITTEN: Mapping[type[Shape], type[Shape]] = {
    Lookup: LookupAsWritten,
    Production: ProductionAsWritten,
}


def shapes_of(operation: str, original: object) -> tuple[type[Shape], type[Shape]]:
    """The shape of ``original``, a backend's method for ``operation``, and the shape for whatever
    may be patched over it."""
    usual = SHAPES.get(operation, Keyless)
    as_written = _AS_WRITTEN.get(usual, usual)
    parameters = _parameters(original)
    names = _own_names(usual, parameters)
    if (usual is Lookup and not _takes_default(parameters)) or (
        usual is Production and original not in _DJANGOS_PRODUCTIONS
    ):
        usual = as_written
    if names:
        usual = type(usual.__name__, (usual,), {"__slots__": (), "names": names})
    return usual, as_written


_DJANGOS_PRODUCTIONS = (BaseCache.get_or_set, BaseCache.aget_or_set)


def _parameters(original: object) -> list[Parameter]:
    """What ``original`` takes after ``self``."""
    try:
        # Anything may stand on a class; what cannot be called raises the TypeError below.
        return list(signature(original).parameters.values())[1:]  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return []


def _takes_default(parameters: list[Parameter]) -> bool:
    """Whether ``get`` takes a default as Django's does, by position and by name."""
    kinds = {each.kind for each in parameters}
    if kinds == {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}:
        return True
    return (
        len(parameters) > 1
        and parameters[1].name == "default"
        and parameters[1].kind is Parameter.POSITIONAL_OR_KEYWORD
    )


def _own_names(shape: type[Shape], parameters: list[Parameter]) -> dict[str, str]:
    """The backend's names for Django's arguments, where they are others."""
    djangos = {
        "keys" if issubclass(shape, Many) else "data" if shape is Mapped else "key": 0,
        "default": 1 if shape in {Lookup, Production} else None,
        "timeout": shape.timeout_at,
        "version": shape.version_at,
    }
    taken = {each.name for each in parameters}
    return {
        name: parameters[at].name
        for name, at in djangos.items()
        if at is not None
        and name not in taken
        and at < len(parameters)
        and parameters[at].kind is Parameter.POSITIONAL_OR_KEYWORD
    }
