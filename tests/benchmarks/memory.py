"""The memory that the monitor takes under hostile traffic: ``python -m tests.benchmarks.memory``.

Each scenario runs twice, on a bare cache and on a monitored one, in a process of its own each.
Told are the growth of the peak resident size (so what the cache itself and the traffic take is in
both), and what became of the calls: those in the report and those counted as dropped add up to
those made.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from threading import Thread
from time import perf_counter, sleep

import django
from django.core.cache import CacheKeyWarning, caches
from django.core.cache.backends.base import BaseCache
from django.core.management import call_command

from cache_monitor import api

MEGABYTE = 1_000_000
THREADS = 4
FIRST_LOOK = 25
"""Seconds after which a process has looked, and tidied up, for the first time."""


def long_keys(cache: BaseCache) -> int:
    """2,000 lookups, each of a key of 1 MB of its own."""
    for number in range(2000):
        cache.get(f"{number}:" + "x" * MEGABYTE)
    return 2000


def large_values(cache: BaseCache) -> int:
    """Five values of 100 MB, each written, read and deleted."""
    for number in range(5):
        key = f"large:{number}"
        cache.set(key, bytes(100 * MEGABYTE))
        cache.get(key)
        cache.delete(key)
    return 15


def distinct_keys_paced(cache: BaseCache) -> int:
    """Lookups of a key of its own each, 1,000,000 in a minute."""
    started = perf_counter()
    for turn in range(1000):
        _ask(cache, turn * 1000, 1000)
        sleep(max(0, started + (turn + 1) * 0.06 - perf_counter()))
    return 1_000_000


def distinct_keys(cache: BaseCache) -> int:
    """1,000,000 lookups of as many keys, as fast as one thread can."""
    return _ask(cache, 0, 1_000_000)


def distinct_keys_in_threads(cache: BaseCache) -> int:
    """The same from four threads at once."""
    each = 1_000_000 // THREADS
    threads = [Thread(target=_ask, args=(cache, turn * each, each)) for turn in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return each * THREADS


def large_lookups(cache: BaseCache) -> int:
    """2,000 ``get_many`` of 1,000 keys each, no key twice."""
    for turn in range(2000):
        cache.get_many([f"user:{turn}:{number}" for number in range(1000)])
    return 2000


def _ask(cache: BaseCache, first: int, number: int) -> int:
    for each in range(first, first + number):
        cache.get(f"user:{each}:profile")
    return number


Scenario = Callable[[BaseCache], int]
_ALL = (
    long_keys,
    large_values,
    large_lookups,
    distinct_keys_paced,
    distinct_keys,
    distinct_keys_in_threads,
)
SCENARIOS: dict[str, Scenario] = {each.__name__.replace("_", "-"): each for each in _ALL}


def main() -> None:
    """Run all scenarios, or in the process of one, that one."""
    parser = argparse.ArgumentParser(description="Memory under hostile traffic.")
    parser.add_argument("--scenario", choices=SCENARIOS, help="run only this, in this process")
    parser.add_argument("--alias", default="ours-locmem", help="with --scenario: the cache")
    options = parser.parse_args()
    if options.scenario:
        _measure(options.scenario, options.alias)
        return
    for name, scenario in SCENARIOS.items():
        _say(f"{name}: {scenario.__doc__}")
        for alias in ("bare-locmem", "ours-locmem"):
            argv = [sys.executable, "-m", "tests.benchmarks.memory"]
            subprocess.run([*argv, "--scenario", name, "--alias", alias], check=True)


def _measure(name: str, alias: str) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as var:
        os.environ |= {"BENCH_VAR": var, "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings"}
        django.setup()
        call_command("migrate", verbosity=0)
        warnings.simplefilter("ignore", CacheKeyWarning)
        caches[alias].get("first")
        api.flush()
        # Until the modules are there that a first look and a first tidying up take.
        sleep(FIRST_LOOK)
        before, started = _peak(), perf_counter()
        calls = SCENARIOS[name](caches[alias]) + 1
        seconds, growth = perf_counter() - started, _peak() - before
        api.flush()
        _say(
            f"  {alias:<12} {growth:>7.1f} MB more at most, {_resident() - before:.1f} MB after the"
            f" flush, {seconds:.1f} s; {_accounted(alias, calls)}"
        )


def _accounted(alias: str, made: int) -> str:
    report = api.report(alias=alias)
    recorded = sum(each.calls for each in report.caches[alias].operations.values())
    dropped = report.quality.dropped_calls
    return f"{made:,} calls made, {recorded:,} in the report, {dropped:,} dropped"


def _peak() -> float:
    """The largest resident size so far, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE


def _resident() -> float:
    """The resident size now, in MB."""
    argv = ["ps", "-o", "rss=", "-p", f"{os.getpid()}"]
    found = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return int(found) * 1024 / MEGABYTE


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
