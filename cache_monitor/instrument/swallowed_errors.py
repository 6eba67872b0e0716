"""What a cache's client swallows: errors that its settings tell it to keep to itself.

Seen where the client notices them. For the site nothing changes, and a call that succeeds comes by
none of these places but two, where pymemcache chooses a server and asks it.
"""

import sys
from functools import update_wrapper
from types import FunctionType
from typing import Any

from django.core.cache.backends.memcached import PyMemcacheCache

from cache_monitor.context import under_way
from cache_monitor.instrument.aliases import attribute_of, client_of, is_django_redis


def is_swallowing(cache: Any) -> bool:
    """Whether the client of ``cache`` is one that keeps errors to itself."""
    if attribute_of(cache, "_ignore_exceptions"):
        # A client of the project's own may have mended what failed.
        return type(attribute_of(cache, "_client")).__module__.startswith("django_redis.")
    client = client_of(cache)
    return type(client).__module__.startswith("pymemcache.") and bool(client.ignore_exc)


def watch_swallowed(class_: type) -> None:
    """Have what the clients of the backend ``class_`` swallow noted."""
    if issubclass(class_, PyMemcacheCache):
        hashing, base = sys.modules["pymemcache.client.hash"], sys.modules["pymemcache.client.base"]
        _replace(hashing.HashClient, "_get_client", _noting_no_server)
        _replace(hashing.HashClient, "_safely_run_func", _noting_not_asked)
        _replace(hashing.HashClient, "_safely_run_set_many", _noting_not_asked)
        _replace(base.Client, "_connect", _noting_raised)
        _replace(base.Client, "close", _noting_cause)
    elif is_django_redis(class_):
        _replace(
            sys.modules["django_redis.exceptions"].ConnectionInterrupted, "__init__", _noting_cause
        )


def _replace(class_: type, name: str, make: Any) -> None:
    original = vars(class_).get(name)
    if isinstance(original, FunctionType) and original.__globals__ is not globals():
        method = update_wrapper(make(original), original)
        del method.__wrapped__
        setattr(class_, name, method)


def _note(name: str) -> None:
    inner = under_way()
    if inner is not None and inner.swallowed is None:
        inner.swallowed = name


def _noting_cause(original: Any) -> Any:
    """For what is called while an error is handled: to raise another one, or to clean up."""

    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        if (error := sys.exception()) is not None:
            _note(type(error).__name__)
        return original(self, *args, **kwargs)

    return noting


def _noting_raised(original: Any) -> Any:
    """For what may fail before there is anything to clean up."""

    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(self, *args, **kwargs)
        except Exception as error:
            _note(type(error).__name__)
            raise

    return noting


def _noting_no_server(original: Any) -> Any:
    """For what gives no client where all servers are taken for dead."""

    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        client = original(self, *args, **kwargs)
        if client is None:
            _note("MemcacheError")
        return client

    return noting


def _noting_not_asked(original: Any) -> Any:
    """For what does not ask a server that failed a moment ago."""

    def noting(self: Any, client: Any, *args: Any, **kwargs: Any) -> Any:
        was_failing = client.server in self._failed_clients
        result = original(self, client, *args, **kwargs)
        if was_failing and client.server in self._failed_clients:
            _note("MemcacheError")
        return result

    return noting
