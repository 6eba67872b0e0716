"""What single requests did with the caches, on its way to the statistics of their views."""

from collections import deque
from typing import NamedTuple

MOST_WAITING = 10_000
"""Visits that may wait to be counted; older ones make room, and their calls are counted all the
same, only not for a view."""


class Use(NamedTuple):
    """What a request did with one cache. ``seconds`` is the time of its calls."""

    lookups: int = 0
    misses: int = 0
    seconds: float = 0.0


class Visit(NamedTuple):
    """One request: its view, and its use of each cache by alias."""

    view: str
    uses: dict[str, Use]


waiting: deque[Visit] = deque(maxlen=MOST_WAITING)
"""Visits that nobody has counted yet; appending is atomic."""


def take() -> list[Visit]:
    """Remove and return the visits that wait."""
    return [waiting.popleft() for _ in range(len(waiting))]
