"""Have every cache that Django makes from ``CACHES`` be a monitored one.

Django makes a cache in ``CacheHandler.create_connection``, which imports the backend's class.
The class is exchanged there, at the bottom, rather than the finished instance: tools that patch
instances (the debug toolbar, sentry) then see a cache like any other, whichever came first.
"""

from contextvars import ContextVar
from functools import wraps
from typing import Any

import django.core.cache as django_cache
from django.conf import settings
from django.core.cache import CacheHandler, caches
from django.core.cache.backends.base import BaseCache, InvalidCacheBackendError

from cache_monitor.backends.monitored import adopt, monitored_class
from cache_monitor.conf import get_conf
from cache_monitor.interruptions import let_pass
from cache_monitor.recorder import recorder

_creating: ContextVar[str | None] = ContextVar("cache_monitor_creating", default=None)
_MARK = "_cache_monitor_installed"


def alias_being_created() -> str | None:
    """The alias of ``CACHES`` that Django is making a cache for right now, in this context."""
    return _creating.get()


def instrument() -> None:
    """Monitor the caches made from now on, and those that this thread has already. Idempotent."""
    if not hasattr(CacheHandler, _MARK):
        setattr(CacheHandler, _MARK, True)
        _exchange_create_connection()
        _exchange_import_string()
    for alias in caches:
        # caches.all() would make those that are not there.
        made = caches._connections  # type: ignore[attr-defined]  # private: not in the stubs
        if hasattr(made, alias) and _is_monitored_alias(alias):
            _adopt(caches[alias], alias)


def _exchange_create_connection() -> None:
    original = CacheHandler.create_connection

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
            if settings.CACHES[alias].get("BACKEND") != _EXPLICIT:
                error.add_note(
                    f"Write into CACHES[{alias!r}]['BACKEND'] the dotted path of a cache backend "
                    "that is installed."
                )
            raise
        finally:
            _creating.set(before)
        if _is_monitored_alias(alias):
            # Only where somebody makes caches in a way of his own is there still work here.
            _adopt(cache, alias)
        return cache

    CacheHandler.create_connection = create_connection  # type: ignore[method-assign]  # the purpose


def _exchange_import_string() -> None:
    original = django_cache.import_string  # type: ignore[attr-defined]  # not in the stubs

    @wraps(original)
    def import_string(path: str) -> Any:
        found = original(path)
        alias = _creating.get()
        if alias is None or not _is_monitored_alias(alias):
            return found
        if not (isinstance(found, type) and issubclass(found, BaseCache)):
            return found
        try:
            return monitored_class(found, alias)
        except Exception as error:
            let_pass(error)
            # A class that cannot be subclassed: it works, unrecorded.
            recorder.failed(error)
            return found

    django_cache.import_string = import_string  # type: ignore[attr-defined]  # not in the stubs


_EXPLICIT = "cache_monitor.backends.MonitoredCache"


def _is_monitored_alias(alias: str) -> bool:
    """Whether the cache is ours to exchange; a ``MonitoredCache`` exchanges itself."""
    conf = get_conf()
    backend = settings.CACHES.get(alias, {}).get("BACKEND")
    return conf.enabled and conf.instrument == "all" and backend != _EXPLICIT


def _adopt(cache: Any, alias: str) -> None:
    try:
        if isinstance(cache, BaseCache):
            adopt(cache, alias)
    except Exception as error:
        let_pass(error)
        # A class of another memory layout cannot be exchanged: it works, unrecorded.
        recorder.failed(error)
