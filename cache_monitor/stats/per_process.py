"""What a cache holds, where each process has one of its own: the sum over the processes.

Every window says what its process held when it last looked, and the last one of a process that
ends says 0. So at each moment the latest figure of each process counts, be it of that moment or of
one before. Of the sums at several moments the greatest stays.
"""

from collections.abc import Iterator, Mapping

from cache_monitor.stats import distinct
from cache_monitor.stats.window import Window, greater

MINUTE = 60
TOLD_FOR = 5 * MINUTE
"""Seconds that a process's figure holds where nobody knows how often each looks. One that was
killed counts for so long beside the one that came for it."""


def in_all(held: Mapping[int, int]) -> int | None:
    """The bytes that processes, named by their hashes, hold together; None where there are none.
    Exact for fewer than ``distinct.SIZE`` processes; of more, some stand for the others."""
    if not held:
        return None
    known = distinct.smallest(held)
    return sum(held[process] for process in known) * distinct.estimate(known) // len(known)


class MemoryByProcess:
    """The bytes that a cache holds, gathered from windows of several processes and times.

    A process of which nothing was heard for ``told_for`` seconds has ended.
    """

    def __init__(self, told_for: float = TOLD_FOR) -> None:
        self._told_for = told_for
        self._own: dict[int, dict[int, int]] = {}
        """The bytes of each process, by when the window began that said it."""
        self._greatest: int | None = None

    def add(self, window: Window) -> None:
        """Take in ``window``, which stays as it is."""
        if window.own_memory:
            told = self._own.setdefault(window.start, {})
            for process, size in window.own_memory.items():
                told[process] = max(size, told.get(process, 0))
        self._greatest = greater(self._greatest, window.memory_bytes)

    def note_in(self, window: Window) -> None:
        """Let ``window``, the merge of those that were added, say what the cache holds."""
        window.own_memory, window.memory_bytes = {}, self._greatest
        for _, held in self._moments():
            if window.seconds <= MINUTE:
                window.own_memory = held
            else:
                window.memory_bytes = greater(window.memory_bytes, in_all(held))

    def sums(self) -> Iterator[tuple[int, int | None]]:
        """The moments at which processes said what they hold, and the bytes of all together."""
        for start, held in self._moments():
            yield start, in_all(held)

    def _moments(self) -> Iterator[tuple[int, dict[int, int]]]:
        latest: dict[int, tuple[int, int]] = {}
        for start, told in sorted(self._own.items()):
            latest.update((process, (size, start)) for process, size in told.items())
            latest = {
                process: each
                for process, each in latest.items()
                if start - each[1] <= self._told_for
            }
            if len(latest) > 2 * distinct.SIZE:
                latest = {process: latest[process] for process in distinct.smallest(latest)}
            yield start, {process: size for process, (size, _) in latest.items()}
