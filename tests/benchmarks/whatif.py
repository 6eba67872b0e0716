"""How well a sample of the keys predicts hit ratios: ``python -m tests.benchmarks.whatif``.

``--traces FOLDER`` takes recorded requests as well: files ``*.trace.xz`` of big-endian 32-bit keys,
one a request, such as those of the cache2k benchmarks. Against an exact simulation of all keys it
prints the mean absolute error over ten sizes, and over five timeouts and none, in points, and in
how many of the samplings the truth was within the stated error.
"""

import argparse
import lzma
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from math import inf
from pathlib import Path
from random import Random

from cache_monitor.trace import HOT_KEYS
from cache_monitor.what_if.hit_ratios import Prediction, predict
from cache_monitor.what_if.simulated_caches import Access
from cache_monitor.what_if.simulated_servers import RedisLru
from cache_monitor.what_if.workload import SimulatedCall

Predicted = Callable[[Sequence[SimulatedCall]], Sequence[Prediction]]

SIZES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8)
"""Of the different keys."""
TIMEOUT = 300.0
"""Seconds, where there is one; fifty requests come in each."""
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0, inf)
SAMPLES = (8192, 2048)
MOST = 500_000
"""Requests of a trace that are taken."""


def recorded(folder: Path) -> Iterator[tuple[str, Sequence[int]]]:
    for path in sorted(folder.glob("*.trace.xz")):
        keys = array("I")
        keys.frombytes(lzma.decompress(path.read_bytes()))
        keys.byteswap()
        yield path.name.partition(".")[0], keys[:MOST]


def made() -> Iterator[tuple[str, Sequence[int]]]:
    for exponent in (0.8, 1.0):
        weights = [rank**-exponent for rank in range(1, 50_001)]
        yield f"Zipf({exponent})", Random(1).choices(range(50_000), weights, k=300_000)


def simulated_calls(
    keys: Sequence[int], sampled: int, salt: int, timeout: float = inf
) -> list[SimulatedCall]:
    """The requests of the hottest keys and of about ``sampled`` others; entries last so long."""
    counts = Counter(keys)
    hot = {key for key, _ in counts.most_common(HOT_KEYS)}
    share = min(1.0, sampled / len(counts))
    kept = {key for key in counts if key in hot or _chance(key, salt) < share}
    return [
        SimulatedCall(
            "get", Access(key, at / 50, timeout, 1.0, 1.0 if key in hot else 1 / share), True
        )
        for at, key in enumerate(keys)
        if key in kept
    ]


def _chance(key: int, salt: int) -> float:
    digest = blake2b(b"%d:%d" % (salt, key), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48


def by_timeout(asked: Sequence[SimulatedCall]) -> Sequence[Prediction]:
    return [predict(asked, RedisLru, inf, factor=each) for each in FACTORS]


def by_size(asked: Sequence[SimulatedCall], sizes: Sequence[int]) -> Sequence[Prediction]:
    return [predict(asked, RedisLru, each) for each in sizes]


def told(
    keys: Sequence[int],
    samplings: int,
    predicted: Predicted,
    timeout: float,
) -> Iterator[str]:
    """How far what is ``predicted`` of samples of the keys is off, for each size of a sample."""
    exact = predicted(simulated_calls(keys, len(keys), 0, timeout))
    for sampled in SAMPLES:
        errors, within = [], 0
        for salt in range(samplings):
            some = predicted(simulated_calls(keys, sampled, salt, timeout))
            for found, truth in zip(some, exact, strict=True):
                errors.append(abs((found.hit_ratio or 0.0) - (truth.hit_ratio or 0.0)))
                within += errors[-1] <= (found.error or 0.0) + 1e-9
        mean = 100 * sum(errors) / len(errors)
        yield (
            f"{sampled:6,} keys: {mean:.2f} points, {100 * max(errors):.2f} at most,"
            f" within the stated error {within} of {len(errors)}"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--traces", type=Path)
    parser.add_argument("--samplings", type=int, default=5)
    options = parser.parse_args()
    for name, keys in [*made(), *(recorded(options.traces) if options.traces else ())]:
        sizes = [max(1, round(len(set(keys)) * share)) for share in SIZES]
        kinds: Mapping[str, Predicted] = {
            "timeouts": by_timeout,
            "sizes": partial(by_size, sizes=sizes),
        }
        for kind, predicted in kinds.items():
            timeout = TIMEOUT if kind == "timeouts" else inf
            for line in told(keys, options.samplings, predicted, timeout):
                print(f"{name:10} {kind:8} {line}", flush=True)


if __name__ == "__main__":
    main()
