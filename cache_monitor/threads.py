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

    Raises ``RuntimeError`` where the system has no more threads.
    """
    _thread.start_new_thread(_start, (run, name, failed))


def _start(run: Callable[[], None], name: str, failed: Callable[[Exception], None]) -> None:
    try:
        Thread(target=run, name=name, daemon=True).start()
    except Exception as error:
        failed(error)
