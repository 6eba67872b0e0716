"""Learn which route the address of a cached page belongs to.

Django's key of a cached page has a digest of the address. So the two functions of
``django.utils.cache`` that make such keys are wrapped, where the request is known. Addresses are
not kept, except for the path where one route serves whole trees of pages.
"""

import logging
import re
from collections.abc import Callable, Iterator
from functools import lru_cache, wraps
from typing import Any, NamedTuple

import django.utils.cache as django_cache
from django.urls import Resolver404, resolve

from cache_monitor.conf import forget_on_change, get_conf
from cache_monitor.keys.display import describe_error
from cache_monitor.keys.known_keys import page_key

logger = logging.getLogger("cache_monitor")

KeyWatcher = Callable[[str, tuple[object, ...]], None]
"""Called with each key of a page or header list that Django makes, and the arguments."""
watchers: list[KeyWatcher] = []

NO_ROUTE = "(no route)"
"""The route of an address that matches none."""

_KEY_MAKERS = ("_generate_cache_key", "_generate_cache_header_key")
_MARK = "_cache_monitor_learns"

_MOST = 10_000
"""Addresses in memory at least; twice as many at most, in 2 MB."""
_MOST_NAMES = 2_000

# Of the routes that re_path() takes: anchors, and groups without groups in them.
_ANCHOR = re.compile(r"\\Z$|(?<![\\\[])[$^]")
_OPENS = re.compile(r"\((?:\?P<(?P<name>\w+)>|(?P<other>\?))?")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]")
_CONVERTER = re.compile(r"<path:")
_MOST_PATH = 200


class _OfTree(NamedTuple):
    """An address whose route serves pages of many paths."""

    route: str
    path: str


_Known = str | _OfTree
"""The route of an address, mostly a text that all its addresses share."""


class Routes:
    """The routes of the latest addresses, by their digests.

    Two tables, without a lock: a full young one replaces the old one. What threads overwrite is
    learned again with the next request.
    """

    def __init__(self) -> None:
        self._young: dict[int, _Known] = {}
        self._old: dict[int, _Known] = {}
        self._names: dict[str, str] = {}
        self._has_failed = False

    def of(self, digest: str) -> str | None:
        """The route of the address with this MD5, in hex, or None."""
        known = self._known(digest)
        return known.route if isinstance(known, _OfTree) else known

    def path_of(self, digest: str) -> str | None:
        """The path of the address with this MD5, if its route serves pages of many paths."""
        known = self._known(digest)
        return known.path if isinstance(known, _OfTree) else None

    def _known(self, digest: str) -> _Known | None:
        short = _short(digest)
        return self._young.get(short) or self._old.get(short)

    def learn(self, digest: str, request: Any) -> None:
        """Keep the route of ``request``, whose address has this MD5. May raise anything."""
        short = _short(digest)
        if short in self._young:
            return
        known = self._old.get(short) or self._new(request)
        young = self._young
        young[short] = known
        if len(young) >= _MOST:
            self._old, self._young = young, {}

    def _new(self, request: Any) -> _Known:
        route = _route(request)
        name = self.named(route)
        if route is None or not is_catch_all(route):
            return name
        return _OfTree(name, request.path_info[:_MOST_PATH])

    def forget(self) -> None:
        self._young, self._old, self._names = {}, {}, {}

    def failed(self, error: Exception) -> None:
        """Log a fault the first time, without its message: that may quote the address."""
        if not self._has_failed:
            self._has_failed = True
            logger.error(
                "The route of a cached page could not be found (%s).", describe_error(error)
            )

    def named(self, route: str | None) -> str:
        """``route`` as a path, the same object for the same route."""
        if route is None:
            return NO_ROUTE
        if len(self._names) >= _MOST_NAMES:
            self._names = {}
        return self._names.setdefault(route, readable(route))


routes = Routes()


@lru_cache(maxsize=_MOST_NAMES)
def readable(route: str) -> str:
    r"""``route`` as a path: ``^item/(?P<pk>\d+)/$`` is ``/item/<pk>/``."""
    path, end = "", 0
    for start, stop, name, _ in _groups(route):
        path += f"{route[end:start]}<{name}>"
        end = stop
    return "/" + _ANCHOR.sub("", path + route[end:]).lstrip("/")


@lru_cache(maxsize=_MOST_NAMES)
def is_catch_all(route: str) -> bool:
    r"""Whether one variable part of ``route`` takes paths, as ``<path:page>`` and
    ``((?:[\w-]+/)*)`` do."""
    return _CONVERTER.search(route) is not None or any(
        "/" in body or ".*" in body or ".+" in body
        for body in (_CLASS.sub("", inside) for *_, inside in _groups(route))
    )


def _groups(route: str) -> Iterator[tuple[int, int, str, str]]:
    """The outermost capturing groups of a route of ``re_path()``: start, end, name and contents."""
    depth, start, name, at = 0, 0, "", 0
    while at < len(route):
        found = _CLASS.match(route, at)
        if route[at] == "\\" or found:
            at = found.end() if found else at + 2
            continue
        if route[at] == "(" and (opens := _OPENS.match(route, at)):
            if depth == 0 and not opens["other"]:
                start, name, depth = at, opens["name"] or "var", 1
            elif depth:
                depth += 1
        elif route[at] == ")" and depth:
            depth -= 1
            if depth == 0:
                yield start, at + 1, name, route[start + 1 : at]
        at += 1


def learn_routes() -> None:
    """Begin to learn the routes of pages' keys. Idempotent.

    In a version of Django without the functions, cached pages share one group for each method.
    """
    for name in _KEY_MAKERS:
        make_key = getattr(django_cache, name, None)
        # Another wrapper around this one has the mark from functools.wraps().
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
    # The request of a REST framework is no HttpRequest.
    request = next((each for each in arguments if hasattr(each, "path_info")), None)
    if page is not None and request is not None:
        routes.learn(page.url, request)
        for watcher in watchers:
            watcher(key, arguments)


def route_of(request: Any) -> str:
    """The route of ``request`` as a path, or :data:`NO_ROUTE`."""
    return routes.named(_route(request))


def _route(request: Any) -> str | None:
    """The route of ``request``, or None; the per-site cache asks before Django resolves it."""
    match = getattr(request, "resolver_match", None)
    if match is None:
        try:
            match = resolve(request.path_info, getattr(request, "urlconf", None))
        except Resolver404:
            return None
    return str(match.route)


def _short(digest: str) -> int:
    return int(digest[:16], 16)


forget_on_change(("ROOT_URLCONF",), routes.forget)
