"""Make the monitored twin of a backend class: a subclass whose operations are recorded.

A subclass, not a proxy: ``isinstance`` holds, and whatever a backend adds to Django's API is
there. One class is made for each backend class and alias, so that instances carry nothing of ours.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import lru_cache, update_wrapper
from types import FunctionType
from typing import Any

from django.core.cache.backends.base import BaseCache

from cache_monitor.backends.finding import SHAPES, shapes_of
from cache_monitor.backends.handed import handed_way
from cache_monitor.backends.inherited import InheritedOperation
from cache_monitor.backends.leaves import short_way
from cache_monitor.backends.observation import Method, Operation, observed, observed_async
from cache_monitor.backends.sizes import size_watching, watch_open
from cache_monitor.calls import Source

_NOT_OPERATIONS = frozenset(
    {"close", "get_backend_timeout", "make_and_validate_key", "make_key", "validate_key"}
)

_MARK = "_cache_monitor_real"


def real_class(cache: type[BaseCache] | BaseCache) -> type[BaseCache]:
    """The backend class behind a monitored cache or its class; another class as it is."""
    class_ = cache if isinstance(cache, type) else type(cache)
    found: type[BaseCache] = getattr(class_, _MARK, class_)
    return found


def is_monitored(class_: type) -> bool:
    """Whether ``class_`` was made by :func:`monitored_class`."""
    return hasattr(class_, _MARK)


def monitored_class(real: type[BaseCache], alias: str) -> type[BaseCache]:
    """The subclass of ``real`` that records the operations of the cache ``alias``.

    Raises whatever ``real`` raises against being subclassed.
    """
    class_: Any = real  # the stubs take a class with __eq__ for one that cannot be hashed
    return _monitored_class(class_, alias)


@lru_cache(maxsize=512)
def _monitored_class(real: Any, alias: str) -> type[BaseCache]:
    namespace: dict[str, Any] = dict(_operations(real, alias))
    namespace |= size_watching(real)
    namespace |= {
        "__module__": real.__module__,
        "__qualname__": real.__qualname__,
        "__doc__": real.__doc__,
        "__reduce_ex__": _reducer(real, alias),
        _MARK: real,
    }
    made: type[BaseCache] = type(real)(real.__name__, (real,), namespace)
    return made


def adopt(cache: BaseCache, alias: str) -> None:
    """Let ``cache``, an instance made earlier, be recorded from now on."""
    real = type(cache)
    if is_monitored(real):
        return
    cache.__class__ = monitored_class(real, alias)
    watch_open(cache)


def _operations(real: type[BaseCache], alias: str) -> Iterator[tuple[str, Any]]:
    for name in dir(real):
        original = inspect.getattr_static(real, name)
        if name.startswith("_") or not _is_method(name, original):
            continue
        is_async = inspect.iscoroutinefunction(original)
        operation = name[1:] if is_async and hasattr(real, name[1:]) else name
        if operation not in _NOT_OPERATIONS:
            source = Source(alias, operation)
            shapes = shapes_of(operation, original)
            yield name, _stand_in(Operation(real, name, original, source, *shapes))


def _is_method(name: str, original: object) -> bool:
    """Whether ``original`` is a method; of Django's operations it may be a Mock for the moment."""
    return isinstance(original, FunctionType) or (
        (name in SHAPES or name[1:] in SHAPES) and callable(original)
    )


def _stand_in(operation: Operation) -> Any:
    real, name, original = operation.real, operation.name, operation.original
    is_async = inspect.iscoroutinefunction(original)
    method = observed_async(operation) if is_async else observed(operation)
    if not isinstance(original, FunctionType):
        return method
    method = _named(method, original)
    if short := short_way(operation, method) or handed_way(operation, method):
        return _named(short, original)
    if not is_async and original is vars(BaseCache).get(name):
        return InheritedOperation(method, real, name)
    return method


def _named(method: Method, original: Callable[..., Any]) -> Method:
    """``method`` looking like ``original``, without the ``__wrapped__`` that the debug toolbar
    takes for a patch of its own."""
    update_wrapper(method, original)
    del method.__wrapped__  # type: ignore[attr-defined]  # a function has it, a Callable has not
    method.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]  # likewise
    return method


def _reducer(real: Any, alias: str) -> Callable[..., Any]:
    def __reduce_ex__(self: BaseCache, protocol: Any) -> Any:
        reduced = real.__reduce_ex__(self, protocol)
        if not isinstance(reduced, tuple):
            return reduced
        make, args, *rest = reduced
        args = tuple(real if each is type(self) else each for each in args)
        return (_rebuild, (real, alias, make, args), *rest)

    return __reduce_ex__


def _rebuild(real: type[BaseCache], alias: str, make: Callable[..., Any], args: Any) -> BaseCache:
    """Unpickle a monitored cache: the dynamic class has no name to be found by."""
    cache: BaseCache = make(*args)
    cache.__class__ = monitored_class(real, alias)
    return cache
