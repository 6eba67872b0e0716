"""How many processes run the site by now, told from the windows that they have written."""

from collections import defaultdict
from collections.abc import Iterable

from cache_monitor.stats.encoding import CorruptPayload, decode
from cache_monitor.stats.window import CountedWindow
from cache_monitor.stores.base import Row

_LATELY = 300
"""Seconds that the windows are looked at for."""
_STEADY = 3
"""Windows with calls of a process that runs the site: a command makes some in a row and ends."""
_TOGETHER = 30
"""Seconds that processes must be at work beside each other: one that takes another's place, after
a deployment, is not."""

_Span = tuple[int, int]
"""When a process was seen first and last."""


def running(windows: Iterable[Row], until: float) -> dict[str, int]:
    """The number of processes that use each alias at the same time, in the minutes before
    ``until`` (Unix time)."""
    seen: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
    for row in windows:
        if until - _LATELY <= row.start <= until:
            try:
                window = decode(row.payload, CountedWindow)
            except CorruptPayload:
                continue
            if window.calls:
                for process in window.processes:
                    seen[row.alias, process].add(row.start)
    spans: defaultdict[str, list[_Span]] = defaultdict(list)
    for (alias, _), starts in seen.items():
        if len(starts) >= _STEADY:
            spans[alias].append((min(starts), max(starts)))
    return {alias: _at_once(those) for alias, those in spans.items()}


def _at_once(spans: list[_Span]) -> int:
    """The most of ``spans`` that overlap by more than a moment."""
    # One that has just begun overlaps itself alone.
    return max(
        max(1, sum(first <= at and at + _TOGETHER <= last for first, last in spans))
        for at, _ in spans
    )
