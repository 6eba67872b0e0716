"""Figures over time, in steps that a chart can show."""

from collections.abc import Iterator
from datetime import UTC, datetime

from cache_monitor.reports.schema import Point
from cache_monitor.stats import histogram
from cache_monitor.stats.window import Memory, OperationStats, Window

STEPS = (10, 30, 60, 300, 900, 3600, 6 * 3600, 86400)
MOST_POINTS = 200


def moment(at: float) -> str:
    """``at``, Unix time, as the export writes times."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class Series:
    """The steps between two moments (Unix time); steps without calls are zero, not left out."""

    def __init__(self, since: float, until: float) -> None:
        length = until - since
        self.step = next((step for step in STEPS if length / step <= MOST_POINTS), STEPS[-1])
        self._first = int(since // self.step)
        self._last = int(-(-until // self.step))
        self._windows: dict[int, Window] = {}
        self._memory: dict[int, Memory] = {}

    def add(self, process: str, window: Window) -> None:
        """Add the window of ``process`` to the step that it begins in; it may become a part."""
        step = window.start // self.step
        whole = self._windows.setdefault(step, window)
        if whole is not window:
            whole.merge(window)
        if window.memory_bytes is not None:
            self._memory.setdefault(step, Memory()).add(process, window)

    def total(self) -> Window:
        """All windows merged."""
        total = Window(int(self._first * self.step), self.step)
        for window in self._windows.values():
            total.merge(window)
        return total

    def points(self) -> Iterator[Point]:
        """The steps in order."""
        for step in range(self._first, self._last):
            sums = OperationStats()
            if step in self._windows:
                for operation in self._windows[step].operations.values():
                    sums.merge(operation)
            memory = self._memory.get(step)
            yield Point(
                at=moment(step * self.step),
                lookups=sums.hits + sums.misses,
                hits=sums.hits,
                misses=sums.misses,
                errors=sums.errors,
                seconds=sums.seconds,
                p99=histogram.quantiles(sums.buckets, (0.99,), sums.slowest)[0],
                memory_bytes=None if memory is None else memory.bytes(),
            )
