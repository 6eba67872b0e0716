"""Whose work the time between a miss and the write that fills it was, where several overlap.

A value that is missed and written while another one is made is a part of that one's work. Where
two are missed first and then written one after the other, the second was not made before the first
was written: it takes the time from there on, or what both take would count twice.
"""

from collections import deque

_MOST = 16
"""Spans that are remembered: more than are open at a time but for batches, of which the last one
is enough."""


class Spans:
    """The spans from miss to write of one thread or task."""

    __slots__ = ("_spans",)

    def __init__(self) -> None:
        # None lies within another: those that were missed later were written later.
        self._spans: deque[tuple[float, float]] = deque(maxlen=_MOST)

    def since(self, missed: float, started: float, written: float) -> float:
        """From when on a value was made that was ``missed`` then, and whose write ``started`` and
        was ``written`` then."""
        spans = self._spans
        while spans and spans[-1][0] > missed:
            # Made while this one was made.
            spans.pop()
        since = max(missed, spans[-1][1]) if spans else missed
        spans.append((missed, written))
        return min(since, started)
