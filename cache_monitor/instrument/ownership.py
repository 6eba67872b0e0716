"""Whose a method is: of Django's and django-redis's own it is known what they do with a default.

Asked when a method is wrapped, of the method itself: one that somebody patched over is his.
"""

import sys
from collections.abc import Callable
from inspect import getattr_static
from types import FunctionType
from typing import Any

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import BaseMemcachedCache

from cache_monitor.scope import under_way

MISSING: object = BaseCache._missing_key
"""The default that tells a miss from everything that can be stored: Django's own one."""

SIZED = (
    "django.core.cache.backends.redis",
    "django.core.cache.backends.memcached",
    "django_redis.cache",
)
"""Whose backends turn values into bytes where :mod:`cache_monitor.instrument.sizes` can see it."""

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


def _module(function: object) -> str:
    found: str = getattr(function, "__globals__", {}).get("__name__", "")
    return found
