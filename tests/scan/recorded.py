"""A cache of which the calls are recorded, and what a look is told of that record."""

import time
from collections.abc import Callable
from typing import Any

from cache_monitor.calls import Call, Source
from cache_monitor.concurrency import no_pause
from cache_monitor.scan import local
from cache_monitor.scan.identity import is_of_one_process, trace_store
from cache_monitor.scan.recorded import RecordedUses, Reporter, uses_of
from cache_monitor.stores.base import Store
from cache_monitor.worker.aggregator import Aggregator
from cache_monitor.worker.pipeline import Flusher
from cache_monitor.worker.trace_events import CacheIdentity
from cache_monitor.worker.trace_writer import Tracer

ALIAS, PROCESS = "default", "one that has ended"


class Recorded:
    """``cache``, used by a process that tells ``store`` of all its calls as it ends."""

    def __init__(self, cache: Any, store: Store) -> None:
        self._cache = cache
        self._store = store
        self._name = trace_store(ALIAS, cache, PROCESS)
        self._calls: list[Call] = []

    def set(self, key: str, value: object, timeout: float | None) -> None:
        """Write an entry."""
        began = time.time()
        self._cache.set(key, value, timeout)
        self._note("set", began, key, timeout=timeout)

    def get(self, key: str) -> Any:
        """Look an entry up."""
        began = time.time()
        found = self._cache.get(key)
        self._note("get", began, key, outcome=found is not None)
        return found

    def age(self, seconds: float) -> None:
        """Let all calls until now be longer ago."""
        self._calls = [each._replace(started=each.started - seconds) for each in self._calls]

    def uses(self, pace: Callable[[], None] = no_pause) -> RecordedUses:
        """What the record tells by now, of which the store has all."""
        aggregator = Aggregator(PROCESS, hot_keys=100, key_groups=100, measure=lambda *_: None)
        tracer = Tracer(PROCESS, 1, lambda alias: self._facts())
        flusher = Flusher(PROCESS, aggregator, tracer)
        # The calls have their times from the clock that the record goes by.
        flusher.tracer.trace(flusher.aggregator.add(self._calls, 0.0), 0.0, {})
        flusher.put(self._store, list(flusher.changes(last=True)))
        local._file_names.clear()
        uses = uses_of(ALIAS, self._cache, self._store, Reporter(PROCESS, time.time()), pace)
        assert uses is not None
        return uses

    def _facts(self) -> CacheIdentity:
        cache = self._cache
        return CacheIdentity(
            self._name,
            cache.default_timeout,
            str(cache.version),
            cache.key_prefix,
            is_own=is_of_one_process(cache),
        )

    def _note(self, operation: str, began: float, key: str, **more: Any) -> None:
        seconds = time.time() - began
        self._calls.append(Call(Source(ALIAS, operation), began, seconds, key, **more))
