"""What a process writes to its store: ``python -m tests.benchmarks.sizes``.

Counts five minutes of one cache's calls, as many a second as are given, and brings them to a store
as the draining thread does every ``FLUSH_INTERVAL``. Printed for each rate: the bytes of a finished
window and of finished details, and the rows and bytes that one process writes a second for one
cache; then what 1,000 hosts of 32 processes with five such caches make of it.

The calls are gets, sets and deletes (90, 8 and 2 of a hundred) of 100,000 keys in 30 groups with
Zipf(1.0) popularity, one of a hundred a ``get_many`` of ten, with durations around 200 µs.
"""

import argparse
from collections.abc import Iterator
from itertools import accumulate
from random import Random

from django.conf import settings

from cache_monitor.calls import RawCall, Source
from cache_monitor.conf import Conf
from cache_monitor.keys.naming import name_key
from cache_monitor.stats.codec import encode
from cache_monitor.stats.window import Window
from cache_monitor.worker.aggregator import Aggregator

RATES = (1, 10, 100, 1000)
MINUTES = 5
KEYS = 100_000
GROUPS = 30
HOSTS, PROCESSES, CACHES = 1000, 32, 5
_OPERATIONS = ("get", "get_many", "set", "delete")
_SHARES = (89, 1, 8, 2)


def main() -> None:
    settings.configure()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rates", nargs="*", type=int, default=RATES, help="calls a second")
    parser.add_argument("--flush-interval", type=int, default=int(Conf().flush_interval))
    parser.add_argument("--hot-keys", type=int, default=Conf().hot_keys)
    arguments = parser.parse_args()
    print(f"FLUSH_INTERVAL {arguments.flush_interval} s, HOT_KEYS {arguments.hot_keys}")
    print("calls/s    window   details    rows/s     bytes/s   1,000 hosts: rows/s     MB/s")
    for rate in arguments.rates:
        Measured(rate, arguments.flush_interval, arguments.hot_keys).print_line()


class Measured:
    """What one process wrote for one cache."""

    def __init__(self, rate: int, interval: int, hot_keys: int) -> None:
        self.rate = rate
        self.rows = self.bytes = 0
        self.finished: dict[type, list[int]] = {}
        self._revisions: dict[int, object] = {}
        self._aggregator = Aggregator(
            "process",
            hot_keys=hot_keys,
            key_groups=Conf().max_key_groups,
            measure=lambda alias, key, version: 1000,
        )
        made = calls(rate)
        for at in range(0, 60 * MINUTES, interval):
            batch = [next(made) for _ in range(rate * interval)]
            self._aggregator.add(batch, 0.0)
            self._flush(at + interval)

    def _flush(self, now: float) -> None:
        """Write what has changed, as cache_monitor.worker.pipeline does."""
        for alias, part in list(self._aggregator.buckets()):
            if part.start + part.seconds < now:
                self._aggregator.seal(part)
            if self._revisions.get(id(part)) != part.revision:
                self._revisions[id(part)] = part.revision
                size = len(encode(part))
                self.rows, self.bytes = self.rows + 1, self.bytes + size
                if part.final:
                    self.finished.setdefault(type(part), []).append(size)
            if part.final:
                self._aggregator.forget(alias, part)
                # Its place in memory, and with it its id, may be the next one's.
                del self._revisions[id(part)]

    def print_line(self) -> None:
        seconds = 60 * MINUTES
        window = _mean([size for kind, each in self.finished.items() if kind is Window
                        for size in each])  # fmt: skip
        details = _mean([size for kind, each in self.finished.items() if kind is not Window
                         for size in each])  # fmt: skip
        everywhere = HOSTS * PROCESSES * CACHES / seconds
        print(
            f"{self.rate:7,} {window:9,.0f} {details:9,.0f} {self.rows / seconds:9.2f}"
            f" {self.bytes / seconds:11,.0f} {self.rows * everywhere:21,.0f}"
            f" {self.bytes * everywhere / 1e6:8,.0f}"
        )


def _mean(sizes: list[int]) -> float:
    return sum(sizes) / len(sizes) if sizes else 0.0


def calls(rate: int) -> Iterator[RawCall]:
    """Calls at an even pace, without end."""
    source = Random(1)
    # Without a digit, which would make one group of all.
    kinds = [f"kind-{chr(97 + n // 10)}{chr(107 + n % 10)}" for n in range(GROUPS)]
    keys = [f"{kinds[n % GROUPS]}:{n}:profile" for n in range(KEYS)]
    assert len({name_key(key).group for key in keys}) == GROUPS
    weights = [*accumulate(1 / (n + 1) for n in range(KEYS))]
    number = 0
    while True:
        drawn = source.choices(keys, cum_weights=weights, k=10)
        for operation in source.choices(_OPERATIONS, _SHARES, k=10):
            started, seconds = number / rate, source.lognormvariate(-8.5, 0.7)
            is_many = operation == "get_many"
            key = tuple(drawn) if is_many else drawn[number % 10]
            hit = (True,) * 10 if is_many else {"get": True}.get(operation)
            yield (
                Source("default", operation), started, seconds, key, hit,
                None, None, None, None, None, None, None,
            )  # fmt: skip
            number += 1


if __name__ == "__main__":
    main()
