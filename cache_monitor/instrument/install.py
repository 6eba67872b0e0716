"""Have every cache that Django makes from ``CACHES`` be recorded.

Django makes a cache in ``CacheHandler.create_connection``. What it makes is noted there with its
alias, at the bottom: tools that put an object of theirs in front of it may come before or after.

Recording methods are put in place of a backend's own, in the classes that have them. In place, as
tracing tools do, rather than in a subclass: the class, what is kept on it, registries, pickles and
``type()`` stay the project's own. An instance that serves no alias passes straight through.
"""

import inspect
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import partial, update_wrapper, wraps
from inspect import Parameter
from types import FunctionType, MethodType
from typing import Any, ClassVar
from weakref import ref

import django.core.cache as django_cache
from django.conf import settings
from django.core.cache import CacheHandler, caches
from django.core.cache.backends.base import BaseCache, InvalidCacheBackendError
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import BaseMemcachedCache
from django.core.cache.backends.redis import RedisCache

from cache_monitor.calls import bounded, recorder
from cache_monitor.conf import EXPLICIT, get_conf
from cache_monitor.instrument import aliases
from cache_monitor.instrument.aliases import (
    belongs_to,
    is_django_redis,
    looking_like,
    telling_lookup,
)
from cache_monitor.instrument.arguments import (
    USUAL_PLACES,
    Args,
    AsyncGetOrSet,
    CallSignature,
    GetOrSet,
    HandedOnLookup,
    Increment,
    Kwargs,
    Lookup,
    LookupMany,
    Many,
    Mapped,
    OwnGetOrSet,
    Places,
    Touch,
    VersionStep,
    Write,
    code_of,
    handed_to,
    parameters_of,
    places_of,
    takes_anything,
)
from cache_monitor.instrument.fastpath import LEAVES, fast_path
from cache_monitor.instrument.observe import Method, ObservedOperation, observed, observed_async
from cache_monitor.instrument.probes import (
    watch_culls,
    watch_sizes,
    watch_swallowed,
    watch_timeouts,
)


class Addition(CallSignature):
    """An operation of the backend's own. Its first argument is a key, or a pattern of keys, where
    it is a string; ``timeout`` or ``when`` is what it gives an entry to live."""

    __slots__ = ("_cache",)
    operation: ClassVar[str]
    places: ClassVar[Places | None] = USUAL_PLACES
    """None where the method takes anything and only the client that it hands it to can tell."""

    def __init__(self, cache: BaseCache, args: Args, kwargs: Kwargs) -> None:
        super().__init__(cache, args, kwargs)
        self._cache = cache

    def key(self) -> Hashable:
        first = self._given("key")
        return bounded(first) if isinstance(first, str) else None

    def timeout(self) -> object:
        return self._given("timeout")

    def version(self) -> Hashable:
        version = self._given("version")
        return version if version is None else bounded(version)

    def _given(self, meaning: str) -> Any:
        position, name, default = self._places()[meaning]
        if position is not None and len(self.args) > position:
            return self.args[position]
        return self.kwargs.get(name, default)

    def _places(self) -> Places:
        if self.places is not None:
            return self.places
        method = handed_to(self._cache, self.operation)
        return places_of(method) if isinstance(method, FunctionType) else USUAL_PLACES


def addition(operation: str, method: object) -> type[Addition]:
    """The signature of ``method``, which a backend has for an ``operation`` that Django has not."""
    places = None
    if isinstance(method, FunctionType) and not takes_anything(parameters_of(method)):
        places = places_of(method)
    namespace = {"__slots__": (), "operation": operation, "places": places}
    return type(Addition.__name__, (Addition,), namespace)


SIGNATURES: Mapping[str, type[CallSignature]] = {
    "get": Lookup,
    "get_many": LookupMany,
    "get_or_set": OwnGetOrSet,
    "set": Write,
    "add": Write,
    "touch": Touch,
    "delete": CallSignature,
    "has_key": CallSignature,
    "incr": Increment,
    "decr": Increment,
    "incr_version": VersionStep,
    "decr_version": VersionStep,
    "set_many": Mapped,
    "delete_many": Many,
}
"""The signatures of Django's own operations on keys; any other is an addition of the backend's."""

_LIBRARIES = ("django", "django_redis")


def signature_of(name: str, operation: str, method: object, class_: type) -> type[CallSignature]:
    """The signature of ``method``, which ``class_`` has as ``name`` for ``operation``."""
    usual = SIGNATURES.get(operation)
    if usual is None:
        return addition(operation, method)
    if usual is Lookup and belongs_to(method, class_, *_LIBRARIES):
        return HandedOnLookup
    if usual is OwnGetOrSet and class_ is BaseCache and belongs_to(method, class_, "django"):
        return GetOrSet if name == operation else AsyncGetOrSet
    names = _own_names(usual, parameters_of(method))
    if names:
        return type(usual.__name__, (usual,), {"__slots__": (), "names": names})
    return usual


def _own_names(signature: type[CallSignature], parameters: Sequence[Parameter]) -> dict[str, str]:
    """The backend's names for Django's arguments, where they are others."""
    djangos = {
        "keys" if issubclass(signature, Many) else "data" if signature is Mapped else "key": 0,
        "default": 1 if signature in {Lookup, OwnGetOrSet} else None,
        "timeout": signature.timeout_at,
        "version": signature.version_at,
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


def _has_own_timeout(method: Any, class_: type, backend: type) -> bool:
    """Whether ``method``, by which a project's ``backend`` writes past Django's, need not keep to
    the timeout that it is given. Of a backend made from scratch it is the only one there is."""
    derives = issubclass(backend, _DJANGOS) or is_django_redis(backend)
    if not derives or class_.__module__.partition(".")[0] in _LIBRARIES:
        return False
    code = code_of(inspect.unwrap(method))
    # As in a copy of Django's own method, with something else changed.
    return code is None or "get_backend_timeout" not in code.co_names


_DJANGOS = (LocMemCache, FileBasedCache, DatabaseCache, BaseMemcachedCache, RedisCache)


def can_be_recorded(class_: type) -> bool:
    """Whether ``class_`` is a backend: Django asks of one no more than that it can be called like
    one, and some, such as django-valkey's, derive from nothing of Django's."""
    return issubclass(class_, BaseCache) or all(
        callable(getattr(class_, each, None)) for each in _ASKED_OF_A_BACKEND
    )


_ASKED_OF_A_BACKEND = ("get", "set", "delete", "get_many", "clear")


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
    if type(method) is _Decorated:
        return True
    return isinstance(method, FunctionType) and str(method.__globals__.get("__name__")).startswith(
        _OURS
    )


def original_of(method: Any) -> Any:
    """The method in whose place ``method`` stands."""
    if type(method) is _Decorated:
        return method.original
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
    return name in SIGNATURES or (name[:1] == "a" and name[1:] in SIGNATURES)


def _binds(found: object) -> bool:
    """Whether ``found`` becomes a method as a function does; some decorators' results do."""
    class_ = type(found)
    is_method = callable(found) and hasattr(class_, "__get__")
    # What takes no weak reference, as a static method, could not be told from a later patch.
    return is_method and not isinstance(found, type) and class_.__weakrefoffset__ != 0


class _Decorated:
    """Stands in for a method that is no function, such as ``lru_cache`` makes: ``method`` records
    the calls; of everything else the decorator's own result is asked."""

    def __init__(self, original: Any, method: Method) -> None:
        self.original = original
        self.method = method
        update_wrapper(self, original, updated=())
        del self.__wrapped__  # the original's own, if it has one

    def __get__(self, cache: Any, class_: Any = None) -> Any:
        # What is asked of the class, such as ``cache_clear``, is none of the cache's operations.
        return self.original.__get__(None, class_) if cache is None else MethodType(self, cache)

    def __call__(self, cache: Any, *args: Any, **kwargs: Any) -> Any:
        return self.method(cache, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)


def _recording(name: str, original: Any, class_: type, backend: type) -> Any:
    method = _recording_function(name, original, class_, backend)
    if isinstance(original, FunctionType):
        return looking_like(method, original)
    return _Decorated(original, method)


def _recording_function(name: str, original: Any, class_: type, backend: type) -> Method:
    is_async = inspect.iscoroutinefunction(original)
    operation_name = name[1:] if is_async and hasattr(backend, name[1:]) else name
    method = original if isinstance(original, FunctionType) else _bound(original)
    call = telling_lookup(method, class_, name)
    signature = signature_of(name, operation_name, original, class_)
    if signature.timeout_at is not None and _has_own_timeout(original, class_, backend):
        namespace = {"__slots__": (), "has_own_timeout": True}
        signature = type(signature.__name__, (signature,), namespace)
    operation = ObservedOperation(operation_name, method, call, signature)
    if is_async:
        return observed_async(operation)
    usual = observed(operation)
    return fast_path(class_, operation, usual) or usual


def _bound(original: Any) -> Method:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return original.__get__(self, type(self))(*args, **kwargs)

    return call


_creating: ContextVar[str | None] = ContextVar("cache_monitor_creating", default=None)
_replaced: dict[str, Any] = {}
_watching = [False]
"""Whether caches are to be recorded: what others have put above ours may call it after the end."""


def alias_being_created() -> str | None:
    """The alias of ``CACHES`` that Django is making a cache for right now, in this context."""
    return _creating.get()


def install() -> None:
    """Record the caches made from now on, and those that this thread has already. Idempotent."""
    _watching[0] = True
    if not _replaced:
        _replaced["create_connection"] = original = CacheHandler.create_connection
        CacheHandler.create_connection = _creator(original)  # type: ignore[method-assign]  # the purpose
        _replaced["import_string"] = importing = django_cache.import_string  # type: ignore[attr-defined]  # not in the stubs
        django_cache.import_string = _importer(importing)  # type: ignore[attr-defined]  # likewise
    for alias in caches:
        # caches.all() would make those that are not there.
        made = caches._connections  # type: ignore[attr-defined]  # private: not in the stubs
        if hasattr(made, alias) and _is_recorded_alias(alias):
            instrument(caches[alias], alias)


def uninstall() -> None:
    """Undo it, but for what others have put above it meanwhile; record nothing from now on."""
    _watching[0] = False
    if _replaced and getattr(CacheHandler.create_connection, "__globals__", None) is globals():
        CacheHandler.create_connection = _replaced.pop("create_connection")  # type: ignore[method-assign]  # the purpose
        django_cache.import_string = _replaced.pop("import_string")  # type: ignore[attr-defined]  # not in the stubs
    aliases.forget_all()
    unwrap_all()


def instrument(cache: object, alias: str) -> None:
    """Record the calls on ``cache`` as those of ``alias``, from now on.

    An instance that serves an alias already, as one shared by several does, stays with it.
    """
    class_ = type(cache)
    if not can_be_recorded(class_):
        return
    with recorder.guard:
        # ``{% cache … using="pages" %}`` asks for a SafeString, which a store need not take.
        alias = str.__str__(alias)
        wrap_class(class_)
        if aliases.alias_of(cache) not in settings.CACHES:
            aliases.note(cache, alias, class_ in LEAVES)
            watch_sizes(cache)
            watch_swallowed(class_)
            watch_culls(cache, alias)
            watch_timeouts(cache)


def _creator(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def create_connection(self: CacheHandler, alias: str) -> Any:
        # Handlers that others made for settings of their own are not ours to watch.
        # Django's own is ours even where the settings are made anew at each look.
        own = self is not caches and self.settings is not settings.CACHES
        if own or not get_conf().enabled:
            return original(self, alias)
        before = _creating.get()
        try:
            _creating.set(alias)
            cache = original(self, alias)
        except InvalidCacheBackendError as error:
            # Checks of Django's own open the caches, perhaps before ours can say what to write.
            if settings.CACHES[alias].get("BACKEND") != EXPLICIT:
                error.add_note(
                    f"Write into CACHES[{alias!r}]['BACKEND'] the dotted path of a cache backend "
                    "that is installed."
                )
            raise
        finally:
            _creating.set(before)
        if _is_recorded_alias(alias):
            # Only where somebody makes caches in a way of his own is there still work here.
            instrument(cache, alias)
        return cache

    return create_connection


def _importer(original: Callable[[str], Any]) -> Callable[[str], Any]:
    @wraps(original)
    def import_string(path: str) -> Any:
        found = original(path)
        alias = _creating.get()
        return found if alias is None or not _is_recorded_alias(alias) else partial(_make, found)

    return import_string


def _make(backend: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Make what Django has imported a backend for, as Django does."""
    alias = _creating.get()
    cache = backend(*args, **kwargs)
    if alias is not None:
        instrument(cache, alias)
    return cache


def _is_recorded_alias(alias: str) -> bool:
    """Whether all aliases are recorded; a ``MonitoredCache`` sees to itself."""
    conf = get_conf()
    backend = settings.CACHES.get(alias, {}).get("BACKEND")
    is_wanted = conf.enabled and conf.instrument == "all" and backend != EXPLICIT
    return _watching[0] and is_wanted
