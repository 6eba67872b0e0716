"""Connections that tests leave open are closed when the test ends.

Most caches keep theirs for the next request, and Django forgets such a cache when its settings
change. Left to the collection of garbage, a socket may go before the connection that would close
it: Python then warns, in whatever test runs by then.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final
from weakref import WeakSet

from pymemcache.client.base import Client
from redis.connection import ConnectionPool

_CLASSES: Final[tuple[Any, ...]] = (ConnectionPool, Client)
_MADE: Final[WeakSet[Any]] = WeakSet()
"""What was made since the last test ended, and may have connections that nobody uses."""


def watch() -> None:
    """Note what is made from now on."""
    for made in _CLASSES:
        made.__init__ = _noted(made.__init__)


def _noted(init: Callable[..., None]) -> Callable[..., None]:
    @wraps(init)
    def noted(self: Any, *args: Any, **named: Any) -> None:
        init(self, *args, **named)
        _MADE.add(self)

    return noted


def close() -> None:
    """Close what nobody uses at this time; whoever goes on connects anew."""
    for each in list(_MADE):
        if isinstance(each, Client):
            each.close()
        else:
            each.disconnect(inuse_connections=False)
    _MADE.clear()
