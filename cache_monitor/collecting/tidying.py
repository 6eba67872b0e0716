"""What one of the site's processes does for all of them: merge their rows when a stretch of time is
over, and once a minute tidy the store up and let somebody look at what is in it."""

import time
from collections.abc import Callable

from cache_monitor.collecting.rollup import merge_processes, roll_up, settled
from cache_monitor.conf import Conf
from cache_monitor.stores.base import Store, StoreError

MERGE_INTERVAL = 10
TRACE_INTERVAL = 20
INTERVAL = 60
_GOES_ON_FOR = 2 * INTERVAL
"""Seconds that it is done after the rows of the last calls have settled. Then there is nothing new
to be done, and an idle site writes nothing: what ages meanwhile waits for the next calls."""


class Tidying:
    """Does it in whichever process comes first. ``failed`` takes note of a fault of ours;
    ``roll_trace`` replays what was traced, ``predict`` has predicted what other caches would hit,
    beside all this."""

    def __init__(
        self,
        get_conf: Callable[[], Conf],
        failed: Callable[[Exception], None],
        roll_trace: Callable[[Store, int], None],
        predict: Callable[[Store], None],
    ) -> None:
        self._get_conf = get_conf
        self._failed = failed
        self._roll_trace = roll_trace
        self._predict = predict
        self._tracing = _Turn("trace", TRACE_INTERVAL)
        self._merging = _Turn("merge", MERGE_INTERVAL)
        self._tidying = _Turn("tidy", INTERVAL)
        self._predicting = _Turn("what if", INTERVAL)

    def work(
        self, store: Store, watch: Callable[[Store], None] | None, idle_for: float = 0.0
    ) -> None:
        """Merge, roll up and prune where it is time for that, and then let ``watch`` look at
        ``store``; unless this process has made no calls for long, ``idle_for`` seconds. A fault of
        ours in one of them keeps none of the others from being done.

        Raises :class:`StoreError`.
        """
        now = int(time.time())
        conf = self._get_conf()
        ready = settled(conf.flush_interval)
        if idle_for > ready + _GOES_ON_FOR:
            return
        if self._merging.has_come(store, now):
            self._do(lambda: merge_processes(store, now, ready))
        if self._tracing.has_come(store, now):
            self._do(lambda: self._roll_trace(store, now))
        if self._tidying.has_come(store, now):
            self._do(lambda: roll_up(store, now, ready))
            self._do(lambda: store.prune(int(now - conf.retention)))
            if watch is not None:
                self._do(lambda: watch(store))
        if self._predicting.has_come(store, now):
            self._do(lambda: self._predict(store))

    def _do(self, job: Callable[[], object]) -> None:
        try:
            job()
        except StoreError:
            raise
        except Exception as error:
            self._failed(error)


class _Turn:
    """Whose turn a job is that one process does every ``interval`` seconds."""

    def __init__(self, job: str, interval: int) -> None:
        self._job = job
        self._interval = interval
        self._next = 0.0

    def has_come(self, store: Store, now: int) -> bool:
        """Whether this process does it now, which the store tells one of them. Whether or not it
        does, it does not ask again for ``interval``."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + self._interval
        return store.lock(self._job, self._interval, now)
