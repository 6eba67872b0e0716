"""Keys whose form is known: Django's cached pages, query caches', the debug toolbar's.

A page's key has a digest of its address. So the two functions of ``django.utils.cache`` that make
such keys are wrapped, where the request is known, to learn the routes of addresses. Addresses are
not kept, except for the path where one route serves whole trees of pages.

cachalot's keys are 40 hexadecimal digits. A project's own SHA-1 looks the same, hence the cache's
alias is checked too. cachalot has an entry for each table with the time of its last write, known by
the tables' names. cacheops' keys have a letter or two before 32 digits; it writes them into Redis
itself, past Django's caches.
"""

import hashlib
import logging
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import lru_cache, wraps
from typing import Any, Literal, NamedTuple

import django.utils.cache as django_cache
from django.apps import apps
from django.conf import settings
from django.urls import Resolver404, get_resolver, resolve
from django.urls.converters import DEFAULT_CONVERTERS, get_converters
from django.utils.module_loading import import_string

from cache_monitor.conf import forget_on_change, get_conf, kept_until_change
from cache_monitor.errors import type_and_line

PageKind = Literal["page", "page_headers"]

PREFIX = "views.decorators.cache.cache_"

_MD5 = "[0-9a-f]{32}"
_PAGE = re.compile(
    r"views\.decorators\.cache\.cache_page\.(?P<prefix>.*)\.(?P<method>[A-Z]+)"
    rf"\.(?P<url>{_MD5})\.(?P<variant>{_MD5})(?:\.(?P<suffix>.*))?",
    re.DOTALL,
)
_HEADERS = re.compile(
    rf"views\.decorators\.cache\.cache_header\.(?P<prefix>.*)\.(?P<url>{_MD5})"
    r"(?:\.(?P<suffix>.*))?",
    re.DOTALL,
)
# The digest of no headers at all.
_NO_VARIANT = "d41d8cd98f00b204e9800998ecf8427e"


class PageKey(NamedTuple):
    """The parts of a page's key.

    ``url`` is the MD5 of the address in hex, ``variant`` that of the headers that the page varies
    by, or empty. ``suffix`` has language and time zone. A list of headers has no method or variant.
    """

    kind: PageKind
    prefix: str
    method: str
    url: str
    variant: str
    suffix: str

    @property
    def digest(self) -> str:
        """A short name of address and variant."""
        return f"#{self.url[:8]}" + (f"-{self.variant[:8]}" if self.variant else "")


def header_list_of(text: str) -> str | None:
    """The key of the list of headers that is asked for before the page ``text``; None where that is
    no page's."""
    found = _PAGE.fullmatch(text)
    if found is None:
        return None
    prefix, _method, url, _variant, suffix = found.groups()
    return f"{PREFIX}header.{prefix}.{url}" + ("" if suffix is None else f".{suffix}")


def page_key(text: str) -> PageKey | None:
    """The parts of the key ``text``, or None."""
    if not text.startswith(PREFIX):
        return None
    if found := _PAGE.fullmatch(text):
        prefix, method, url, variant, suffix = found.groups("")
        variant = "" if variant == _NO_VARIANT else variant
        return PageKey("page", prefix, method, url, variant, suffix)
    if found := _HEADERS.fullmatch(text):
        prefix, url, suffix = found.groups("")
        return PageKey("page_headers", prefix, "", url, "", suffix)
    return None


CACHALOT_GROUP = "cachalot {hash}"
CACHALOT_TABLES_GROUP = "cachalot table {hash}"
CACHEOPS_GROUP = "cacheops {hash}"

_CACHALOT = re.compile("[0-9a-f]{40}")
_CACHEOPS = re.compile("(?:q|c|as):[0-9a-f]{32}")
_ALL_LENGTHS = frozenset({34, 35, 40})


class _Installed(NamedTuple):
    """The installed query caches: the alias of ``cachalot``'s cache, and the keys of its
    ``tables``."""

    cachalot: str | None = None
    cacheops: bool = False
    tables: frozenset[str] = frozenset()


def query_cache_group(text: str, alias: str | None) -> str | None:
    """The query cache's group of the key ``text`` of the cache ``alias`` (None: any), or None."""
    if len(text) not in _ALL_LENGTHS:
        return None
    installed = _installed()
    in_cachalot = installed.cachalot is not None and alias in {None, installed.cachalot}
    if in_cachalot and _CACHALOT.fullmatch(text):
        return CACHALOT_TABLES_GROUP if text in installed.tables else CACHALOT_GROUP
    if installed.cacheops and _CACHEOPS.fullmatch(text):
        return CACHEOPS_GROUP
    return None


def is_bookkeeping(text: str) -> bool:
    """Whether ``text`` is a key of a query cache's own records, which have no produced value."""
    return len(text) in _ALL_LENGTHS and text in _installed().tables


def bypassing_apps() -> list[str]:
    """The apps that bypass Django's caches, and so the monitor."""
    return ["cacheops"] if _installed().cacheops else []


OF_TENANTS = ("django_tenants", "tenant_schemas")
"""Packages whose key functions make another key of the same for each tenant: which, the thread's
connection determines, and the monitor's has no tenant."""


def has_tenants() -> bool:
    """Whether the site has tenants, which the monitor does not tell apart."""
    return any(map(apps.is_installed, OF_TENANTS))


@kept_until_change(
    *("CACHALOT_CACHE", "DATABASES", "INSTALLED_APPS"), before=_Installed(), of_apps=True
)
def _installed() -> _Installed:
    cacheops = apps.is_installed("cacheops")
    if not apps.is_installed("cachalot"):
        return _Installed(cacheops=cacheops)
    alias = getattr(settings, "CACHALOT_CACHE", "default")
    return _Installed(alias, cacheops, frozenset(_table_keys()))


def _table_keys() -> Iterator[str]:
    """The key of each table in each database."""
    path = getattr(settings, "CACHALOT_TABLE_KEYGEN", None)
    key_of: Callable[[str, str], str] = import_string(path) if path else _table_key
    models = apps.get_models(include_auto_created=True)
    tables = {model._meta.db_table for model in models} | {"django_migrations"}
    tables.update(getattr(settings, "CACHALOT_ADDITIONAL_TABLES", ()))
    for database in settings.DATABASES:
        for table in tables:
            yield key_of(database, table)


def _table_key(database: str, table: str) -> str:
    """cachalot's default."""
    return hashlib.sha1(f"{database}:{table}".encode(), usedforsecurity=False).hexdigest()


_SETTING = "DEBUG_TOOLBAR_CONFIG"


def is_toolbar_key(key: Hashable) -> bool:
    """Whether the key, or the first of several keys, is the toolbar's."""
    return has_toolbar_key((key,))


def has_toolbar_key(keys: Iterable[Hashable]) -> bool:
    """Whether any of ``keys`` is the toolbar's."""
    prefix = _prefix()
    for key in keys:
        first = key[0] if isinstance(key, tuple) and key else key
        if isinstance(first, str) and first.startswith(prefix):
            return True
    return False


@kept_until_change(_SETTING, before="djdt:")
def _prefix() -> str:
    config = getattr(settings, _SETTING, None)
    chosen = config.get("CACHE_KEY_PREFIX") if isinstance(config, Mapping) else None
    # An empty prefix would match every key.
    return chosen if isinstance(chosen, str) and chosen else "djdt:"


logger = logging.getLogger("cache_monitor")

KeyWatcher = Callable[[str, tuple[object, ...]], None]
"""Called with each key of a page or header list that Django makes, and the arguments."""
watchers: list[KeyWatcher] = []

NO_ROUTE = "(no route)"
"""The route of an address that matches none."""

_CONVERTERS = "django.urls.converters"
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


_Known = str | tuple[str, str]
"""The route of an address, mostly a text that all its addresses share; with the path where the
route serves pages of many paths."""


class Routes:
    """The routes of the latest addresses, by their digests.

    Two tables, without a lock: a full young one replaces the old one. What threads overwrite is
    learned again with the next request.
    """

    def __init__(self) -> None:
        self._young: dict[int, _Known] = {}
        self._old: dict[int, _Known] = {}
        self._has_failed = False

    def of(self, digest: str) -> str | None:
        """The route of the address with this MD5, in hex, or None."""
        known = self._known(digest)
        return known[0] if isinstance(known, tuple) else known

    def path_of(self, digest: str) -> str | None:
        """The path of the address with this MD5, if its route serves pages of many paths."""
        known = self._known(digest)
        return known[1] if isinstance(known, tuple) else None

    def _known(self, digest: str) -> _Known | None:
        short = _short(digest)
        return self._young.get(short) or self._old.get(short)

    def learn(self, digest: str, request: Any) -> None:
        """Keep the route of ``request``, whose address has this MD5. May raise anything."""
        short = _short(digest)
        if short in self._young:
            return
        known = self._old.get(short) or self._new(request)
        if known is None:
            return
        young = self._young
        young[short] = known
        if len(young) >= _MOST:
            self._old, self._young = young, {}

    def _new(self, request: Any) -> _Known | None:
        try:
            route = _route(request)
        except _RouteUnknown:
            return None
        if route is None or not is_catch_all(route):
            return _named(route)
        return _named(route), request.path_info[:_MOST_PATH]

    def forget(self) -> None:
        self._young, self._old = {}, {}

    def failed(self, error: Exception) -> None:
        """Log a fault the first time, without its message: that may quote the address."""
        if not self._has_failed:
            self._has_failed = True
            logger.error(
                "The route of a cached page could not be found (%s).", type_and_line(error)
            )


routes = Routes()


def _named(route: str | None) -> str:
    return NO_ROUTE if route is None else readable(route)


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


def route_of(request: Any) -> str | None:
    """The route of ``request`` as a path, or :data:`NO_ROUTE`; None where it is not known yet."""
    try:
        return _named(_route(request))
    except _RouteUnknown:
        return None


class _RouteUnknown(Exception):
    """Only a converter of the project's could tell the route."""


def _route(request: Any) -> str | None:
    """The route of ``request``, or None; the per-site cache asks before Django resolves it.

    Raises :class:`_RouteUnknown`. A project's converter may query the database, so only Django may
    call it.
    """
    match = getattr(request, "resolver_match", None)
    if match is None:
        urlconf = getattr(request, "urlconf", None)
        try:
            if not DEFAULT_CONVERTERS.keys() >= get_converters().keys():
                _refuse_own_converters(get_resolver(urlconf), request.path_info)
            match = resolve(request.path_info, urlconf)
        except Resolver404:
            return None
    return str(match.route)


def _refuse_own_converters(resolver: Any, path: str) -> bool:
    """Whether ``resolver`` has a route for ``path``. Raises :class:`_RouteUnknown` where finding it
    calls a converter of the project's."""
    found = resolver.pattern.match(path)
    for each in resolver.url_patterns if found is not None else ():
        converters = getattr(each.pattern, "converters", {}).values()
        if any(type(converter).__module__ != _CONVERTERS for converter in converters):
            if each.pattern.regex.search(found[0]):
                raise _RouteUnknown
        elif (
            _refuse_own_converters(each, found[0])
            if hasattr(each, "url_patterns")
            else each.pattern.match(found[0]) is not None
        ):
            return True
    return False


def _short(digest: str) -> int:
    return int(digest[:16], 16)


forget_on_change(("ROOT_URLCONF",), routes.forget)
