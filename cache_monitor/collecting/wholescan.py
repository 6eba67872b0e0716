"""A look that goes through everything: for the command line, one at a time over all processes."""

import time
from collections.abc import Callable, Iterator, Sequence
from math import inf

from django.core.cache import caches
from msgspec.structs import replace

from cache_monitor.collecting.looks import Turn, keep
from cache_monitor.conf import get_conf
from cache_monitor.inspectors.choice import scope_of
from cache_monitor.inspectors.identity import Shared, shared_by
from cache_monitor.inspectors.look import Progress, advance, total_of
from cache_monitor.inspectors.snapshot import Snapshot
from cache_monitor.inspectors.source import Source
from cache_monitor.inspectors.terms import Terms, described
from cache_monitor.inspectors.uses import NOBODY, uses_of
from cache_monitor.stores.base import Store, StoreError


def _shared(alias: str) -> Shared | None:
    """What ``alias`` has in common with those of the same entries; None where it cannot be made."""
    try:
        return shared_by(alias, caches[alias])
    except Exception:
        return None


NO_LIMIT = 1 << 62
_PAUSE = 0.2

Heard = Callable[[str, int, int | None], None]
"""Told the alias, how many entries were passed, and about how many there are."""


class WholeScan:
    """Goes through caches from their beginning to their end.

    ``heard`` is told of the progress; ``wanted`` is asked, after each page, whether to go on.
    ``problem`` says why the result did not reach the store, in words for people.
    """

    def __init__(self, store: Store, heard: Heard, wanted: Callable[[], bool]) -> None:
        self.problem: str | None = None
        self._store = store
        self._heard = heard
        self._wanted = wanted
        self._turn = Turn(store)
        self._is_alone = False

    def run(self, aliases: Sequence[str], limit: int = NO_LIMIT) -> Iterator[tuple[str, Snapshot]]:
        """What is in each cache, of at most ``limit`` entries; ends where it is not wanted. Of
        aliases that have the same entries one is gone through."""
        seen: dict[Shared, Snapshot] = {}
        for alias in aliases:
            if not self._has_turn():
                continue
            same = _shared(alias)
            if same is not None and same in seen:
                yield alias, self._as_seen(alias, seen[same])
                continue
            found = self._look(alias, limit)
            if same is not None:
                seen[same] = found
            yield alias, found

    def _as_seen(self, alias: str, seen: Snapshot) -> Snapshot:
        """What is in ``alias``, which has the same entries as one that was gone through."""
        snapshot = replace(seen, alias=alias)
        if snapshot.exact and snapshot.scope == "shared":
            progress = Progress(looked_at=snapshot.measured_at, whole=snapshot)
            self._keep(alias, snapshot, progress)
        return snapshot

    def _look(self, alias: str, limit: int) -> Snapshot:
        terms = Terms(alias, limit, inf, get_conf().stale_after)
        try:
            cache = caches[alias]
        except Exception as error:
            return Snapshot(
                alias=alias, measured_at=time.time(), scope="shared", problem=described(error)
            )

        totals: list[int | None] = []

        def on_part(walked: int, source: Source) -> bool:
            if not totals:
                totals.append(total_of(source))
            self._heard(alias, walked, totals[0])
            return self._wanted() and self._has_turn()

        # This process makes no calls of the site's.
        uses = uses_of(alias, cache, self._store, NOBODY)
        snapshot, progress = advance(cache, terms, Progress(looked_at=time.time()), on_part, uses)
        # What a process other than the site's own holds in its memory is no news.
        if snapshot.exact and scope_of(cache) == "shared":
            self._keep(alias, snapshot, progress)
        return snapshot

    def _keep(self, alias: str, snapshot: Snapshot, progress: Progress) -> None:
        try:
            keep(self._store, alias, snapshot, progress)
        except StoreError as error:
            self.problem = str(error)

    def _has_turn(self) -> bool:
        """Whether to go on: waits while another process looks."""
        try:
            while not self._is_alone and not self._turn.keep():
                if not self._wanted():
                    return False
                time.sleep(_PAUSE)
        except StoreError as error:
            # Without a store nobody else looks either.
            self.problem, self._is_alone = str(error), True
        return True
