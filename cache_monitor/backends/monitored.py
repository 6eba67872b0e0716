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
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache

from cache_monitor.backends.inherited import InheritedOperation
from cache_monitor.backends.operations import (
    Method,
    leaf_get,
    leaf_set,
    observed,
    observed_async,
)
from cache_monitor.backends.shapes import SHAPES, Keyless
from cache_monitor.backends.sizes import size_watching_methods, watch_sizes
from cache_monitor.calls import Source
from cache_monitor.recorder import recorder

_NOT_OPERATIONS = frozenset(
    {"close", "get_backend_timeout", "make_and_validate_key", "make_key", "validate_key"}
)

_LEAVES: dict[str, Callable[[Any, Source, Method], Method]] = {"get": leaf_get, "set": leaf_set}
_LEAF_BACKENDS = (LocMemCache, DummyCache)
"""Backends whose ``get`` and ``set`` are known to call no other operation."""

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
    namespace |= size_watching_methods(real)
    namespace |= {
        "__module__": real.__module__,
        "__qualname__": real.__qualname__,
        "__doc__": real.__doc__,
        "__init__": _initialiser(real),
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
    _watch(cache)


def _operations(real: type[BaseCache], alias: str) -> Iterator[tuple[str, Any]]:
    for name in dir(real):
        original = inspect.getattr_static(real, name)
        if name.startswith("_") or not isinstance(original, FunctionType):
            continue
        is_async = inspect.iscoroutinefunction(original)
        operation = name[1:] if is_async and hasattr(real, name[1:]) else name
        if operation not in _NOT_OPERATIONS:
            yield name, _stand_in(real, name, Source(alias, operation), original)


def _stand_in(real: type[BaseCache], name: str, source: Source, original: FunctionType) -> Any:
    shape = SHAPES.get(source.operation, Keyless)
    make = observed_async if inspect.iscoroutinefunction(original) else observed
    method = make(real, name, source, shape)
    if name in _LEAVES and any(original is vars(leaf)[name] for leaf in _LEAF_BACKENDS):
        method = _LEAVES[name](real, source, _named(method, original))
    method = _named(method, original)
    if make is observed and original is vars(BaseCache).get(name):
        return InheritedOperation(method, original)
    return method


def _named(method: Method, original: Callable[..., Any]) -> Method:
    """``method`` looking like ``original``, without the ``__wrapped__`` that the debug toolbar
    takes for a patch of its own."""
    update_wrapper(method, original)
    del method.__wrapped__  # type: ignore[attr-defined]
    method.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
    return method


def _initialiser(real: Any) -> Callable[..., None]:
    def __init__(self: BaseCache, *args: Any, **kwargs: Any) -> None:
        real.__init__(self, *args, **kwargs)
        _watch(self)

    return _named(__init__, real.__init__)


def _watch(cache: BaseCache) -> None:
    try:
        watch_sizes(cache)
    except Exception as error:
        # A backend that looks familiar and is not: it works without its sizes.
        recorder.failed(error)


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
