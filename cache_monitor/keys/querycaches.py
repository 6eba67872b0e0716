"""Tell the keys of django-cachalot and django-cacheops, which are hashes of queries.

cachalot's are 40 hexadecimal digits with nothing around them. That is also what a SHA-1 of the
project's own looks like, hence the cache's alias is asked for too. Beside its queries it keeps an
entry for each table, which says when that was written last: told from the names of the tables.
cacheops' have a letter or two before their 32 digits; it writes them into Redis itself, past
Django's caches.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from django.apps import apps
from django.conf import settings
from django.utils.module_loading import import_string

from cache_monitor.setting_changes import forget_on_change

CACHALOT_GROUP = "cachalot {hash}"
CACHALOT_TABLES_GROUP = "cachalot table {hash}"
CACHEOPS_GROUP = "cacheops {hash}"

_CACHALOT = re.compile("[0-9a-f]{40}")
_CACHEOPS = re.compile("(?:q|c|as):[0-9a-f]{32}")
_ALL_LENGTHS = frozenset({34, 35, 40})


class _Installed(NamedTuple):
    """What is there. ``cachalot`` is the alias of the cache that it keeps its entries in,
    ``tables`` the keys of those that tell when a table was written."""

    cachalot: str | None
    cacheops: bool
    tables: frozenset[str]


def query_cache_group(text: str, alias: str | None) -> str | None:
    """The group of the key ``text`` of the cache ``alias`` (None: of some cache), if it is one."""
    if len(text) not in _ALL_LENGTHS:
        return None
    try:
        installed = _installed()
    except _NotYet:
        return None
    in_cachalot = installed.cachalot is not None and alias in {None, installed.cachalot}
    if in_cachalot and _CACHALOT.fullmatch(text):
        return CACHALOT_TABLES_GROUP if text in installed.tables else CACHALOT_GROUP
    if installed.cacheops and _CACHEOPS.fullmatch(text):
        return CACHEOPS_GROUP
    return None


def is_bookkeeping(text: str) -> bool:
    """Whether ``text`` is the key of an entry that holds no value of anybody's, but what a query
    cache must know of its entries: nothing is produced for it."""
    try:
        return len(text) in _ALL_LENGTHS and text in _installed().tables
    except _NotYet:
        return False


def unseen_caches() -> list[str]:
    """The apps that keep cached values somewhere that Django's caches, and thus the monitor, do
    not see."""
    try:
        return ["cacheops"] if _installed().cacheops else []
    except _NotYet:
        return []


class _NotYet(Exception):
    """The settings cannot be asked now; they may be later."""


@cache
def _installed() -> _Installed:
    if not (settings.configured and apps.ready):
        raise _NotYet
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
    """As cachalot makes it where nothing else is set."""
    return hashlib.sha1(f"{database}:{table}".encode(), usedforsecurity=False).hexdigest()


forget_on_change(("CACHALOT_CACHE", "DATABASES", "INSTALLED_APPS"), _installed.cache_clear)
