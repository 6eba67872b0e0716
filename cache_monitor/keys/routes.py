"""Learn which route the address of a cached page belongs to.

Django's key of a cached page tells the address only as a digest. The request is at hand where
Django makes the key, so that is where digest and route are brought together: by a wrapper around
the two functions of ``django.utils.cache`` that make such keys. The address itself is not kept.
"""

import logging
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import django.utils.cache as django_cache
from django.core.signals import setting_changed
from django.urls import Resolver404, resolve

from cache_monitor.conf import get_conf
from cache_monitor.keys.faults import described
from cache_monitor.keys.pages import page_key

logger = logging.getLogger("cache_monitor")

KeyWatcher = Callable[[str, tuple[object, ...]], None]
"""Told of each key of a page or a header list that Django makes, with what it is made of."""
watchers: list[KeyWatcher] = []

NO_ROUTE = "(no route)"
"""The route of an address that leads nowhere."""

_KEY_MAKERS = ("_generate_cache_key", "_generate_cache_header_key")
_MARK = "_cache_monitor_learns"

_MOST = 10_000
"""Addresses that are remembered at least; twice as many at most, in 2 MB."""
_MOST_NAMES = 2_000

# Of the routes that re_path() takes: anchors, and groups without groups in them.
_ANCHOR = re.compile(r"\\Z$|(?<![\\\[])[$^]")
_GROUP = re.compile(r"\((?:\?P<(\w+)>|(?!\?))(?:\\.|\[[^\]]*\]|[^()\\])*\)")


class Routes:
    """Routes by the digest of the address, those of the last addresses asked for.

    Two tables take turns: when the young one is full it becomes the old one, whose content goes.
    That takes no lock, which a fork could leave locked: all that threads can lose of each other
    is what is learned anew with the next request.
    """

    def __init__(self) -> None:
        self._young: dict[int, str] = {}
        self._old: dict[int, str] = {}
        self._names: dict[str, str] = {}
        self._has_failed = False

    def of(self, digest: str) -> str | None:
        """The route of the address with this MD5, in hex; None if it was not seen lately."""
        short = _short(digest)
        return self._young.get(short) or self._old.get(short)

    def learn(self, digest: str, request: Any) -> None:
        """Remember the route of ``request``, whose address has this MD5. May raise anything."""
        short = _short(digest)
        if short in self._young:
            return
        route = self._old.get(short) or self.named(_route(request))
        young = self._young
        young[short] = route
        if len(young) >= _MOST:
            self._old, self._young = young, {}

    def forget(self) -> None:
        """Forget all of them."""
        self._young, self._old, self._names = {}, {}, {}

    def failed(self, error: Exception) -> None:
        """Log a fault the first time, without its message: that may quote the address."""
        if not self._has_failed:
            self._has_failed = True
            logger.error("The route of a cached page could not be told (%s).", described(error))

    def named(self, route: str | None) -> str:
        """``route`` as a path.

        The same text for the same route: Django puts it together for every request anew.
        """
        if route is None:
            return NO_ROUTE
        if len(self._names) >= _MOST_NAMES:
            self._names = {}
        return self._names.setdefault(route, readable(route))


routes = Routes()


def readable(route: str) -> str:
    r"""``route`` as a path: ``^item/(?P<pk>\d+)/$`` is ``/item/<pk>/``."""
    path = _GROUP.sub(lambda group: f"<{group[1] or 'var'}>", route)
    return "/" + _ANCHOR.sub("", path).lstrip("/")


def learn_routes() -> None:
    """Learn from now on which route a page's key belongs to. Idempotent.

    Where a version of Django lacks the functions, there is nothing to learn from: cached pages
    then share one group for each method.
    """
    for name in _KEY_MAKERS:
        make_key = getattr(django_cache, name, None)
        # Whoever wraps our wrapper with functools.wraps() passes the mark on.
        if callable(make_key) and not hasattr(make_key, _MARK):
            setattr(django_cache, name, _learning(make_key))


def _learning(make_key: Callable[..., str]) -> Callable[..., str]:
    @wraps(make_key)
    def learning(*args: Any, **kwargs: Any) -> str:
        key = make_key(*args, **kwargs)
        try:
            _learn_from(key, (*args, *kwargs.values()))
        except Exception as error:
            routes.failed(error)
        return key

    setattr(learning, _MARK, True)
    return learning


def _learn_from(key: str, arguments: tuple[object, ...]) -> None:
    if not get_conf().enabled:
        return
    page = page_key(key)
    # By what it has: the request of a REST framework is no HttpRequest.
    request = next((each for each in arguments if hasattr(each, "path_info")), None)
    if page is not None and request is not None:
        routes.learn(page.url, request)
        for watcher in watchers:
            watcher(key, arguments)


def route_of(request: Any) -> str:
    """The route of ``request`` as a path, :data:`NO_ROUTE` for an address that leads nowhere."""
    return routes.named(_route(request))


def _route(request: Any) -> str | None:
    """The route of ``request``; None for an address that leads nowhere.

    The per-site cache asks before Django has resolved the address.
    """
    match = getattr(request, "resolver_match", None)
    if match is None:
        try:
            match = resolve(request.path_info, getattr(request, "urlconf", None))
        except Resolver404:
            return None
    return str(match.route)


def _short(digest: str) -> int:
    return int(digest[:16], 16)


def _forget(*, setting: str, **_: object) -> None:
    if setting == "ROOT_URLCONF":
        routes.forget()


setting_changed.connect(_forget, dispatch_uid="cache_monitor.keys.routes")
