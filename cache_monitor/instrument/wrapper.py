"""Put recording methods in place of a backend's own, in the classes that have them.

In place, as tracing tools do, rather than in a subclass: the class, what is kept on it,
registries, pickles and ``type()`` stay the project's own. An instance that serves no alias passes
straight through.
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from functools import partial, update_wrapper
from types import FunctionType
from typing import Any
from weakref import ref

from django.core.cache.backends.base import BaseCache

from cache_monitor.instrument.aliases import telling_lookup
from cache_monitor.instrument.fastpath import fast_path
from cache_monitor.instrument.observe import Method, ObservedOperation, observed, observed_async
from cache_monitor.instrument.operations import SHAPES, shape_of

_NOT_OPERATIONS = frozenset(
    {"close", "get_backend_timeout", "make_and_validate_key", "make_key", "validate_key"}
)
_OURS = __name__.rpartition(".")[0]


class _Wrapped(ref[type]):
    """A class whose methods were wrapped, and which these were. Weakly: they hold the class."""

    __slots__ = ("originals",)
    originals: dict[str, ref[Any]]


_wrapped: dict[int, _Wrapped] = {}


def wrap_class(class_: type) -> None:
    """Have the methods of ``class_`` record, and of the classes that it derives from."""
    for each in class_.__mro__:
        if _is_a_projects(each):
            _wrap_own(each, class_)


def unwrap_all() -> None:
    """Put the methods back where nobody has put others in their place since."""
    for wrapped in list(_wrapped.values()):
        class_ = wrapped()
        if class_ is None:
            continue
        for name in wrapped.originals:
            method = vars(class_).get(name)
            if is_ours(method):
                type.__setattr__(class_, name, original_of(method))
    _wrapped.clear()


def is_ours(method: object) -> bool:
    """Whether ``method`` is one that :func:`wrap_class` made."""
    return isinstance(method, FunctionType) and str(method.__globals__.get("__name__")).startswith(
        _OURS
    )


def original_of(method: Any) -> Any:
    """The method in whose place ``method`` stands."""
    cells = dict(zip(method.__code__.co_freevars, method.__closure__ or (), strict=True))
    found = cells["original"].cell_contents
    return original_of(found) if is_ours(found) else found


def _is_a_projects(class_: type) -> bool:
    """Whether ``class_`` is a backend, or a class that a project or a library made for one."""
    if issubclass(class_, BaseCache):
        return True
    return class_.__module__.partition(".")[0] not in sys.stdlib_module_names | {"builtins"}


def _wrap_own(class_: type, backend: type) -> None:
    wrapped = _wrapped.get(id(class_))
    if wrapped is None:
        wrapped = _Wrapped(class_, partial(_wrapped.pop, id(class_)))
        wrapped.originals = {}
        _wrapped[id(class_)] = wrapped
    for name, original in _methods(class_):
        before = wrapped.originals.get(name)
        # Another one than was wrapped is a patch, and calls what it found. The same one was put
        # back by a patch that has ended.
        if before is None or before() is original:
            method = _recording(name, original, class_, backend)
            try:
                type.__setattr__(class_, name, method)
            except TypeError:
                return  # of an extension in C: it works, unrecorded
            wrapped.originals[name] = ref(original)


def _methods(class_: type) -> Iterator[tuple[str, Any]]:
    for name, found in list(vars(class_).items()):
        if name.startswith("_") or name in _NOT_OPERATIONS or is_ours(found):
            continue
        if isinstance(found, FunctionType) or (_is_operation(name) and _binds(found)):
            yield name, found


def _is_operation(name: str) -> bool:
    return name in SHAPES or (name[:1] == "a" and name[1:] in SHAPES)


def _binds(found: object) -> bool:
    """Whether ``found`` becomes a method as a function does; some tools' wrappers do."""
    return callable(found) and not isinstance(found, type) and hasattr(type(found), "__get__")


def _recording(name: str, original: Any, class_: type, backend: type) -> Method:
    is_async = inspect.iscoroutinefunction(original)
    operation_name = name[1:] if is_async and hasattr(backend, name[1:]) else name
    method = original if isinstance(original, FunctionType) else _bound(original)
    call = telling_lookup(method, class_, name)
    operation = ObservedOperation(
        operation_name, method, call, shape_of(name, operation_name, original, class_)
    )
    if is_async:
        return _named(observed_async(operation), original)
    usual = observed(operation)
    return _named(fast_path(class_, operation, usual) or usual, original)


def _bound(original: Any) -> Method:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return original.__get__(self, type(self))(*args, **kwargs)

    return call


def _named(method: Method, original: Callable[..., Any]) -> Method:
    """``method`` looking like ``original``, without the ``__wrapped__`` that tools take for a
    patch of their own."""
    update_wrapper(method, original)
    wrapped = inspect.getattr_static(original, "__wrapped__", None)
    if wrapped is None:
        del method.__wrapped__  # type: ignore[attr-defined]  # a function has it, a Callable has not
    else:
        method.__wrapped__ = wrapped  # type: ignore[attr-defined]  # likewise
    if isinstance(original, FunctionType):
        method.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]  # likewise
    return method
