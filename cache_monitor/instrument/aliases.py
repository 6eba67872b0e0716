"""Whose a call is: the alias of an instance, the owner of a method, the final key.

Kept beside the instances, not in them: what a project pickles, compares or lists of a cache is
its own. An instance that is not here was not made for an alias, and is not recorded.

Asked when a method is wrapped, of the method itself: one that somebody patched over is his.

What it makes may depend on what is only known there, as on the tenant whose schema is in use.
"""

import sys
from collections.abc import Callable, Hashable, Sequence
from functools import partial, update_wrapper
from inspect import getattr_static, signature
from time import perf_counter as clock
from types import FunctionType
from typing import Any
from weakref import ref

from django.core.cache.backends.base import BaseCache, default_key_func
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import BaseMemcachedCache

from cache_monitor.calls import Entries, Source, recorder
from cache_monitor.context import CallContext, current, enter, under_way
from cache_monitor.errors import let_pass

MISSING: object = BaseCache._missing_key
"""The default that tells a miss from everything that can be stored: Django's own one."""

SIZED = (
    "django.core.cache.backends.redis",
    "django.core.cache.backends.memcached",
    "django_redis.cache",
)
"""Whose backends turn values into bytes where :mod:`cache_monitor.instrument.probes` can see it."""

_KEEP_IT = (LocMemCache, FileBasedCache, DummyCache)
"""Backends whose ``get`` returns the default itself and hands it to nobody."""

Method = Callable[..., Any]


def belongs_to(method: object, class_: type, *modules: str) -> bool:
    """Whether ``method`` is what one of ``modules``, or one inside of them, has for ``class_``."""
    function = method
    if hasattr(method, "__wrapped__") and _module(method) in modules:
        function = getattr_static(method, "__wrapped__")  # a decorator of the same module
    if not isinstance(function, FunctionType):
        return False
    module = _module(function)
    is_theirs = module == class_.__module__ and any(
        module == each or module.startswith(f"{each}.") for each in modules
    )
    return is_theirs and function.__code__.co_qualname.startswith(f"{class_.__qualname__}.")


def looking_like(method: Any, original: FunctionType) -> Any:
    """``method`` looking like ``original``, in whose place it is put. What decorators keep on a
    function, as a count of its calls, both have in common."""
    update_wrapper(method, original, updated=())
    method.__dict__ = attributes = vars(original)
    # Not as __wrapped__, which tools take for a patch of their own.
    if "__wrapped__" not in attributes:
        attributes.setdefault("__signature__", signature(original))
    return method


def telling_lookup(method: Method, class_: type, name: str) -> Method:
    """``method``, a backend's ``get`` for instance, so that it tells the operation under way
    whether the key was there, where a default of ours can do so without being seen."""
    if name != "get" or not belongs_to(method, class_, "django"):
        return method
    if class_ in _KEEP_IT:
        return _telling(method, lambda cache: True)
    if class_ is BaseMemcachedCache:
        return _telling(method, _has_libmemcached)
    return method


def _telling(original: Method, may_ask: Callable[[Any], bool]) -> Method:
    def observing(self: Any, key: Any, default: Any = None, version: int | None = None) -> Any:
        inner = under_way()
        if inner is None or not may_ask(self):
            return original(self, key, default, version)
        value = original(self, key, MISSING, version)
        inner.found = value is not MISSING
        return value if inner.found else default

    # For what is said of arguments that do not fit.
    observing.__qualname__ = original.__qualname__
    return observing


def _has_libmemcached(cache: Any) -> bool:
    """Whether ``cache`` asks pylibmc's client, in C; of pymemcache's the bytes tell."""
    class_ = attribute_of(cache, "_class")
    if getattr(class_, "__module__", None) != "pylibmc.client" or "get" in vars(class_):
        return False
    client = client_of(cache)
    if client is not None:
        return type(client) is class_
    djangos: Any = vars(BaseMemcachedCache)["_cache"]
    return getattr_static(type(cache), "_cache") is djangos


def is_django_redis(class_: type) -> bool:
    """Whether ``class_`` is django-redis's, which is not imported where nobody uses it."""
    module = sys.modules.get("django_redis.cache")
    return module is not None and issubclass(class_, module.RedisCache)


def attribute_of(cache: object, name: str) -> Any:
    """The attribute ``name`` of ``cache``, past what its class may do when asked; None without.

    Never by the instance's ``__dict__``: to have one made slows every access from then on.
    """
    try:
        return object.__getattribute__(cache, name)
    except AttributeError:
        return None


def client_of(cache: object) -> Any:
    """The client of a backend that keeps it in a ``cached_property``; None before it is made."""
    own: dict[str, Any] = object.__getattribute__(cache, "__dict__")
    return own.get("_cache")


def stored_size(cache: BaseCache, key: Hashable, version: Hashable) -> int | None:
    """The bytes of the value stored under ``key``, where a look costs next to nothing."""
    # A project's own key function may depend on the thread, or count its calls.
    if not isinstance(cache, LocMemCache) or cache.key_func is not default_key_func:
        return None
    keys = key if isinstance(key, tuple) else (key,)
    backend: Any = cache
    stored = backend._cache
    found = [stored.get(backend.make_key(each, version)) for each in keys]
    # A subclass may store something else than pickles.
    sizes = [len(pickled) for pickled in found if isinstance(pickled, bytes)]
    return sum(sizes) if sizes else None


def _module(function: object) -> str:
    found: str = getattr(function, "__globals__", {}).get("__name__", "")
    return found


SLOW = 0.0002
"""Seconds that a key function may take for a key."""
_MOST_SLOW = 3.0
_QUICK = 0.05
"""What a quick answer makes up of a slow one: the system, or Python's lock, interrupts each of them
now and then."""


def makes_own_keys(cache: object) -> bool:
    """Whether the project has a say in what ``cache`` makes of a key."""
    if attribute_of(cache, "key_func") not in (None, default_key_func):
        return True
    made_by = getattr_static(type(cache), "make_key", None)
    # One that derives from nothing of Django's may have none: its keys are those it is given.
    return made_by not in (None, vars(BaseCache)["make_key"])


class KeyMaker:
    """Asks a cache what it makes of keys.

    It does so until that turns out to be more than a glance, which the site should not wait for
    twice: where the function uses a cache itself, or takes long again and again.
    """

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = _MOST_SLOW

    def entries(self, cache: Any, key: Hashable, version: Hashable) -> Entries | None:
        """What ``cache`` makes of a key, or of several: of none where it takes one of them not;
        None where that cannot be told."""
        if self._left <= 0 or key is None:
            return None
        keys: Sequence[Any] = key if isinstance(key, tuple) else (key,)
        outer, inner = current(), CallContext(muted=True)
        started = clock()
        try:
            enter(inner)
            names = tuple([str(cache.make_key(each)) for each in keys])
            is_own = version is None or not names or str(version) == str(cache.version)
            varies = is_own or str(cache.make_key(keys[0], version)) != names[0]
        except Exception as fault:
            enter(outer)
            let_pass(fault)
            return (), True
        except BaseException:
            enter(outer)
            raise
        enter(outer)
        if inner.used:
            self._left = 0
        elif clock() - started > SLOW * max(len(keys), 1):
            self._left -= 1
        elif self._left < _MOST_SLOW:
            self._left = min(self._left + _QUICK, _MOST_SLOW)
        return names, varies

    def note(self, cache: Any, key: Hashable, version: Hashable, outer: CallContext) -> None:
        """Tell the operation ``outer`` what ``cache`` makes of the keys of a part of it: it may
        run in another thread, which has another tenant."""
        try:
            made = self.entries(cache, key, version)
        except Exception as fault:
            let_pass(fault)
            recorder.failed(fault)
            return
        finals = outer.finals
        if made is None or finals is None:
            return
        names, varies = made
        for each, name in zip(key if isinstance(key, tuple) else (key,), names, strict=False):
            if finals.setdefault(each, (name, varies)) != (name, varies):
                finals[each] = None

    def entries_noted(
        self, cache: Any, key: Hashable, version: Hashable, inner: CallContext
    ) -> Entries | None:
        """What the parts of an operation told; what they did not is asked now."""
        finals = inner.finals or {}
        keys: Sequence[Any] = key if isinstance(key, tuple) else (key,)
        # A part of it may have run in another thread.
        if not any(each in finals for each in keys):
            return self.entries(cache, key, version)
        found = [made for made in map(finals.get, keys) if made is not None]
        if len(found) < len(keys):
            return None
        return tuple([name for name, _ in found]), all(varies for _, varies in found)


class Sources(dict[str, Source]):
    """The sources of one alias by their operations: always the same ones."""

    def __init__(self, alias: str) -> None:
        super().__init__()
        self.alias = alias

    def __missing__(self, operation: str) -> Source:
        # setdefault: another thread may be here too, and sources are compared by identity.
        return self.setdefault(operation, Source(self.alias, operation))


class Noted(ref[Any]):
    """An instance that serves ``alias``."""

    __slots__ = (
        "alias",
        "key_maker",
        "leaf_get",
        "leaf_set",
        "sized_get",
        "sized_get_many",
        "sized_set",
        "sources",
    )
    alias: str
    key_maker: KeyMaker | None
    """Where the keys are of the project's own making."""
    sources: Sources
    leaf_get: Source | None
    """Where the calls of ``get`` come from, if it calls no other operation of the cache."""
    leaf_set: Source | None
    sized_get: Source | None
    """The same of a backend whose ``get`` may call others, unless its keys are the project's."""
    sized_set: Source | None
    sized_get_many: Source | None


_noted: dict[int, Noted] = {}
_latest: dict[str, Noted] = {}
_sources: dict[str, Sources] = {}
_key_makers: dict[str, KeyMaker] = {}

find: Callable[[int], Noted | None] = _noted.get
"""What is noted of the instance with that ``id``; the hot path asks nothing of the instance."""


def note(cache: object, alias: str, is_leaf: bool) -> None:
    """Let ``cache`` serve ``alias``."""
    key_maker = _key_makers.setdefault(alias, KeyMaker()) if makes_own_keys(cache) else None
    is_leaf = is_leaf and key_maker is None
    # In C alone: what a signal's handler raises in a callback would be lost.
    noted = Noted(cache, partial(_noted.pop, id(cache)))
    noted.alias = alias
    noted.key_maker = key_maker
    noted.sources = _sources.setdefault(alias, Sources(alias))
    noted.leaf_get = noted.sources["get"] if is_leaf else None
    noted.leaf_set = noted.sources["set"] if is_leaf else None
    noted.sized_get = noted.sources["get"] if key_maker is None else None
    noted.sized_set = noted.sources["set"] if key_maker is None else None
    noted.sized_get_many = noted.sources["get_many"] if key_maker is None else None
    _noted[id(cache)] = _latest[alias] = noted


def alias_of(cache: object) -> str | None:
    """The alias that ``cache`` serves, if its calls are recorded."""
    noted = find(id(cache))
    return None if noted is None else noted.alias


def instance_of(alias: str) -> Any:
    """An instance that serves ``alias``, of whatever thread; None where there is none by now.

    For those who only want to know how it is set up: one made for them would count where a
    backend counts its instances.
    """
    noted = _latest.get(alias)
    return None if noted is None else noted()


def forget_instances() -> None:
    """Give none that was made under other settings."""
    _latest.clear()
    _key_makers.clear()


def forget_all() -> None:
    """Record no instance from now on."""
    _noted.clear()
    _latest.clear()
