"""What an operation's arguments and result say: which keys, and which of them were there.

The arguments go on as they came. Two exceptions cannot be seen by anybody: a callable that
``BaseCache.get_or_set`` itself calls is timed, and an iterator notes the keys that it gives.

Here are the signatures of Django's own operations: on one key, ``get_or_set``, which has the
caller's own function make the value on a miss, and on several keys. At the end stands where an
operation that Django has not keeps its arguments.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Sized
from functools import lru_cache, partial
from inspect import Parameter, getattr_static, signature
from itertools import islice
from time import perf_counter as clock
from types import CodeType, FunctionType
from typing import Any, ClassVar, NamedTuple

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.cache.backends.memcached import BaseMemcachedCache

from cache_monitor import context
from cache_monitor.calls import KEY_LIMIT, RaisedAfter, bounded
from cache_monitor.context import CallContext
from cache_monitor.errors import let_pass
from cache_monitor.instrument.aliases import attribute_of

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class CallSignature:
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
    has_own_timeout: ClassVar[bool] = False
    """Whether the method may give entries a timeout of its own without another call that tells."""
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

    def outcome(self, result: Any, inner: CallContext) -> bool | tuple[bool, ...] | None:
        """Whether the key was there; for several keys, which; None where nothing was looked up,
        or where that is not known."""
        return None

    def notify_outer(self, result: Any, outer: CallContext) -> None:
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

    def produced(self, inner: CallContext) -> float | None:
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


class Increment(CallSignature):
    """``incr`` and its like."""

    __slots__ = ()
    version_at = 2


class VersionStep(Increment):
    """``incr_version`` and its like: they answer with the new version."""

    __slots__ = ()
    effects = int


class Touch(CallSignature):
    """``touch``."""

    __slots__ = ()
    version_at = 2
    timeout_at = 1


class Write(CallSignature):
    """``set`` and ``add``."""

    __slots__ = ()
    version_at = 3
    moves_values = True
    timeout_at = 2

    def notify_outer(self, result: Any, outer: CallContext) -> None:
        outer.wrote = outer.wrote or result is not False

    def prints(self, noted: list[int], outcome: object) -> tuple[int, ...]:
        return tuple(noted[-1:])

    def kind(self, result: Any, outcome: object) -> str:
        # By its type: to ask a lazy value for its class would make it.
        return type(self.argument(1, "value")).__name__


class Lookup(CallSignature):
    """``get``, where nothing but its result tells: a miss is what gives the caller's default, and
    so is a stored None where he gave none."""

    __slots__ = ()
    version_at = 2
    moves_values = True
    looks_up = True

    def outcome(self, result: Any, inner: CallContext) -> bool | None:
        default = self.argument(1, "default")
        if result is default or self._is_with_more(result, default):
            return False
        # There are backends that call a default which can be called.
        return None if callable(default) else True

    def notify_outer(self, result: Any, outer: CallContext) -> None:
        outer.found = self.outcome(result, outer)

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

    def outcome(self, result: Any, inner: CallContext) -> bool | None:
        if result is not self.argument(1, "default"):
            return True
        return bool(inner.sizes) if inner.found is None else inner.found


class OwnGetOrSet(CallSignature):
    """``get_or_set`` of a backend's own, which gets the caller's function as it came: what the
    backend calls inside tells whether the value was there, and nothing how long it took."""

    __slots__ = ()
    version_at = 3
    moves_values = True
    timeout_at = 2

    def outcome(self, result: Any, inner: CallContext) -> bool | None:
        # One that stores has looked before, and one that finds does not store.
        return False if inner.wrote else inner.found

    def produced(self, inner: CallContext) -> float | None:
        return inner.produced

    def kind(self, result: Any, outcome: object) -> str:
        return type(result).__name__

    def size(self, sizes: list[int]) -> int:
        # A miss writes the value and reads it again: one value all the same.
        return sizes[-1]

    def prints(self, noted: list[int], outcome: object) -> tuple[int, ...]:
        return tuple(noted[-1:]) if outcome is False else ()

    def callback(self) -> CodeType | None:
        """The code of the caller's function, whose calls are no part of the operation."""
        return code_of(self.argument(1, "default"))


class GetOrSet(OwnGetOrSet):
    """``get_or_set`` as Django has it: it calls what can be called, and so is asked for the value
    only on a miss. What stands in for the caller's function nobody else sees."""

    __slots__ = ("producer",)

    def __init__(self, cache: BaseCache, args: Args, kwargs: Kwargs) -> None:
        super().__init__(cache, args, kwargs)
        self.producer: _Producer | None = None
        if (len(args) > 1 or "default" in kwargs) and self._is_asked(cache):
            default = self.argument(1, "default")
            self.producer = producer = _Producer()
            way = producer.produce if callable(default) else producer.give
            self.replace(1, "default", partial(way, default))

    def outcome(self, result: Any, inner: CallContext) -> bool | None:
        if self.producer is None:
            return super().outcome(result, inner)
        return not self.producer.was_asked

    def produced(self, inner: CallContext) -> float | None:
        return inner.produced if self.producer is None else self.producer.seconds

    def notify_outer(self, result: Any, outer: CallContext) -> None:
        if self.producer is not None:
            outer.found, outer.wrote = not self.producer.was_asked, self.producer.was_asked
            outer.produced = self.producer.seconds

    def callback(self) -> CodeType | None:
        return None

    def _is_asked(self, cache: BaseCache) -> bool:
        """Whether Django's function calls what it is given itself."""
        return True


class AsyncGetOrSet(GetOrSet):
    """``aget_or_set`` as Django has it: from 6.1 on it hands all on to a backend's own
    ``get_or_set``, where there is one."""

    __slots__ = ()

    def _is_asked(self, cache: BaseCache) -> bool:
        found = attribute_of(cache, "get_or_set")
        return getattr(found, "__func__", None) is vars(BaseCache)["get_or_set"]


class _Producer:
    """Makes the value for a ``get_or_set``, and knows whether it had to.

    Apart from the signature: that holds the arguments, which would then hold it, and the value
    would stay in memory until the next garbage collection.
    """

    __slots__ = ("seconds", "was_asked")

    def __init__(self) -> None:
        self.was_asked = False
        self.seconds: float | None = None

    def give(self, value: Any) -> Any:
        self.was_asked = True
        return value

    def produce(self, producer: Callable[[], Any]) -> Any:
        self.was_asked = True
        token = context.enter_callback()
        started = clock()
        try:
            value = producer()
        except BaseException:
            self.seconds = RaisedAfter(clock() - started)
            raise
        else:
            self.seconds = clock() - started
            return value
        finally:
            context.leave(token)


def code_of(function: Any) -> CodeType | None:
    """The code that runs when ``function`` is called, where that is Python's."""
    while isinstance(function, partial):
        function = function.func
    if not hasattr(type(function), "__code__") and not hasattr(function, "__func__"):
        function = getattr_static(type(function), "__call__", None)
    code = getattr(function, "__code__", None)
    return code if isinstance(code, CodeType) else None


class Many(CallSignature):
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

    def outcome(self, result: Any, inner: CallContext) -> tuple[bool, ...] | None:
        return all_found(self.keys, result)

    def notify_outer(self, result: Any, outer: CallContext) -> None:
        outer.found = bool(result)

    def kind(self, result: Any, outcome: object) -> str | None:
        return all_kinds(result)


class Mapped(CallSignature):
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

    def notify_outer(self, result: Any, outer: CallContext) -> None:
        outer.wrote = True

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
    try:
        return tuple(map(result.__contains__, keys))
    except Exception as error:
        let_pass(error)
        return tuple(_is_in(result, key) for key in keys)


def _is_in(result: Any, key: Any) -> bool:
    try:
        return key in result
    except Exception as error:
        # A key without a hash: the backend could not have returned it.
        let_pass(error)
        return False


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


_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_ANYTHING = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def parameters_of(method: object) -> tuple[Parameter, ...]:
    """What ``method``, as it stands on a class, takes after ``self``."""
    try:
        found = signature(method)  # type: ignore[arg-type]  # what is no callable: TypeError
        return tuple(found.parameters.values())[1:]
    except (TypeError, ValueError):
        return ()


def takes_anything(parameters: Sequence[Parameter]) -> bool:
    """Whether the method takes ``*args`` and ``**kwargs`` and nothing else."""
    return tuple(each.kind for each in parameters) == _ANYTHING


class Place(NamedTuple):
    """Where an argument stands: its position, None for one that has only its name."""

    position: int | None
    name: str
    default: Any = None


Places = Mapping[str, Place]
"""The places of the arguments that say something: ``key``, ``timeout`` and ``version``."""

USUAL_PLACES: Places = {
    "key": Place(0, "key"),
    "timeout": Place(None, "timeout"),
    "version": Place(None, "version"),
}
"""Where nothing is known of a method but that arguments have their names."""

_MEANINGS = {"timeout": "timeout", "when": "timeout", "version": "version"}


@lru_cache(maxsize=2048)
def places_of(method: FunctionType) -> Places:
    """The places of ``method``'s arguments; its first one may be a key."""
    places: dict[str, Place] = {}
    for position, each in enumerate(parameters_of(method)):
        at = position if each.kind in _POSITIONAL else None
        place = Place(at, each.name, None if each.default is Parameter.empty else each.default)
        if position == 0 and at is not None:
            places["key"] = place
        elif each.name in _MEANINGS:
            places.setdefault(_MEANINGS[each.name], place)
    return {**USUAL_PLACES, **places}


def handed_to(owner: object, name: str) -> Callable[..., Any] | None:
    """The method of ``owner``'s client that a method called ``name`` hands everything on to."""
    return getattr(type(attribute_of(owner, "_client")), name, None)
