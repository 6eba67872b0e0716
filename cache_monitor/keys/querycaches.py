"""Tell the keys of django-cachalot and django-cacheops, which are hashes of queries.

cachalot's are 40 hexadecimal digits with nothing around them. That is also what a SHA-1 of the
project's own looks like, hence the cache's alias is asked for too. cacheops' have a letter or two
before their 32 digits; it writes them into Redis itself, past Django's caches.
"""

import re
from functools import cache
from typing import NamedTuple

from django.apps import apps
from django.conf import settings
from django.core.signals import setting_changed

CACHALOT_GROUP = "cachalot {hash}"
CACHEOPS_GROUP = "cacheops {hash}"

_CACHALOT = re.compile("[0-9a-f]{40}")
_CACHEOPS = re.compile("(?:q|c|as):[0-9a-f]{32}")
_ALL_LENGTHS = frozenset({34, 35, 40})


class _Installed(NamedTuple):
    """What is there. ``cachalot`` is the alias of the cache that it keeps its entries in."""

    cachalot: str | None
    cacheops: bool


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
        return CACHALOT_GROUP
    if installed.cacheops and _CACHEOPS.fullmatch(text):
        return CACHEOPS_GROUP
    return None


class _NotYet(Exception):
    """The settings cannot be asked now; they may be later."""


@cache
def _installed() -> _Installed:
    if not (settings.configured and apps.ready):
        raise _NotYet
    alias = getattr(settings, "CACHALOT_CACHE", "default")
    return _Installed(
        alias if apps.is_installed("cachalot") else None, apps.is_installed("cacheops")
    )


def _forget(*, setting: str, **_: object) -> None:
    if setting in {"CACHALOT_CACHE", "INSTALLED_APPS"}:
        _installed.cache_clear()


setting_changed.connect(_forget, dispatch_uid="cache_monitor.keys.querycaches")
