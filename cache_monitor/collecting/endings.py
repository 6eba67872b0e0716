"""The ends of processes: how long they wait, and those that ``atexit`` does not hear of."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from math import inf
from multiprocessing.util import Finalize
from queue import Empty, SimpleQueue

PATIENCE = 5.0
"""Seconds that a process may wait at its end for a store that does not answer."""
DEADLINE = 20.0
"""Seconds that it may wait at its end as long as it counts; most give a process 30 to end."""
_IDLE = 0.05
"""Seconds of CPU time in ``PATIENCE`` that are no work, but a look whether a lock is free."""


def wait_patiently(over: "SimpleQueue[None]", is_running: Callable[[], bool]) -> None:
    """Wait until the draining thread, which is in its last turn, says that it is ``over``, as long
    as it works: on a busy machine the counting of a full buffer takes its time."""
    ends, worked = time.monotonic() + DEADLINE, inf
    while is_running() and worked > _IDLE and time.monotonic() < ends:
        before = time.process_time()
        with suppress(Empty):
            over.get(timeout=PATIENCE)
        worked = time.process_time() - before


def stop_with_child(stop: Callable[[], None]) -> None:
    """Call ``stop`` at the end of this child of ``multiprocessing``, which runs finalizers of its
    own."""
    Finalize(None, stop, exitpriority=0)


def stop_with_celerys_worker(stop: Callable[[], None]) -> None:
    """Call ``stop`` at the end of this child of Celery's prefork pool: it ends by ``os._exit`` and
    runs no finalizer, but sends a signal. Asked for after the fork, when whoever uses Celery has
    imported it."""
    signals = sys.modules.get("celery.signals")
    if signals is not None:
        signals.worker_process_shutdown.connect(
            lambda **_: stop(), weak=False, dispatch_uid="cache_monitor"
        )
