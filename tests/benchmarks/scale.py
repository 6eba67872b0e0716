"""Ten million operations over a million keys: ``python -m tests.benchmarks.scale``.

Counts gets of Zipf-distributed keys into details and windows as the draining thread does, brings
them to no store but keeps their encoded form as a store would, and merges that into what a report
shows. Printed: CPU time an operation for each million of operations (it must not grow), growth of
resident memory, and how well the twenty hottest keys are known. Then what an operation costs by
the number of keys (see :mod:`tests.benchmarks.growth`).
"""

import argparse
import resource
import time
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from random import Random

import django
from django.conf import settings

from cache_monitor.calls import RawCall, Source
from cache_monitor.conf import Conf
from cache_monitor.stats.codec import decode, encode
from cache_monitor.stats.details import Details, DetailsMerge, StoredDetails
from cache_monitor.stats.window import Window
from cache_monitor.worker.aggregator import Aggregator
from tests.benchmarks.growth import BATCH, print_growth

RATE = 100_000
"""Operations a second, of the clock that the calls carry."""
GET = Source("default", "get")


def main() -> None:
    settings.configure()
    # As in a site: until then no settings are asked for what sessions are called.
    django.setup()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=10_000_000)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--growth-operations", type=int, default=2_000_000)
    arguments = parser.parse_args()
    for exponent in (1.0, 0.8):
        measure(exponent, arguments.operations, arguments.keys)
    print_growth(arguments.growth_operations)


def measure(exponent: float, operations: int, keys: int) -> None:
    print(f"Zipf({exponent}), {operations:,} operations over {keys:,} keys")
    names = [f"user:{n}:profile" for n in range(keys)]
    weights = [*accumulate((n + 1) ** -exponent for n in range(keys))]
    truth: Counter[str] = Counter(dict.fromkeys(names, 0))
    conf = Conf()
    aggregator = Aggregator(
        "process",
        hot_keys=conf.hot_keys,
        key_groups=conf.max_key_groups,
        measure=lambda alias, key, version: None,
    )
    closed: list[bytes] = []
    before = resident_bytes()
    spent = 0.0
    for number, calls in enumerate(batches(names, weights, operations), 1):
        truth.update(str(call[3]) for call in calls)
        began = time.process_time()
        aggregator.add(calls, 0.0)
        if number * BATCH % RATE == 0:
            closed += close(aggregator, number * BATCH / RATE)
        spent += time.process_time() - began
        if number * BATCH % (operations // 10) == 0:
            print(
                f"  {number * BATCH:>12,}  {spent / (operations // 10) * 1e6:.2f} µs an operation"
            )
            spent = 0.0
    closed += close(aggregator, float("inf"))
    grown = resident_bytes() - before
    print(f"  memory: {grown / 2**20:+.1f} MiB, stored: {sum(map(len, closed)) / 2**20:.1f} MiB")
    print_recall(closed, truth, conf.hot_keys)


def batches(names: list[str], weights: list[float], operations: int) -> Iterator[list[RawCall]]:
    source = Random(1)
    for first in range(0, operations, BATCH):
        drawn = source.choices(names, cum_weights=weights, k=BATCH)
        yield [
            (GET, (first + n) / RATE, 3e-6, key, True, None, None, None, None, None, None, None)
            for n, key in enumerate(drawn)
        ]


def close(aggregator: Aggregator, now: float) -> list[bytes]:
    """Encode and forget the buckets that ended before ``now``."""
    done = [
        (alias, each) for alias, each in aggregator.buckets() if each.start + each.seconds < now
    ]
    for alias, each in done:
        aggregator.forget(alias, each)
    encoded = [encode(part) for _, part in done if isinstance(part, Details)]
    for _, part in done:
        if isinstance(part, Window):
            encode(part)
    return encoded


def print_recall(closed: list[bytes], truth: Counter[str], capacity: int) -> None:
    merging = DetailsMerge(0, 60, 200)
    for payload in closed:
        merging.add(decode(payload, StoredDetails))
    table = merging.whole(capacity).hot_keys.table
    found = sorted(table, key=lambda key: -table[key].weight())[:20]
    true = [key for key, _ in truth.most_common(20)]
    within = all(
        stats.lookups <= truth[key] <= stats.lookups + stats.missing for key, stats in table.items()
    )
    print(f"  top 20 recall: {len(set(found) & set(true)) / 20:.2f}, all within bounds: {within}")
    print(f"  greatest bound among them: {max(table[key].missing for key in found):,}")


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - not a file of ours
        return int(statm.read().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main()
