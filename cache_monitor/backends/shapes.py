"""What an operation's arguments and result say: the key, and whether it was there.

A shape looks at a call before it is made and may hand the backend other arguments of the same
meaning: a default of our own, to tell a miss from a stored None without comparing values, or a
generator that notes the keys while the backend consumes them.

Here are those of operations on one key; :mod:`cache_monitor.backends.finding` lists them all.
"""

from collections.abc import Hashable, Mapping
from typing import Any, ClassVar

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from cache_monitor.calls import bounded

MISSING: object = BaseCache._missing_key
"""The default that tells a miss from everything that can be stored. Django's own one, which it
hands to ``get`` in ``get_many`` and others: whoever sits below us must know it anyway."""

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class Shape:
    """An operation on one key."""

    __slots__ = ("args", "kwargs")

    timeout_at: ClassVar[int | None] = None
    """The position of the argument ``timeout``, where the operation has one."""
    version_at: ClassVar[int | None] = 1
    """The position of the argument ``version``, where the operation has one."""
    moves_values: ClassVar[bool] = False
    """Whether values pass between caller and backend, so that their size means something."""
    effects: ClassVar[type[int]] = bool
    """The type of the results that tell what the operation did."""
    names: ClassVar[Mapping[str, str]] = {}
    """What the backend calls Django's arguments, where it has names of its own for them."""

    def __init__(self, cache: BaseCache, args: Args, kwargs: Kwargs) -> None:
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

    def produced(self) -> float | None:
        """The seconds that the caller's own function took to produce the value."""
        return None

    def size(self, sizes: list[int]) -> int:
        """The bytes of the values moved, given the sizes noted while the call ran."""
        return sum(sizes)

    def kind(self, result: Any) -> str | None:
        """The name of the type of the value that a call which found or wrote one moved."""
        return None

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


class Change(Shape):
    """``incr`` and its like."""

    __slots__ = ()
    version_at = 2


class VersionStep(Change):
    """``incr_version`` and its like: they answer with the new version."""

    __slots__ = ()
    effects = int


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

    def kind(self, result: Any) -> str:
        # By its type: to ask a lazy value for its class would make it.
        return type(self.argument(1, "value")).__name__


class Lookup(Shape):
    """``get``."""

    __slots__ = ("default",)
    version_at = 2
    moves_values = True

    def __init__(self, cache: BaseCache, args: Args, kwargs: Kwargs) -> None:
        super().__init__(cache, args, kwargs)
        self.default = self.argument(1, "default")
        # There may be backends that call a default which can be called.
        if not callable(self.default):
            self.replace(1, "default", MISSING)

    def outcome(self, result: Any) -> bool:
        missing = self.default if callable(self.default) else MISSING
        return result is not missing

    def kind(self, result: Any) -> str | None:
        return type(result).__name__ if self.outcome(result) else None

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

    def kind(self, result: Any) -> str | None:
        return type(result).__name__ if self.outcome(result) else None
