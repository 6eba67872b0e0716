"""Interleaved rounds: what fair figures on a busy machine take.

Each round measures every variant once, in another order, close together in time. A ratio is
taken within a round, and the median over the rounds is told: what slows a machine down for a
while slows all variants down alike, and what hits a single batch is an outlier.
"""

import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Figures:
    """Seconds a call; what is added to the base and the ratio to it are medians of rounds."""

    seconds: float
    added: float
    ratio: float


def interleave(measures: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """The results of each of ``measures`` in each round, after one round that does not count."""
    order = list(measures)
    results: dict[str, list[float]] = {name: [] for name in order}
    for turn in range(rounds + 1):
        random.shuffle(order)
        for name in order:
            result = measures[name]()
            if turn:
                results[name].append(result)
    return results


def compare(results: Mapping[str, Sequence[float]], base: str) -> dict[str, Figures]:
    """Each of ``results`` against that of ``base``."""
    return {name: _against(values, results[base]) for name, values in results.items()}


def _against(values: Sequence[float], base: Sequence[float]) -> Figures:
    pairs = list(zip(values, base, strict=True))
    return Figures(
        seconds=median(values),
        added=median(one - other for one, other in pairs),
        ratio=median(one / other for one, other in pairs),
    )


def at_depth(depth: int, work: Callable[[], T]) -> T:
    """Do ``work`` below as many frames as a view has above it: watchers may look at them all."""
    frame, present = sys._getframe(), 0
    while frame.f_back is not None:
        frame, present = frame.f_back, present + 1
    return _deeper(depth - present, work)


def _deeper(frames: int, work: Callable[[], T]) -> T:
    return work() if frames <= 1 else _deeper(frames - 1, work)
