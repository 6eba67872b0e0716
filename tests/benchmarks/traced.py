"""What the trace brings to the store, and holds in memory: ``python -m tests.benchmarks.traced``.

Lets ``--processes`` (32) trace ``--rate`` (10,000) calls a second together, of ``--keys`` keys by
Zipf's law with the exponent 1.0, for ``--minutes``; flushes each of them every ten seconds, and
rolls up as they do, by a clock of its own. What is missed is written for five minutes.

Printed for each minute: the level of sampling, the keys in the state, the bytes a second that were
written to the store (slices as they come, and what rolling up makes of them), and what stays of
them; then the memory that the traces of all processes hold, and what tracing took of CPU.
"""

import argparse
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate
from random import Random
from typing import NamedTuple

import django
from django.conf import settings

from cache_monitor.calls import RawCall, Source
from cache_monitor.conf import Conf
from cache_monitor.stores.base import Row
from cache_monitor.stores.memory import MemoryStore
from cache_monitor.stores.rows import FIRST, TraceSettings, plans, settled, state_of
from cache_monitor.trace import SECOND, EvictionReading, TraceLimits
from cache_monitor.trace.slices import SLICE_SECONDS, UNPLANNED_BYTES
from cache_monitor.worker.batch import deduplicate
from cache_monitor.worker.rollup import roll_trace
from cache_monitor.worker.trace_events import CacheIdentity
from cache_monitor.worker.trace_writer import Tracer

GET, SET = Source("default", "get"), Source("default", "set")
START = 1_800_000_000 // 3600 * 3600
STORE, LASTS, DRAIN, CLOSED = "store", 300, 1, 5
"""``DRAIN``: how often a second a process takes its calls in."""


class Measured(NamedTuple):
    """What was written a second, by who wrote it, and what stays of it; the ``level`` of sampling
    and the ``keys`` in the state by then."""

    minute: int
    level: int
    keys: int
    slices: float
    rolled: float
    stays: float


class CountingStore(MemoryStore):
    """Counts the bytes that are written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: Counter[str] = Counter()

    def replace(self, remove: Sequence[Row], add: Sequence[Row], now: int) -> None:
        for row in add:
            if row.kind == "trace":
                self.written["slices" if row.process else "rolled"] += len(row.payload)
        super().replace(remove, add, now)

    def kept(self) -> int:
        """The bytes of the trace that stay: not the slices that are to be rolled up, not the
        state, which takes the place of the one before."""
        rows = self.read("trace", FIRST, 2**40, None, seconds=60)
        return sum(len(row.payload) for row in rows)


def calls(rate: int, keys: int) -> Iterator[RawCall]:
    """At an even pace, without end."""
    random, expires = Random(1), dict[int, float]()
    weights = [*accumulate(1 / (n + 1) for n in range(keys))]
    number = 0
    while True:
        for key in random.choices(range(keys), cum_weights=weights, k=1000):
            at, name = number / rate, f"user:{key}:profile"
            hit = expires.get(key, 0.0) > at
            who = None if hit else 1
            yield (GET, at, 5e-5, name, hit, 900, None, None, None, None, None, who)
            number += 1
            if not hit:
                expires[key] = number / rate + LASTS
                at = number / rate
                yield (SET, at, 5e-5, name, None, 900, LASTS, None, None, None, None, 1)
                number += 1


def measured(processes: int, rate: int, keys: int, minutes: int, conf: Conf) -> Iterator[Measured]:
    store, made = CountingStore(), calls(rate, keys)
    tracers = [
        Tracer(
            f"process-{number}",
            1,
            allowed=UNPLANNED_BYTES / processes,
            identity=lambda alias: CacheIdentity(STORE, LASTS, "1"),
        )
        for number in range(processes)
    ]
    limits = TraceLimits(conf.trace_keys, conf.trace_events, conf.trace_bytes, int(conf.trace_kept))
    rolled = TraceSettings(limits, 0.05, settled(conf.flush_interval), conf.max_key_groups)
    stored: dict[tuple[int, int], object] = {}
    before = 0
    for second in range(60 * minutes):
        now = START + second + 1
        for _ in range(DRAIN):
            batch = [next(made) for _ in range(rate // DRAIN)]
            for number, tracer in enumerate(tracers):
                tracer.trace(deduplicate(batch[number::processes]), START, {})
        for number, tracer in enumerate(tracers):
            if second % int(conf.flush_interval) == number % int(conf.flush_interval):
                tracer.note_reading("default", EvictionReading(now * SECOND, 0, "boot"))
                flush(store, tracer, (number, now), stored)
                tracer.follow(plans(store))
        if second % 20 == 19:
            roll_trace(store, now, rolled)
        if second % 60 == 59:
            written, store.written = store.written, Counter()
            known, kept = plans(store).get(STORE), store.kept()
            yield Measured(
                second // 60 + 1,
                known.level if known else 0,
                len(state_of(store, STORE).keys),
                written["slices"] / 60,
                written["rolled"] / 60,
                (kept - before) / 60,
            )
            before = kept


def flush(
    store: MemoryStore,
    tracer: Tracer,
    of: tuple[int, int],
    stored: dict[tuple[int, int], object],
) -> None:
    """Bring what has changed to the store, as cache_monitor.worker.pipeline does."""
    number, now = of
    for name, part in list(tracer.slices):
        if part.start + part.seconds + CLOSED < now:
            tracer.slices.seal(part)
        if stored.get((number, part.start)) != part.revision:
            payload = tracer.slices.encode(part, now)
            stored[number, part.start] = part.revision
            store.put(
                [Row("trace", tracer.slices.process, name, part.start, SLICE_SECONDS, payload)], now
            )
        if part.final:
            tracer.slices.forget(name, part)
            stored.pop((number, part.start), None)


def main() -> None:
    settings.configure()
    django.setup()
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("processes", 32), ("rate", 10_000), ("keys", 100_000), ("minutes", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--memory", action="store_true", help="measure memory, which is slow")
    asked = parser.parse_args()
    if asked.memory:
        tracemalloc.start()
    began = time.process_time()
    run = partial(measured, asked.processes, asked.rate, asked.keys, asked.minutes)
    print("minute  level    keys   slices B/s   rolled B/s    stays B/s")
    for each in run(Conf()):
        print(
            f"{each.minute:6} {each.level:6} {each.keys:7,} {each.slices:12,.0f}"
            f" {each.rolled:12,.0f} {each.stays:12,.0f}"
        )
    spent = (time.process_time() - began) / (asked.rate * 60 * asked.minutes)
    print(f"CPU, the making of the calls included: {spent * 1e6:.2f} µs a call")
    if asked.memory:
        print(f"most memory: {tracemalloc.get_traced_memory()[1] / 2**20:.0f} MiB in all")


if __name__ == "__main__":
    main()
