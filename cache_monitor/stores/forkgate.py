"""Between forks and uses of SQLite: a child must not begin in the midst of one.

SQLite keeps for the whole process which locks it has on a file. A child that was forked meanwhile
takes its parent's locks for its own, and would write where nobody keeps others from writing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from cache_monitor.stores.base import StoreError

_FORK_WAITS = 0.2
"""Seconds that a fork waits for a use to end: far longer than one takes."""
_USE_WAITS = 10.0
"""Seconds that a use waits for others of this process."""


class ForkGate:
    """Lets one use at a time through, and no fork meanwhile."""

    def __init__(self) -> None:
        self._begin(is_tainted=False)

    def _begin(self, is_tainted: bool) -> None:
        self._lock = Lock()
        self._pid = os.getpid()
        self._is_closed_for_fork = False
        self._is_tainted = is_tainted

    def watch_forks(self) -> None:
        """Have Python's forks wait, on systems that have them."""
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child
            )

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Around a use. Raises :class:`StoreError` where there can be none."""
        if self._pid != os.getpid():
            # Forked in C, as uWSGI does, of which Python was not told.
            self._begin(is_tainted=self._is_tainted or self._lock.locked())
        if self._is_tainted:
            raise StoreError(
                "This process was forked while its parent used the cache monitor's file: restart "
                "it, and its statistics are stored again."
            )
        lock = self._lock
        if not lock.acquire(timeout=_USE_WAITS):
            raise StoreError(
                "Another thread of this process uses the cache monitor's file for long: see "
                "whether its disk answers."
            )
        try:
            yield
        finally:
            lock.release()

    def _before(self) -> None:
        self._is_closed_for_fork = self._lock.acquire(timeout=_FORK_WAITS)

    def _in_parent(self) -> None:
        if self._is_closed_for_fork:
            self._is_closed_for_fork = False
            self._lock.release()

    def _in_child(self) -> None:
        self._begin(is_tainted=self._is_tainted or not self._is_closed_for_fork)


gate = ForkGate()
gate.watch_forks()
