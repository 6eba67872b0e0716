"""``manage.py check``: what is wrong with the settings, and what to write instead.

These are the findings that need no traffic; the others are in the report.
"""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, register
from django.core.checks import Warning as Caution
from django.db import DEFAULT_DB_ALIAS
from django.utils.module_loading import import_string

from cache_monitor.backends import WRAPS_HINT, wraps_problem
from cache_monitor.conf import EXPLICIT, SETTING, Conf, backend_path, get_conf, problems
from cache_monitor.instrument.install import can_be_recorded
from cache_monitor.keys.known_keys import bypassing_apps
from cache_monitor.keys.masking import sanitizer_problem
from cache_monitor.scan.backends import OTHERS, kind_of
from cache_monitor.stores.base import (
    DATABASE,
    SQLITE,
    WHAT_TO_NAME,
    StoreChoice,
    StoreError,
    can_be_written,
    chosen_store,
    in_memory,
    is_made_for_tests,
    is_on_a_network,
    make_store,
)

_DUMMY = "django.core.cache.backends.dummy.DummyCache"
_LOCAL_MEMORY = "django.core.cache.backends.locmem.LocMemCache"


def check_deployment(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """W005: a cache that stores nothing. W006: one that each process has for itself. W007: one
    whose entries never expire."""
    return [
        each
        for alias in settings.CACHES
        for each in _deployment_warnings(alias, settings.CACHES[alias])
    ]


def check_servers(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """I004: a server that may end before what it has recorded is in the store."""
    if find_spec("waitress") is None or not get_conf().enabled:
        return []
    return [
        Info(
            "waitress is installed. If it serves the site, what was called since the last flush "
            "is lost where it is ended by SIGTERM, which it does not handle.",
            hint="End it by SIGINT (systemd: KillSignal=SIGINT), and silence this by "
            "SILENCED_SYSTEM_CHECKS = ['cache_monitor.I004'].",
            id="cache_monitor.I004",
        )
    ]


def _deployment_warnings(alias: str, entry: Mapping[str, Any]) -> Iterator[CheckMessage]:
    backend = backend_path(alias)
    if backend == _DUMMY and not settings.DEBUG:
        yield Caution(
            f"CACHES[{alias!r}] is a DummyCache: it stores nothing, so every lookup misses "
            "(dummy-backend).",
            hint="Write a real backend, such as django.core.cache.backends.redis.RedisCache.",
            id="cache_monitor.W005",
        )
    if backend == _LOCAL_MEMORY and not settings.DEBUG:
        yield Caution(
            f"CACHES[{alias!r}] is a LocMemCache: each process has one of its own, and goes on "
            "serving what another has deleted (local-memory-many-processes).",
            hint="Write django.core.cache.backends.redis.RedisCache or a memcached backend, "
            "unless a single process serves the site; then put this check into "
            "SILENCED_SYSTEM_CHECKS.",
            id="cache_monitor.W006",
        )
    if backend != _DUMMY and "TIMEOUT" in entry and entry["TIMEOUT"] is None:
        yield Caution(
            f"CACHES[{alias!r}]['TIMEOUT'] is None: entries stay until the cache is full "
            "(no-expiry).",
            hint="Write seconds, such as 3600, and timeout=None in the calls whose entries are "
            "to stay.",
            id="cache_monitor.W007",
        )


_ADMIN = "django.contrib.admin"
_MIDDLEWARE = "cache_monitor.middleware.CacheMonitorMiddleware"
_CACHE_MIDDLEWARE = "django.middleware.cache."
_UPDATE = f"{_CACHE_MIDDLEWARE}UpdateCacheMiddleware"
_FETCH = f"{_CACHE_MIDDLEWARE}FetchFromCacheMiddleware"
_VARYING = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.locale.LocaleMiddleware",
)
"""Middleware of Django's that makes pages vary."""


def register_checks() -> None:
    """Let ``manage.py check`` run :func:`check_settings`, and ``--deploy`` the other two."""
    register(check_settings, "cache_monitor")
    register(check_deployment, "cache_monitor", deploy=True)
    register(check_servers, "cache_monitor", deploy=True)


def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E001: a key or a value of ``CACHE_MONITOR``. E002: its store. E003 and E004: ``CACHES``.

    E006: the function that ``KEY_SANITIZER`` names; E005 is the panel's. W001: nothing is
    monitored. W002: the statistics are kept where not all processes have them, or in the site's
    way. W003: scans follow each other without a pause. W004: the middleware comes
    too late in ``MIDDLEWARE``. W008: the order of Django's own cache middleware. W009: a backend
    that cannot be recorded. I001: an app keeps cached values where they are not seen. I002: there
    is no admin to show the dashboard in. I003: a backend that cannot be scanned.
    """
    found: list[CheckMessage] = [
        Error(problem.message, hint=problem.hint, id="cache_monitor.E001")
        for problem in problems(getattr(settings, SETTING, {}))
    ]
    if not found:
        found = [*_store_errors(), *_sanitizer_errors(get_conf()), *_warnings(get_conf())]
    return [*found, *_cache_errors()]


def _sanitizer_errors(conf: Conf) -> Iterator[CheckMessage]:
    path = conf.key_sanitizer
    if path is not None and (problem := sanitizer_problem(path)):
        yield Error(
            f"{SETTING}['KEY_SANITIZER'] {problem}",
            hint="Write the dotted path of a function that takes a key, a str, and returns a str.",
            id="cache_monitor.E006",
        )


def _warnings(conf: Conf) -> Iterator[CheckMessage]:
    """Settings that are valid, but hardly do what was meant."""
    if not conf.enabled:
        return
    backends = [entry.get("BACKEND") for entry in settings.CACHES.values()]
    if conf.instrument == "explicit" and EXPLICIT not in backends:
        yield Caution(
            f"{SETTING}['INSTRUMENT'] is 'explicit', and no cache names MonitoredCache: "
            "nothing is monitored.",
            hint=f"Write 'INSTRUMENT': 'all', or 'BACKEND': {EXPLICIT!r} and 'WRAPS' for a "
            "cache in CACHES.",
            id="cache_monitor.W001",
        )
    yield from _store_warnings(chosen_store(conf.store, in_tests=False))
    if conf.scan_seconds >= conf.inspect_interval:
        yield Caution(
            f"{SETTING}: a scan may take SCAN_SECONDS ({conf.scan_seconds:g}) and begins again "
            f"after INSPECT_INTERVAL ({conf.inspect_interval:g}), without a pause.",
            hint="Write a longer INSPECT_INTERVAL or fewer SCAN_SECONDS.",
            id="cache_monitor.W003",
        )
    yield from _middleware_warnings(list(settings.MIDDLEWARE))
    yield from _page_cache_warnings(list(settings.MIDDLEWARE))
    if not apps.is_installed(_ADMIN):
        yield Info(
            f"{_ADMIN} is not installed, so there is no dashboard.",
            hint="Use manage.py cache_stats and cache_top, the addresses of cache_monitor.urls, or "
            f"the toolbar's panel. Or add {_ADMIN} to INSTALLED_APPS. Silence this by "
            "SILENCED_SYSTEM_CHECKS = ['cache_monitor.I002'].",
            id="cache_monitor.I002",
        )
    yield from _scanner_infos()
    for app in bypassing_apps():
        yield Info(
            f"{app} keeps its entries over a connection of its own, past CACHES: what it does is "
            "in no figure of the monitor.",
            hint="Ask its Redis server itself (redis-cli INFO commandstats), or silence this by "
            "SILENCED_SYSTEM_CHECKS = ['cache_monitor.I001'].",
            id="cache_monitor.I001",
        )


def _middleware_warnings(middleware: list[str]) -> Iterator[CheckMessage]:
    before = middleware[: middleware.index(_MIDDLEWARE)] if _MIDDLEWARE in middleware else []
    if late := [path for path in before if path.startswith(_CACHE_MIDDLEWARE)]:
        yield Caution(
            f"MIDDLEWARE lists {_MIDDLEWARE} after {late[0]}: what that does with the cache is "
            "not counted for a view.",
            hint=f"Write {_MIDDLEWARE} first in MIDDLEWARE.",
            id="cache_monitor.W004",
        )


def _page_cache_warnings(middleware: list[str]) -> Iterator[CheckMessage]:
    """W008: an order of middleware that Django's documentation rules out.

    Its only symptom is a page that is never cached, or one that is shown to the wrong visitor.
    """
    places = {path: place for place, path in enumerate(middleware)}
    update, fetch = places.get(_UPDATE), places.get(_FETCH)
    if (update is None) != (fetch is None):
        there, missing = (_UPDATE, _FETCH) if fetch is None else (_FETCH, _UPDATE)
        yield _page_cache_warning(
            f"MIDDLEWARE lists {there} without {missing}: no page is cached.",
            f"Write {_UPDATE} first and {_FETCH} last in MIDDLEWARE, or neither.",
        )
    elif update is not None and fetch is not None:
        if fetch < update:
            yield _page_cache_warning(
                f"MIDDLEWARE lists {_FETCH} before {_UPDATE}: what other middleware makes a page "
                "vary by is not known where it is stored.",
                f"Write {_UPDATE} first and {_FETCH} last in MIDDLEWARE.",
            )
        for path in _VARYING:
            if path in places and not update < places[path] < fetch:
                yield _page_cache_warning(
                    f"MIDDLEWARE lists {path} outside of {_UPDATE} and {_FETCH}: what it makes a "
                    "page vary by is not known to the page cache.",
                    f"Write {path} after {_UPDATE} and before {_FETCH}.",
                )


def _page_cache_warning(message: str, hint: str) -> CheckMessage:
    return Caution(message, hint=hint, id="cache_monitor.W008")


def _store_warnings(choice: StoreChoice) -> Iterator[CheckMessage]:
    """W002: a store that not all processes share, or that gets in the site's way."""
    if choice.in_memory_because is not None and not is_made_for_tests():
        yield Caution(
            in_memory(choice.in_memory_because), hint=WHAT_TO_NAME, id="cache_monitor.W002"
        )
    store = choice.store
    path = store.options.get("PATH")
    if store.backend == SQLITE and isinstance(path, str | PathLike):
        if not can_be_written(Path(path)):
            yield Caution(
                f"The statistics are kept in {path}, which this user cannot write to.",
                hint="Let the site's user write to it and to its folder, or name another file. "
                + WHAT_TO_NAME,
                id="cache_monitor.W002",
            )
        elif is_on_a_network(Path(path).parent):
            yield Caution(
                f"The statistics are kept in {path}, on a file system that several hosts may "
                "share: SQLite then works without its write-ahead log, and depends on the "
                "network's locks.",
                hint="Name a file on a disk of this host. " + WHAT_TO_NAME,
                id="cache_monitor.W002",
            )
    is_sites = store.options.get("DATABASE") in (None, DEFAULT_DB_ALIAS)
    engine = str(settings.DATABASES.get(DEFAULT_DB_ALIAS, {}).get("ENGINE"))
    if store.backend == DATABASE and is_sites and "sqlite" in engine:
        yield Caution(
            "The statistics are kept in the site's own SQLite file: where the monitor writes, the "
            "site's transactions fail with 'database is locked'.",
            hint="Leave 'STORE' out: the monitor then keeps a file of its own.",
            id="cache_monitor.W002",
        )


def _store_errors() -> Iterator[CheckMessage]:
    store = chosen_store(get_conf().store, in_tests=False).store
    database = store.options.get("DATABASE")
    known = [None, *settings.DATABASES]
    if store.backend == DATABASE and database not in known:
        yield Error(
            f"{SETTING}['STORE']['OPTIONS']['DATABASE'] is {database!r}: DATABASES has no such "
            "alias.",
            hint=f"Write one of {', '.join(map(repr, settings.DATABASES))}, or leave it out.",
            id="cache_monitor.E002",
        )
    try:
        make_store(store)
    except StoreError as error:
        hint = "Write the dotted path of a store, such as cache_monitor.stores.memory.MemoryStore."
        yield Error(str(error), hint=hint, id="cache_monitor.E002")


def _cache_errors() -> Iterator[CheckMessage]:
    for alias, entry in settings.CACHES.items():
        path = entry.get("BACKEND")
        if path == EXPLICIT:
            if problem := wraps_problem(entry.get("WRAPS")):
                yield Error(
                    f"CACHES[{alias!r}]: {problem}", hint=WRAPS_HINT, id="cache_monitor.E003"
                )
        elif problem := _import_problem(path):
            yield Error(
                f"CACHES[{alias!r}]['BACKEND'] {problem}",
                hint="Write the dotted path of a cache backend that is installed.",
                id="cache_monitor.E004",
            )
        # A function that makes a cache is judged by what it makes.
        elif isinstance(found := import_string(str(path)), type) and not can_be_recorded(found):
            yield Caution(
                f"CACHES[{alias!r}]['BACKEND'] names {path!r}, a class without the methods of a "
                "cache: its calls are not recorded, and it cannot be scanned.",
                hint="Derive it from django.core.cache.backends.base.BaseCache, or define get, "
                "set, delete, get_many and clear on it.",
                id="cache_monitor.W009",
            )


def _scanner_infos() -> Iterator[CheckMessage]:
    """I003: caches without a scanner."""
    for alias, entry in settings.CACHES.items():
        is_explicit = entry.get("BACKEND") == EXPLICIT
        path = entry.get("WRAPS" if is_explicit else "BACKEND")
        if (wraps_problem if is_explicit else _import_problem)(path) is not None:
            continue
        found = import_string(str(path))
        is_class = isinstance(found, type) and can_be_recorded(found)
        if is_class and kind_of(found) == OTHERS:
            yield Info(
                f"CACHES[{alias!r}] cannot be scanned, being of {path!r}: its entries are "
                "estimated from the recorded calls, and its evictions are unknown.",
                hint="Silence this by SILENCED_SYSTEM_CHECKS = ['cache_monitor.I003'].",
                id="cache_monitor.I003",
            )


def _import_problem(path: object) -> str | None:
    if not isinstance(path, str):
        return f"is {path!r}, not a dotted path."
    try:
        import_string(path)
    except ImportError as error:
        return f"names {path!r}, which cannot be imported: {error}."
    return None
