"""The ends of processes that come without ``atexit``: of uvicorn's server, of the children of
``multiprocessing`` and of Celery's prefork pool; and a SIGTERM in the midst of the end."""

import _signal  # type: ignore[import-not-found]  # typeshed leaves it out
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any


def handler_of(number: int) -> Any:
    """What handles the signal. ``signal.getsignal`` makes a ``repr`` of a function, which is the
    site's, and in which Python runs what handles signals that came meanwhile."""
    return _signal.getsignal(number)


@contextmanager
def termination_deferred() -> Iterator[None]:
    """Let a SIGTERM that would kill this process take effect only after what is done inside.

    hypercorn terminates its workers as soon as one of them has ended, when the others may be
    flushing. A second SIGTERM takes effect at once. Elsewhere than in the main thread, and where
    somebody handles the signal, nothing is deferred.
    """
    came: list[int] = []

    def note(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        came.append(number)

    handler = handler_of(signal.SIGTERM)
    # Not from another thread than the main one.
    with suppress(ValueError):
        if type(handler) is int and handler == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, note)
    try:
        yield
    finally:
        if handler_of(signal.SIGTERM) is note:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for number in came:
            signal.raise_signal(number)


def stop_with_children_of_multiprocessing(owner: Any, stop: Callable[[], None]) -> bool:
    """Call ``stop`` at the end of this process, if it is a child of ``multiprocessing``, and of
    each that it forks: they end without ``atexit``, but run finalizers of their own. False where
    nobody has imported it yet, which a child of it has: it is dear to import for nothing."""
    util = sys.modules.get("multiprocessing.util")
    if util is None:
        return False

    def stop_with_this_child(_: object) -> None:
        util.Finalize(None, stop, exitpriority=0)

    # A child throws the finalizers away that it begins with, and then calls this.
    util.register_after_fork(owner, stop_with_this_child)
    if sys.modules["multiprocessing.process"].parent_process() is not None:
        # Django was perhaps set up after that, by what a child of the forkserver does.
        stop_with_this_child(owner)
    return True


def stop_with_celerys_worker(stop: Callable[[], None]) -> None:
    """Call ``stop`` at the end of this child of Celery's prefork pool: it ends by ``os._exit`` and
    runs no finalizer, but sends a signal. Asked for after the fork, when whoever uses Celery has
    imported it."""
    signals = sys.modules.get("celery.signals")
    if signals is not None:
        signals.worker_process_shutdown.connect(
            lambda **_: stop(), weak=False, dispatch_uid="cache_monitor"
        )


class ServerShutdown:
    """Calls ``end`` when uvicorn's server in this process has shut down.

    After its graceful shutdown uvicorn gives SIGTERM its default action back and raises it again,
    so that no ``atexit`` runs; and Django does not speak the protocol by which such servers tell
    applications of the end. The server itself is found by the handler that it has set for the
    signal, by itself as well as in a worker of gunicorn's.
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self._handler: object = None

    def watch(self) -> None:
        """See whether there is a server by now. Quick: for the beginning of each request."""
        handler = handler_of(signal.SIGTERM)
        if handler is not self._handler:
            self._handler = handler
            server = getattr(handler, "__self__", None)
            # Its class may be one that was made of uvicorn's.
            if any(each.__module__ == "uvicorn.server" for each in type(server).__mro__):
                self._wait_for(server)

    def _wait_for(self, server: Any) -> None:
        shutdown, end = server.shutdown, self._end

        async def shut_down(*args: Any, **kwargs: Any) -> Any:
            try:
                return await shutdown(*args, **kwargs)
            finally:
                # Nothing is served any more, and nobody waits for this loop.
                end()

        server.shutdown = shut_down
