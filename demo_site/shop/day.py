"""A day in the shop: how busy each hour is, told in minutes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

# Hundredths of the busiest hour, from midnight on. A quiet night, a rise while people have
# breakfast, a small peak at lunch, and the evening at home, as shops see it.
BUSYNESS = (
    *(22, 12, 8, 6, 6, 10),
    *(20, 34, 48, 58, 64, 70),
    *(80, 74, 62, 58, 60, 68),
    *(80, 94, 100, 92, 66, 40),
)
HOURS = len(BUSYNESS)
SECONDS = 600.0
"""What a day takes. The dashboard's charts tell minutes apart, so a day has ten points."""


@dataclass(frozen=True)
class Day:
    """Days of ``seconds`` each, one after the other, from the hour ``starts_at`` (0 to 24)."""

    seconds: float
    starts_at: float = 0.0

    def share(self, elapsed: float) -> float:
        """How busy the shop is ``elapsed`` seconds after the start: above 0, at most 1."""
        hour = (self.starts_at + HOURS * elapsed / self.seconds) % HOURS
        before = min(int(hour), HOURS - 1)
        here, there = list(pairwise((*BUSYNESS, BUSYNESS[0])))[before]
        return (here + (there - here) * (hour - before)) / 100
