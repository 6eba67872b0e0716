"""Looking into the live caches from the draining thread, now and then, for the reports to read."""

import time

from django.conf import settings
from django.core.cache import caches
from django.db import connections

from cache_monitor.conf import Conf, get_conf
from cache_monitor.inspectors.look import inspect_cache
from cache_monitor.inspectors.snapshot import Snapshot
from cache_monitor.stats.encoding import CorruptPayload, decode, encode
from cache_monitor.stores.base import Row, Store

SHARED = ""
"""The process under which a look at a cache that processes share is kept."""


class Looker:
    """Looks at each cache every ``INSPECT_INTERVAL``; at shared ones one process is enough."""

    def __init__(self) -> None:
        self._process = ""
        self._looked_at: dict[str, float] = {}

    def look(self, process: str, store: Store) -> dict[str, Snapshot]:
        """Look at the caches that are due; what was seen of each of them."""
        if process != self._process:
            # Forked: what the parent has seen of its own memory is not ours.
            self._process, self._looked_at = process, {}
        conf = get_conf()
        now = time.time()
        due = [
            alias
            for alias in settings.CACHES
            if not 0 <= now - self._looked_at.get(alias, 0) < conf.inspect_interval
        ]
        if not due:
            return {}
        fresh = _freshly_seen(store, now - conf.inspect_interval)
        seen: dict[str, Snapshot] = {}
        for alias in due:
            self._looked_at[alias] = now
            if alias not in fresh:
                snapshot = seen[alias] = _look_at(alias, conf)
                owner = SHARED if snapshot.scope == "shared" else process
                store.put([Row("look", owner, alias, 0, 0, encode(snapshot))], int(now))
        return seen


def _look_at(alias: str, conf: Conf) -> Snapshot:
    try:
        return inspect_cache(
            alias,
            caches[alias],
            limit=conf.scan_limit,
            seconds=conf.scan_seconds,
            stale_after=conf.stale_after,
        )
    finally:
        # A DatabaseCache opens one; no request ends here that would give it back.
        for connection in connections.all(initialized_only=True):
            connection.close_if_unusable_or_obsolete()


def _freshly_seen(store: Store, since: float) -> set[str]:
    """The shared caches that some process has looked at after ``since``."""
    fresh = set()
    for row in store.read("look", 0, 1, None):
        try:
            measured_at = decode(row.payload, Snapshot).measured_at
        except CorruptPayload:
            continue
        if row.process == SHARED and measured_at > since:
            fresh.add(row.alias)
    return fresh
