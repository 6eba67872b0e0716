"""Threads of the monitor's own, begun so that the site does not notice."""

import _thread
from collections.abc import Callable
from threading import Thread

THREAD_NAME = "cache-monitor"
"""The name of the thread that counts and delivers; those of the others begin with it."""


def start(run: Callable[[], None], name: str, failed: Callable[[Exception], None]) -> None:
    """Let ``run`` run in a daemon thread. ``failed`` is told where there is none to be had by then.

    What a signal's handler raises in the midst of ``Thread.start`` leaves locks held that every
    thread needs to begin. Such handlers run in the main thread alone; so that one begins a bare
    thread, which is one step, and that one begins the other.

    Raises ``RuntimeError`` where there are no more threads, as in a program that ends.
    """
    _thread.start_new_thread(_start, (run, name, failed))


def is_too_late(error: Exception) -> bool:
    """Whether none could begin since the program ends, which is nobody's fault."""
    return isinstance(error, RuntimeError) and "shutdown" in str(error)


def _start(run: Callable[[], None], name: str, failed: Callable[[Exception], None]) -> None:
    try:
        Thread(target=run, name=name, daemon=True).start()
    except RuntimeError:
        # There was one more thread to be had and no second one: from Python 3.12 on none begins in
        # a program that ends, which may be what this one was begun for.
        run()
    except Exception as error:
        failed(error)
