"""Have every cache that Django makes from ``CACHES`` be recorded.

Django makes a cache in ``CacheHandler.create_connection``. What it makes is noted there with its
alias, at the bottom: tools that put an object of theirs in front of it may come before or after.
"""

from collections.abc import Callable
from contextvars import ContextVar
from functools import partial, wraps
from typing import Any

import django.core.cache as django_cache
from django.conf import settings
from django.core.cache import CacheHandler, caches
from django.core.cache.backends.base import InvalidCacheBackendError

from cache_monitor.conf import get_conf
from cache_monitor.errors import let_pass
from cache_monitor.instrument import aliases
from cache_monitor.instrument.culls import watch_culls
from cache_monitor.instrument.fastpath import LEAVES
from cache_monitor.instrument.sizes import watch_sizes
from cache_monitor.instrument.swallowed_errors import watch_swallowed
from cache_monitor.instrument.wrapper import can_be_recorded, unwrap_all, wrap_class
from cache_monitor.recorder import recorder

_creating: ContextVar[str | None] = ContextVar("cache_monitor_creating", default=None)
_replaced: dict[str, Any] = {}
_watching = [False]
"""Whether caches are to be recorded: what others have put above ours may call it after the end."""
_EXPLICIT = "cache_monitor.backends.MonitoredCache"


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
    try:
        # ``{% cache … using="pages" %}`` asks for a SafeString, which a store need not take.
        alias = str.__str__(alias)
        wrap_class(class_)
        if aliases.alias_of(cache) not in settings.CACHES:
            aliases.note(cache, alias, class_ in LEAVES)
            watch_sizes(cache)
            watch_swallowed(class_)
            watch_culls(cache, alias)
    except Exception as error:
        let_pass(error)
        recorder.failed(error)


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
            if settings.CACHES[alias].get("BACKEND") != _EXPLICIT:
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
    is_wanted = conf.enabled and conf.instrument == "all" and backend != _EXPLICIT
    return _watching[0] and is_wanted
