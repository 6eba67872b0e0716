"""The one collector of this process, joined to the recorder, the store and the inspectors."""

import os
import re
import tempfile
import time
from collections.abc import Hashable
from datetime import datetime
from functools import cache, partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.cache import InvalidCacheBackendError
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.signals import setting_changed
from django.db import connections

from cache_monitor.collecting.collector import Collector, Wiring
from cache_monitor.collecting.instances import instance
from cache_monitor.collecting.looks import Looker
from cache_monitor.collecting.misses import Judge
from cache_monitor.collecting.telling import Facts
from cache_monitor.conf import get_conf
from cache_monitor.forks import new_rlock
from cache_monitor.instrument.aliases import forget_instances, instance_of
from cache_monitor.instrument.sizes import stored_size
from cache_monitor.ledger import Ledger
from cache_monitor.recorder import recorder
from cache_monitor.stores.opening import get_store
from cache_monitor.stores.surroundings import is_testing


def _cache_of(alias: str) -> Any:
    """The cache of ``alias``: one that the site made, if there is one, and not another."""
    found = instance_of(alias)
    if found is not None:
        return found
    try:
        return instance(alias)
    except InvalidCacheBackendError:
        # Other settings than when the call was made, as in tests.
        return None


def _measure(alias: str, key: Hashable, version: Hashable) -> int | None:
    cache = _cache_of(alias)
    return None if cache is None else stored_size(cache, key, version)


@cache
def facts_of(process: str, alias: str) -> Facts | None:
    """What must be known of a cache to judge its misses. A DummyCache misses for no reason."""
    found = _cache_of(alias)
    if found is None:
        return None
    real = type(found)
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
        facts_of.cache_clear()
        forget_instances()


setting_changed.connect(_forget_facts, dispatch_uid="cache_monitor.collecting.joining")


class _Opening:
    """What :func:`open_ledger` has opened, by one thread at a time."""

    def __init__(self) -> None:
        self._ledger: Ledger | None = None
        # A signal's handler may come while its own thread holds it.
        self._lock = new_rlock()

    def get(self) -> Ledger:
        """The one ledger, opened now if it is not yet."""
        with self._lock:
            if self._ledger is None:
                made = Ledger(None if is_testing() else _ledger_path())
                # Such a handler may have opened one meanwhile.
                if self._ledger is None:
                    self._ledger = made
                else:
                    made.close()
            return self._ledger


_opening = _Opening()


def open_ledger() -> Ledger:
    """The ledger of all processes of this project on this host; test runs have their own.

    Opened once, and used in forked children too: a second descriptor of its file would undo the
    first one's locks when it is closed.
    """
    return _opening.get()


def reasons_problem() -> str | None:
    """Why reasons of misses are unknown to this process that should be known, in a sentence that
    says what to do; None where nothing is wrong.

    Opens the ledger, as the first lookup does. A process of another user has another ledger.
    """
    if not get_conf().enabled:
        return None
    ledger = open_ledger()
    if ledger.problem is not None:
        return (
            "Why lookups missed is unknown where processes share a cache, because their common "
            f"ledger cannot be used. See to it and restart: {ledger.problem}."
        )
    if time.time() < ledger.doubtful_until:
        until = datetime.fromtimestamp(ledger.doubtful_until).astimezone()
        return (
            "Why lookups missed is partly unknown, because the records of earlier writes were "
            f"lost or damaged; nothing needs to be done, it is over at {until:%H:%M}."
        )
    return None


def _make_judge(process: str) -> Judge:
    return Judge(open_ledger(), partial(facts_of, process), str(os.getpid()))


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
        is_testing=is_testing,
        make_judge=_make_judge,
        at_end=connections.close_all,
    ),
)
