"""What watching a cache costs a call: ``python -m tests.benchmarks.calls``.

Compares a bare cache with the monitored one, with the least that a subclass can cost, and with
other tools, for a few operations on LocMemCache, on Redis over loopback through Django's own
client and through django-redis. All run in one process, interleaved (see
:mod:`tests.benchmarks.rounds`), below 40 frames of stack, with the draining thread at work and
the garbage collector on.

*In line* is the time that a caller spends (see :func:`tests.benchmarks.operations.batch`).
*All in* is the CPU time of the whole process, all threads, from the first call to the end of a
flush to the default store (SQLite): for a block of 40,000 calls, which a process that flushes
every ten seconds reaches at 4,000 calls a second; of 4,000 for Redis. A rival's figure holds what
it does at the end of a request: sentry finishes its transaction.

With ``ENABLED`` False a process of its own looks at the classes of all caches.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from time import process_time

import django
from django.core.management import call_command

from cache_monitor import api
from tests.benchmarks.operations import OPERATIONS, Operation, batch
from tests.benchmarks.rounds import at_depth, compare, interleave
from tests.benchmarks.variants import TITLES, Variant, left_out, make_variants
from tests.services import REDIS, run_redis

DEPTH = 40
ALL_IN = tuple(each for each in OPERATIONS if each.name in {"get hit", "get miss"})
BATCH = {"locmem": 500, "redis": 50, "django-redis": 50}
BLOCK = {"locmem": 40_000, "redis": 4_000, "django-redis": 4_000}


def main() -> None:
    """Measure and print; exits with 1 where a disabled monitor is not gone."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench-") as var, _redis():
        os.environ |= {"BENCH_VAR": var, "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings"}
        django.setup()
        call_command("migrate", verbosity=0)
        _say(f"Python {platform.python_version()}, Django {django.__version__}", *left_out())
        is_gone = _disabled_is_gone()
        variants = make_variants()
        for backend in options.backend:
            chosen = [each for each in variants if each.backend == backend]
            if options.only:
                chosen = [each for each in chosen if each.name in ("bare", *options.only)]
            if chosen:
                _in_line(backend, chosen, options.rounds)
                _all_in(backend, chosen, options.blocks)
        api.flush()
    if not is_gone:
        sys.exit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What watching a cache costs a call.")
    parser.add_argument("--rounds", type=int, default=100, help="of batches for the in-line time")
    parser.add_argument("--blocks", type=int, default=9, help="of calls for the CPU time; 0: none")
    parser.add_argument("--backend", action="append", choices=BATCH, help="default: all")
    parser.add_argument("--only", action="append", choices=TITLES, help="beside the bare cache")
    options = parser.parse_args()
    options.backend = options.backend or list(BATCH)
    return options


@contextmanager
def _redis() -> Iterator[None]:
    command = REDIS.find()
    with run_redis(command) if command else nullcontext() as server:
        if server is None:
            _say(f"Redis: left out, it is not installed ({REDIS.how_to_get_it})")
        else:
            os.environ["BENCH_REDIS"] = server.url
        yield


def _disabled_is_gone() -> bool:
    environment = {**os.environ, "BENCH_ENABLED": "0", "BENCH_INSTRUMENT": "all"}
    argv = [sys.executable, "-m", "tests.benchmarks.disabled"]
    return subprocess.run(argv, env=environment, check=False).returncode == 0


def _in_line(backend: str, variants: Sequence[Variant], rounds: int) -> None:
    for operation in OPERATIONS:
        measures = {each.title: _batches(each, operation) for each in variants}
        results = at_depth(DEPTH, partial(interleave, measures, rounds))
        _print(f"{backend}, {operation.name}: in line, a call", results)
        api.flush()


def _all_in(backend: str, variants: Sequence[Variant], blocks: int) -> None:
    for operation in ALL_IN if blocks else ():
        measures = {each.title: _blocks(each, operation) for each in variants}
        results = at_depth(DEPTH, partial(interleave, measures, blocks))
        _print(f"{backend}, {operation.name}: all in, CPU a call", results)


def _batches(variant: Variant, operation: Operation) -> Callable[[], float]:
    calls = variant.calls(BATCH[variant.backend])
    return partial(variant.surround, partial(batch, variant.alias, operation, calls))


def _blocks(variant: Variant, operation: Operation) -> Callable[[], float]:
    calls = variant.calls(BLOCK[variant.backend])
    a_request = variant.calls(BATCH[variant.backend])

    def block() -> float:
        started = process_time()
        for _ in range(calls // a_request):
            variant.surround(partial(batch, variant.alias, operation, a_request))
        if variant.is_ours:
            api.flush()
        return (process_time() - started) / calls

    return block


def _print(heading: str, results: dict[str, list[float]]) -> None:
    _say("", f"{heading:<48}{'µs':>10}{'added ns':>12}{'ratio':>8}")
    for title, figures in compare(results, TITLES["bare"]).items():
        micros, nanos = figures.seconds * 1e6, figures.added * 1e9
        _say(f"  {title:<46}{micros:>10.3f}{nanos:>12,.0f}{figures.ratio:>8.3f}")


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
