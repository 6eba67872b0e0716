"""Keep the few that weigh most of the many that pass."""

import heapq
from collections.abc import Iterator
from itertools import chain, zip_longest
from typing import Generic, TypeVar

from cache_monitor.inspectors.snapshot import STALE, EntrySample

Item = TypeVar("Item")


class Heaviest(Generic[Item]):
    """The ``size`` heaviest of the items pushed."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[int, int, Item]] = []
        self._pushed = 0

    def takes(self, weight: int) -> bool:
        """Whether an item of ``weight`` would be kept."""
        return len(self._heap) < self._size or weight > self._heap[0][0]

    def push(self, weight: int, item: Item) -> None:
        if not self.takes(weight):
            return
        self._pushed += 1  # makes the tuples differ before two items are compared
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, (weight, self._pushed, item))
        else:
            heapq.heapreplace(self._heap, (weight, self._pushed, item))

    def __iter__(self) -> Iterator[Item]:
        """The items, heaviest first."""
        return (item for _, _, item in sorted(self._heap, key=lambda each: -each[0]))


def some_of_each(samples: list[list[EntrySample]]) -> list[EntrySample]:
    """At most 200 of ``samples``, in turns from each list, heaviest first."""
    in_turns = chain.from_iterable(zip_longest(*samples))
    # One entry is in the lists of all its reasons, as the same object.
    chosen = {id(each): each for each in in_turns if each is not None}
    return sorted(list(chosen.values())[:STALE], key=lambda each: -(each.bytes or 0))
