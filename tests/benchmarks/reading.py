"""How long a report takes: ``python -m tests.benchmarks.reading``.

Fills a store with what 32 processes and 5 caches leave behind in 24 hours, the older part rolled
up as it would be, and with a year, and times the reports on them. Name a store to measure another
than SQLite: ``postgresql``, ``mariadb`` or ``redis``, each with a server of its own.
"""

import argparse
import os
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import django

from tests.benchmarks.stores import STORES, databases, served

ALIASES = ("default", "sessions", "pages", "fragments", "api")
PROCESSES = [f"{n:032x}" for n in range(32)]
ROUNDS = 7


def main() -> None:
    with chosen(__doc__):
        day, year = 86400, 365 * 86400
        now = int(time.time())
        rows = fill(day_of_rows(now))
        measure(f"24 h of 32 processes and 5 caches ({rows:,} rows)", day)
        rows = fill(year_of_rows(now))
        measure(f"a year of 5 caches ({rows:,} rows more)", year)


@contextmanager
def chosen(about: str | None) -> Iterator[None]:
    """A site with ``ALIASES`` and the store that the command line names."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("store", nargs="?", default="sqlite", choices=STORES)
    store = parser.parse_args().store
    with TemporaryDirectory(prefix="cache-monitor-") as var, ExitStack() as stack:
        Path(var).chmod(0o755)
        os.environ["CACHE_MONITOR_TEST_VAR"] = var
        made = stack.enter_context(served(store, Path(var)))
        if made is None:
            parser.exit(1, f"{store} is not installed\n")
        configure(made)
        yield


def configure(made: Mapping[str, Any]) -> None:
    from django.conf import settings
    from django.core.management import call_command
    from django.urls import get_resolver

    from tests import settings as tests_settings

    locmem = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    site = {name: getattr(tests_settings, name) for name in dir(tests_settings) if name.isupper()}
    site["CACHES"] = dict.fromkeys(ALIASES, locmem)
    site["CACHE_MONITOR"] = {"STORE": made["STORE"]}
    if "DATABASE" in made:
        site["DATABASES"] = databases(made)
    settings.configure(**site)
    django.setup()
    call_command("migrate", verbosity=0)
    # A server has its URLs loaded by the first request, a command by its checks.
    get_resolver().url_patterns  # noqa: B018


def fill(rows: Iterable[object]) -> int:
    from cache_monitor.stores.base import Row, get_store

    made = [row for row in rows if isinstance(row, Row)]
    now = int(time.time())
    for first in range(0, len(made), 1000):
        get_store().put(made[first : first + 1000], now)
    return len(made)


def measure(what: str, seconds: int) -> None:
    from datetime import UTC, datetime, timedelta

    from cache_monitor.api import report

    taken, spent = [], []
    for _ in range(ROUNDS):
        began, busy = time.perf_counter(), time.process_time()
        report(since=datetime.now(UTC) - timedelta(seconds=seconds))
        taken.append(1e3 * (time.perf_counter() - began))
        spent.append(1e3 * (time.process_time() - busy))
    print(
        f"{what}: first {taken[0]:.0f} ms, then {taken[1]:.0f}, from there on median"
        f" {statistics.median(taken[2:]):.0f} ms;"
        f" CPU time {spent[0]:.0f}, {spent[1]:.0f} and {statistics.median(spent[2:]):.0f} ms"
    )


def day_of_rows(now: int) -> Iterator[object]:
    """Processes apart until a stretch is over, its rows have had time to come, and one of them
    merges, half of its interval later on average; then as cache_monitor.worker.rollup has it.
    """
    from cache_monitor.stores.rows import HOUR, LIVE, MERGED, MINUTE, SETTLED
    from cache_monitor.worker.jobs import MERGE_INTERVAL

    minute = now // MINUTE * MINUTE
    merged_to = now - SETTLED - MERGE_INTERVAL // 2
    young = merged_to // MINUTE * MINUTE
    unmerged = merged_to // 10 * 10
    coarse = minute - LIVE
    for alias in ALIASES:
        for process in PROCESSES:
            yield from windows(process, alias, range(unmerged, now - 9, 10), 200)
            yield from details(process, alias, range(young, minute + 1, MINUTE), 1000)
        yield from windows(MERGED, alias, range(coarse, unmerged, 10), 6_400)
        for begin, end, length in (
            (2 * HOUR, LIVE, MINUTE),
            (24 * HOUR, 2 * HOUR, 5 * MINUTE),
        ):
            yield from windows(MERGED, alias, range(minute - begin, minute - end, length), 40_000)
        for begin, end, length in (
            (15 * MINUTE, minute - young, MINUTE),
            (2 * HOUR, 15 * MINUTE, 5 * MINUTE),
            (24 * HOUR, 2 * HOUR, HOUR),
        ):
            yield from details(MERGED, alias, range(minute - begin, minute - end, length), 32_000)


def year_of_rows(now: int) -> Iterator[object]:
    from cache_monitor.stores.rows import DAY, HOUR, MERGED, WEEK

    hour = now // HOUR * HOUR
    year, month, day = hour - 365 * DAY, hour - 35 * DAY, hour - 26 * HOUR
    season = hour - 100 * DAY
    for alias in ALIASES:
        yield from windows(MERGED, alias, range(month, day, HOUR), 100_000)
        yield from windows(MERGED, alias, range(year, month, DAY), 100_000)
        yield from details(MERGED, alias, range(season, hour - 50 * HOUR, DAY), 32_000)
        yield from details(MERGED, alias, range(year, season, WEEK), 32_000)


def windows(process: str, alias: str, starts: range, calls: int) -> Iterator[object]:
    return (window_row(process, alias, start, starts.step, calls) for start in starts)


def details(process: str, alias: str, starts: range, calls: int) -> Iterator[object]:
    return (details_row(process, alias, start, starts.step, calls) for start in starts)


def window_row(process: str, alias: str, start: int, seconds: int, calls: int) -> object:
    from cache_monitor.stats.codec import encode
    from cache_monitor.stats.sketches import Histogram, hash_of
    from cache_monitor.stats.window import Window
    from cache_monitor.stores.base import Row

    known = PROCESSES if not process else [process]
    processes = set(map(hash_of, known))
    window = Window(start, seconds, float(start), processes=processes, final=True)
    for name in ("get", "set", "get_many", "delete"):
        operation = window.operation(name)
        operation.calls = operation.keys = calls
        operation.hits, operation.misses = calls - calls // 10, calls // 10
        operation.seconds, operation.slowest = calls * 5e-5, 1e-3
        operation.times = Histogram({16_000 + n: calls // 40 for n in range(40)})
    window.reasons = {"expired": 2 * (calls // 10), "never_set": calls // 10}
    return Row("window", process, alias, start, seconds, encode(window))


def details_row(process: str, alias: str, start: int, seconds: int, calls: int) -> object:
    """30 groups, of which five have many keys, 20 views, and as many hot keys as that many calls
    leave. One lookup of ten misses."""
    from cache_monitor.stats.codec import encode
    from cache_monitor.stats.details import Details
    from cache_monitor.stats.hot_keys import HotKeys
    from cache_monitor.stats.sketches import add_counts, hash_of
    from cache_monitor.stores.base import Row
    from cache_monitor.stores.rows import KEYS_KEPT

    source = Random(start)
    details = Details(start, seconds, HotKeys(1000), 200, uses=calls, final=True)
    for n in range(min(KEYS_KEPT[seconds], calls // 5)):
        group = f"group-{n % 30}:{{int}}" if n % 2 else f"group-{n % 5}:{{int}}"
        key = f"{group[:-6]}:{source.randrange(10_000)}"
        hit = n % 10 > 0
        hot = details.hot_keys.entry(key, group)
        hot.count(hit, False, 3)
        stats = details.group(group, "key")
        stats.count(hit, False, 3, key)
        stats.add_key(hash_of(key))
        if not hit:
            hot.add_reasons({"expired": 3})
            add_counts(stats.reasons, {"expired": 3})
    for n in range(20):
        view = details.view(f"shop:view-{n}")
        view.requests, view.lookups, view.misses = 10, 100, 10
        stats = details.groups[f"group-{n % 5}:{{int}}"]
        view.sample_hits, view.sample_misses = stats.sample_hits, stats.sample_misses
    return Row("details", process, alias, start, seconds, encode(details))


if __name__ == "__main__":
    main()
