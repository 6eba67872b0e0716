"""How near the shares of reasons come to the truth where the trace takes a part of the keys.

``python -m tests.benchmarks.sampling [--keys N] [--lookups N] [--taken N] [--samplings N]`` lets a
cache be asked by Zipf's law with the exponent 1.0 for an hour. What is missed is written for five
minutes, and of what is found a part is deleted. Each sampling takes other keys by their hashes,
beside the hottest, as ``TRACE_KEYS`` has it, and judges their misses by the trace's own replay.
Prints in how many samplings all shares were within the stated error, and how large that was.
"""

import argparse
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from random import Random
from typing import NamedTuple

from cache_monitor.reports import MissReasons
from cache_monitor.reports.keys import miss_reasons
from cache_monitor.stats.sketches import add_counts
from cache_monitor.stats.window import Window
from cache_monitor.trace import (
    DELETE,
    HIT,
    HOT_KEYS,
    MISS,
    SECOND,
    WRITE,
    CallType,
    Key,
    Plan,
    hash_of,
)
from cache_monitor.trace.codec import StoredSlice
from cache_monitor.trace.replay import Replay
from cache_monitor.trace.slices import Slice
from cache_monitor.trace.state import State

START = 1_700_000_000 // 3600 * 3600
HOUR, LASTS, SLICE = 3600, 300, 10
_DELETED = 0.02


class Happened(NamedTuple):
    """An event of a key, by its number, microseconds after the beginning; and the real reason of a
    miss."""

    at: int
    key: int
    kind: int
    reason: str = ""


def happened(keys: int, lookups: int, seed: int = 1) -> list[Happened]:
    random = Random(seed)
    weights = list(accumulate(1 / rank for rank in range(1, keys + 1)))
    expires: dict[int, int] = {}
    why: dict[int, str] = {}
    found = []
    step = HOUR * SECOND // lookups
    for number, key in enumerate(random.choices(range(keys), cum_weights=weights, k=lookups)):
        at = number * step
        if expires.get(key, 0) > at:
            found.append(Happened(at, key, HIT))
            if random.random() < _DELETED:
                found.append(Happened(at + 50, key, DELETE))
                del expires[key]
                why[key] = "deleted"
        else:
            found.append(Happened(at, key, MISS, why.get(key, "never_set")))
            found.append(Happened(at + 50, key, WRITE))
            expires[key], why[key] = at + 50 + LASTS * SECOND, "expired"
    return found


def taken(events: Sequence[Happened], plan: Plan, names: Sequence[Key]) -> Iterator[StoredSlice]:
    """The slices of one process that follows ``plan``."""
    forms = {kind: CallType(kind, "default", 1) for kind in (HIT, MISS, DELETE)}
    forms[WRITE] = CallType(WRITE, "default", 1, LASTS * SECOND)
    part = Slice(START, SLICE, "one", 1, plan)
    for each in events:
        key = names[each.key]
        if not part.takes(key.hash):
            continue
        start = START + each.at // SECOND // SLICE * SLICE
        if start != part.start:
            yield _stored(part)
            part = Slice(start, SLICE, "one", 1, plan)
        at = START * SECOND + each.at
        part.add(key, forms[each.kind], at, at + 20)
    yield _stored(part)


def _stored(part: Slice) -> StoredSlice:
    part.final = True
    return part.stored()


def told(
    events: Sequence[Happened], keys: int, hottest: Sequence[int], most: int, seed: int
) -> MissReasons:
    """What is told of the reasons where about ``most`` keys are taken."""
    names = [Key(hash_of(f"{seed} {number}"), "page:{int}") for number in range(keys)]
    used = len({each.key for each in events})
    level = max(0, math.ceil(math.log2(used / most)))
    plan = Plan(1, level, frozenset(names[key].hash for key in hottest))
    state = State(plans={1: plan.hot}, uncovered_hot=dict.fromkeys(plan.hot, 0))
    replay = Replay(state, SECOND // 20)
    window = Window(START, HOUR)
    told = replay.run(list(taken(events, plan, names)), (), START + HOUR + SLICE)
    for each in told.windows.values():
        add_counts(window.reasons, each.reasons)
        window.traced_misses += each.traced_misses
        window.classified_misses += each.classified_misses
        window.variance += each.variance
    misses = sum(each.kind == MISS for each in events)
    return miss_reasons(misses, window, 0.0)


class Result(NamedTuple):
    """In how many of the samplings every share was ``within`` the stated error."""

    within: int
    samplings: int
    errors: list[float]


def tried(keys: int, lookups: int, most: int, samplings: int) -> Result:
    events = happened(keys, lookups)
    hottest = [key for key, _ in Counter(each.key for each in events).most_common(HOT_KEYS)]
    truth = Counter(each.reason for each in events if each.reason)
    misses = sum(truth.values())
    within, errors = 0, []
    for seed in range(samplings):
        found = told(events, keys, hottest, most, seed)
        assert found.error is not None
        off = max(abs((getattr(found, name) or 0) - count) for name, count in truth.items())
        within += off <= found.error * misses
        errors.append(found.error)
    return Result(within, samplings, errors)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--lookups", type=int, default=1_000_000)
    parser.add_argument("--taken", type=int, default=8192)
    parser.add_argument("--samplings", type=int, default=100)
    asked = parser.parse_args()
    found = tried(asked.keys, asked.lookups, asked.taken, asked.samplings)
    print(f"within the stated error: {found.within} of {found.samplings}")
    print(f"stated: {min(found.errors):.4f} to {max(found.errors):.4f}")


if __name__ == "__main__":
    main()
