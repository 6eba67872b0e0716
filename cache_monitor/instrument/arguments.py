"""What an operation's arguments and result say: the key, and whether it was there.

The arguments go on as they came. Two exceptions cannot be seen by anybody: a callable that
``BaseCache.get_or_set`` itself calls is timed, and an iterator notes the keys that it gives.

Here are the operations on one key; :mod:`cache_monitor.instrument.finding` lists them all.
"""

from collections.abc import Hashable, Mapping
from typing import Any, ClassVar

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from cache_monitor.calls import bounded
from cache_monitor.scope import Scope

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
    looks_up: ClassVar[bool] = False
    """Whether the operation looks a key up, and thus tells whether it was there."""
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

    def outcome(self, result: Any, inner: Scope) -> bool | tuple[bool, ...] | None:
        """Whether the key was there; for several keys, which; None where nothing was looked up,
        or where that is not known."""
        return None

    def leave_word(self, result: Any, around: Scope) -> None:
        """Tell the operation that this call is part of what it did."""

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

    def produced(self, inner: Scope) -> float | None:
        """The seconds that the caller's own function took to produce the value."""
        return None

    def size(self, sizes: list[int]) -> int:
        """The bytes of the values moved, given the sizes noted while the call ran."""
        return sum(sizes)

    def prints(self, noted: list[int], outcome: object) -> tuple[int, ...]:
        """The fingerprints of the values written, one for each key; none where these are not
        known."""
        return ()

    def kind(self, result: Any, outcome: object) -> str | None:
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

    def leave_word(self, result: Any, around: Scope) -> None:
        around.wrote = around.wrote or result is not False

    def prints(self, noted: list[int], outcome: object) -> tuple[int, ...]:
        return tuple(noted[-1:])

    def kind(self, result: Any, outcome: object) -> str:
        # By its type: to ask a lazy value for its class would make it.
        return type(self.argument(1, "value")).__name__


class Lookup(Shape):
    """``get``, where nothing but its result tells: a miss is what gives the caller's default, and
    so is a stored None where he gave none."""

    __slots__ = ()
    version_at = 2
    moves_values = True
    looks_up = True

    def outcome(self, result: Any, inner: Scope) -> bool | None:
        default = self.argument(1, "default")
        if result is default or self._is_with_more(result, default):
            return False
        # There are backends that call a default which can be called.
        return None if callable(default) else True

    def leave_word(self, result: Any, around: Scope) -> None:
        around.found = self.outcome(result, around)

    def kind(self, result: Any, outcome: object) -> str | None:
        return type(result).__name__ if outcome else None

    def _is_with_more(self, result: Any, default: Any) -> bool:
        """Whether ``result`` is the default with nothing beside it, where more was asked for."""
        if type(result) is not tuple or len(self.args) + len(self.kwargs) < 2 or not result:
            return False
        djangos = ("key", "default", "version")
        names = {self.names.get(each, each) for each in djangos}
        asks_more = len(self.args) > len(djangos) or not names.issuperset(self.kwargs)
        return asks_more and result[0] is default and all(each is None for each in result[1:])


class HandedOnLookup(Lookup):
    """``get`` of Django's own or of django-redis, which hand the default on and leave it as it is:
    what they do inside tells a stored None from a miss."""

    __slots__ = ()

    def outcome(self, result: Any, inner: Scope) -> bool | None:
        if result is not self.argument(1, "default"):
            return True
        return bool(inner.sizes) if inner.found is None else inner.found
