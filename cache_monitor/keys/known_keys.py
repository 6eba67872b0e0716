"""Keys whose form is known: Django's pages and sessions, query caches', the debug toolbar's.

Their forms are those of ``django.utils.cache``; a page's key has a digest of its address.

cachalot's keys are 40 hexadecimal digits. A project's own SHA-1 looks the same, hence the cache's
alias is checked too. cachalot has an entry for each table with the time of its last write, known by
the tables' names. cacheops' keys have a letter or two before 32 digits; it writes them into Redis
itself, past Django's caches.
"""

import hashlib
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any, Literal, NamedTuple

from django.apps import apps
from django.conf import settings
from django.utils.module_loading import import_string

from cache_monitor.conf import forget_on_change
from cache_monitor.errors import NotReady

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

    cachalot: str | None
    cacheops: bool
    tables: frozenset[str]


def query_cache_group(text: str, alias: str | None) -> str | None:
    """The query cache's group of the key ``text`` of the cache ``alias`` (None: any), or None."""
    if len(text) not in _ALL_LENGTHS:
        return None
    try:
        installed = _installed()
    except NotReady:
        return None
    in_cachalot = installed.cachalot is not None and alias in {None, installed.cachalot}
    if in_cachalot and _CACHALOT.fullmatch(text):
        return CACHALOT_TABLES_GROUP if text in installed.tables else CACHALOT_GROUP
    if installed.cacheops and _CACHEOPS.fullmatch(text):
        return CACHEOPS_GROUP
    return None


def is_bookkeeping(text: str) -> bool:
    """Whether ``text`` is a key of a query cache's own records, which have no produced value."""
    try:
        return len(text) in _ALL_LENGTHS and text in _installed().tables
    except NotReady:
        return False


def bypassing_apps() -> list[str]:
    """The apps that bypass Django's caches, and so the monitor."""
    try:
        return ["cacheops"] if _installed().cacheops else []
    except NotReady:
        return []


@cache
def _installed() -> _Installed:
    if not (settings.configured and apps.ready):
        raise NotReady
    cacheops = apps.is_installed("cacheops")
    if not apps.is_installed("cachalot"):
        return _Installed(None, cacheops, frozenset())
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


forget_on_change(("CACHALOT_CACHE", "DATABASES", "INSTALLED_APPS"), _installed.cache_clear)


_NUMBERS = re.compile("[0-9]+")
# Of ``sessions.backends.cache``, and with one letter more of ``cached_db``.
_DJANGO_PREFIX = "django.contrib.sessions.cache"


def is_session(text: str) -> bool:
    """Whether the key ``text`` contains a session key."""
    if _DJANGO_PREFIX in text:
        return True
    try:
        own = _own_sessions()
    except NotReady:
        return False
    return own is not None and own.search(text) is not None


def may_be_sessions(shape: str) -> bool:
    """Whether a key of this ``shape``, which has zeros for numbers, may contain a session key."""
    if _DJANGO_PREFIX in shape:
        return True
    if not (settings.configured and apps.ready):
        return True
    prefix = _own_prefix()
    # Without a prefix it is 32 letters and digits, which have no shape.
    return bool(prefix) and _NUMBERS.sub("0", prefix or "") in shape


@cache
def _own_sessions() -> re.Pattern[str] | None:
    """Matches the keys of a ``SESSION_ENGINE`` with its own ``cache_key_prefix``."""
    if not (settings.configured and apps.ready):
        raise NotReady
    prefix = _own_prefix()
    if prefix is None or prefix.startswith(_DJANGO_PREFIX):
        return None
    if not prefix:
        return re.compile(r"\A[a-z0-9]{32}\Z")
    # At the start of a word only: the prefix "s:" must not match "users:17".
    return re.compile(r"(?<![^\W_])" + re.escape(prefix))


def _own_prefix() -> str | None:
    try:
        store: Any = import_module(settings.SESSION_ENGINE).SessionStore
        prefix = store.cache_key_prefix
    except Exception:
        return None
    return prefix if isinstance(prefix, str) else None


forget_on_change(("SESSION_ENGINE",), _own_sessions.cache_clear)


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


@cache
def _prefix() -> str:
    config = getattr(settings, _SETTING, None)
    chosen = config.get("CACHE_KEY_PREFIX") if isinstance(config, Mapping) else None
    # An empty prefix would match every key.
    return chosen if isinstance(chosen, str) and chosen else "djdt:"


forget_on_change((_SETTING,), _prefix.cache_clear)
