"""The one collector of this process, joined to the recorder, the store and the inspectors."""

import os
import re
import sys
import tempfile
from collections.abc import Hashable
from functools import cache, partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.signals import setting_changed
from django.db import connections

from cache_monitor.backends.monitored import real_class
from cache_monitor.backends.sizes import stored_size
from cache_monitor.collector import Collector, Wiring
from cache_monitor.conf import get_conf
from cache_monitor.ledger import Ledger
from cache_monitor.looks import Looker
from cache_monitor.misses import Facts, Judge
from cache_monitor.recorder import recorder
from cache_monitor.stores.opening import get_store


def _measure(alias: str, key: Hashable, version: Hashable) -> int | None:
    return stored_size(caches[alias], key, version)


def _is_testing() -> bool:
    """Whether Django's test runner is at work. Its database is not ours to write to on our own:
    a second connection would meet the tests' locks, and keep the database from being dropped."""
    # Not ``mail.outbox``, which a site with the locmem mail backend has too.
    utils = sys.modules.get("django.test.utils")
    return hasattr(getattr(utils, "_TestState", None), "saved_data")


@cache
def _facts(process: str, alias: str) -> Facts | None:
    """What must be known of a cache to judge its misses. A DummyCache misses for no reason."""
    try:
        found = caches[alias]
    except InvalidCacheBackendError:
        return None
    real = real_class(found)
    if issubclass(real, DummyCache):
        return None
    is_own = issubclass(real, LocMemCache)
    conf = settings.CACHES[alias]
    # Aliases may share their entries: they are told by where these are.
    where = (real.__module__, real.__qualname__, conf.get("LOCATION", ""), _database(conf))
    renewing: Any = BaseCache.incr
    return Facts(
        space=_digest(*where, process if is_own else ""),
        default_timeout=found.default_timeout,
        version=found.version,
        prefix=found.key_prefix,
        is_own=is_own,
        incr_renews=real.incr is renewing,
    )


def _database(conf: dict[str, Any]) -> object:
    """Which of the databases of one Redis server."""
    options = conf.get("OPTIONS")
    return options.get("db", options.get("DB")) if isinstance(options, dict) else None


def _forget_facts(*, setting: str, **_: object) -> None:
    if setting == "CACHES":
        _facts.cache_clear()


setting_changed.connect(_forget_facts, dispatch_uid="cache_monitor.joining")


@cache
def _ledger() -> Ledger:
    """The ledger of all processes of this project on this host; test runs have their own.

    Opened once, and used in forked children too: a second descriptor of its file would undo the
    first one's locks when it is closed.
    """
    return Ledger(None if _is_testing() else _ledger_path())


def _make_judge(process: str) -> Judge:
    return Judge(_ledger(), partial(_facts, process))


def _ledger_path() -> Path:
    """The same for all processes of a project, another for every other project and user."""
    project = _digest(
        getattr(settings, "SETTINGS_MODULE", ""),
        getattr(settings, "BASE_DIR", ""),
        sorted((alias, _place(each.get("LOCATION"))) for alias, each in settings.CACHES.items()),
        sorted((alias, str(each.get("NAME", ""))) for alias, each in settings.DATABASES.items()),
    )
    user = os.geteuid() if hasattr(os, "geteuid") else 0
    return Path(tempfile.gettempdir()) / f"cache-monitor-{user}-{project}.ledger"


def _place(location: object) -> str:
    """A cache's location without user and password: everybody on the host sees the digest of it
    in a file's name, and could try passwords on that."""
    return re.sub(r"//[^/]*@", "//", str(location))


def _digest(*parts: object) -> str:
    """A short name for all that ``parts`` say."""
    text = "\0".join(map(str, parts))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


collector = Collector(
    recorder,
    Wiring(
        get_conf=get_conf,
        open_store=get_store,
        measure=_measure,
        look=Looker().look,
        is_testing=_is_testing,
        make_judge=_make_judge,
        at_end=connections.close_all,
    ),
)
