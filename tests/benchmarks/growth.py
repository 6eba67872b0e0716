"""What an operation costs by the number of different keys; a part of :mod:`.scale`.

For each number of keys the same count of gets goes through the counting, in batches as the
draining thread takes them. Once the tables are full, CPU time is taken of every batch, and in turn
with it of a control: a loop that does nothing but count the batch's keys in a bare dict. What the
control grows by is Python's and the processor's own: a dict of a million keys fits into no cache.

A batch is deduplicated before it is counted, so a call costs the less the more calls are alike. So
the share of different keys in a batch is printed too, and as the third popularity there are keys of
which none comes twice in a batch: no more than that can it cost.
"""

from collections.abc import Callable, Iterator
from itertools import accumulate
from random import Random
from time import process_time
from typing import NamedTuple

from cache_monitor.calls import RawCall, Source
from cache_monitor.conf import Conf
from cache_monitor.worker.aggregator import Aggregator

BATCH = 10_000
NUMBERS = (10_000, 100_000, 1_000_000)
_GET = Source("default", "get")
_SECONDS = 0.01
"""How long the clock of the calls takes for a batch."""

Draw = Callable[[int], list[str]]


class Cost(NamedTuple):
    """Microseconds of CPU time: ours an operation and a different key of a batch, and the
    control's an operation; and the share of different keys."""

    operation: float
    key: float
    control: float
    share: float


def print_growth(operations: int) -> None:
    names = [f"user:{n}:profile" for n in range(NUMBERS[-1])]
    print(f"µs of CPU time by the number of keys, {operations:,} operations each")
    for title, popularity in (("Zipf(1.0)", 1.0), ("Zipf(0.8)", 0.8), ("none twice", None)):
        for number in NUMBERS:
            cost = _cost(_drawing(names[:number], popularity), operations)
            print(
                f"  {title:10} {number:>9,} keys: {cost.operation:5.2f} an operation,"
                f" control {cost.control:4.2f}; {cost.share:4.0%} of a batch are different keys,"
                f" {cost.key:5.2f} for each"
            )


def _drawing(names: list[str], popularity: float | None) -> Draw:
    """What draws so many of ``names``: Zipf-distributed, or one after the other."""
    if popularity is None:
        turns = _turns(names)
        return lambda count: next(turns)
    weights = [*accumulate((n + 1) ** -popularity for n in range(len(names)))]
    source = Random(1)
    return lambda count: source.choices(names, cum_weights=weights, k=count)


def _turns(names: list[str]) -> Iterator[list[str]]:
    shuffled = Random(1).sample(names, len(names))
    while True:
        for first in range(0, len(shuffled), BATCH):
            yield shuffled[first : first + BATCH]


def _cost(draw: Draw, operations: int) -> Cost:
    conf = Conf()
    aggregator = Aggregator(
        "process",
        hot_keys=conf.hot_keys,
        key_groups=conf.max_key_groups,
        measure=lambda alias, key, version: None,
    )
    bare: dict[object, int] = {}
    ours = control = 0.0
    different = counted = 0
    batches = operations // BATCH
    for number in range(batches):
        drawn = draw(BATCH)
        calls = _calls(drawn, number * _SECONDS)
        began = process_time()
        aggregator.add(calls, 0.0)
        between = process_time()
        for call in calls:
            bare[call[3]] = bare.get(call[3], 0) + 1
        ended = process_time()
        if number >= batches // 2:
            ours, control = ours + between - began, control + ended - between
            different, counted = different + len(set(drawn)), counted + BATCH
    return Cost(
        ours / counted * 1e6, ours / different * 1e6, control / counted * 1e6, different / counted
    )


def _calls(drawn: list[str], at: float) -> list[RawCall]:
    return [(_GET, at, 3e-6, key, True, None, None, None, None, None, None, None) for key in drawn]
