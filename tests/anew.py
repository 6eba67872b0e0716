"""A process that has recorded nothing, in a test run that has recorded much."""

from django.core.cache.backends import locmem

from cache_monitor.worker import wiring
from cache_monitor.worker.worker import BATCH


def begin_anew() -> None:
    """Let the collector begin as it would in a new process, when its thread has ended: what that
    still has under way must not come into what the next test counts. Local memory is empty, as it
    is in every process that begins."""
    wiring.background_worker.stop()
    wiring.background_worker.after_fork()
    for entries in (*locmem._caches.values(), *locmem._expire_info.values()):  # type: ignore[attr-defined]  # private
        entries.clear()


def count_now() -> None:
    """Count what was called, in this thread: to ask the draining one takes far longer."""
    with wiring.background_worker._draining:
        wiring.background_worker._drainer.drain(BATCH)
