"""A configuration of gunicorn under which each worker logs that it can be ended.

Until a worker has set its own handlers of signals it has those of the master, which queue a signal
that nobody in the worker takes. gunicorn sends SIGTERM once: a worker that gets it so early runs on
until the graceful timeout. gevent's workers set theirs after they have patched Python's modules.
"""

from typing import Any

READY = "This worker handles signals"


def post_worker_init(worker: Any) -> None:
    worker.log.info(READY)
