"""A process that has recorded nothing, in a test run that has recorded much."""

from django.core.cache.backends import locmem

from cache_monitor.collecting import joining
from cache_monitor.collecting.collector import BATCH


def begin_anew() -> None:
    """Let the collector begin as it would in a new process, when its thread has ended: what that
    still has under way must not come into what the next test counts. Local memory is empty, as it
    is in every process that begins."""
    joining.collector.stop()
    joining.collector.after_fork()
    for entries in (*locmem._caches.values(), *locmem._expire_info.values()):  # type: ignore[attr-defined]  # private
        entries.clear()


def count_now() -> None:
    """Count what was called, in this thread: to ask the draining one takes far longer."""
    with joining.collector._draining:
        joining.collector._intake.take_in(BATCH)
