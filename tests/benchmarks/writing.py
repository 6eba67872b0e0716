"""How many flushes a store takes: ``python -m tests.benchmarks.writing``.

Four processes bring what a busy process writes every ``FLUSH_INTERVAL`` for five caches, a window
and details of each, to a server on this machine, each time in the name of another process. Printed:
flushes a second, and what they weigh. Servers that the machine lacks are left out.
"""

import argparse
import multiprocessing
import os
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import django

from tests.benchmarks.stores import STORES, databases, served

WRITERS = 4
SECONDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stores", nargs="*", default=STORES)
    for store in parser.parse_args().stores:
        with TemporaryDirectory(prefix="cache-monitor-") as name, ExitStack() as stack:
            Path(name).chmod(0o755)
            made = stack.enter_context(served(store, Path(name)))
            if made is None:
                print(f"{store:12} is not installed")
                continue
            run = multiprocessing.get_context("spawn").Pool
            with run(WRITERS) as pool:
                pool.apply(create_table, (made,))
                done = pool.map(write, [(made, number) for number in range(WRITERS)])
            flushes = sum(count for count, _ in done)
            size = done[0][1]
            print(
                f"{store:12} {flushes / SECONDS:8,.0f} flushes/s of 10 rows, {size / 1e3:,.0f} kB;"
                f" {flushes * size / SECONDS / 1e6:,.0f} MB/s"
            )


def configure(made: dict[str, Any]) -> None:
    from django.conf import settings

    os.environ["CACHE_MONITOR_TEST_VAR"] = os.devnull
    if not settings.configured:
        settings.configure(
            INSTALLED_APPS=["cache_monitor"],
            CACHE_MONITOR={"STORE": made["STORE"], "ENABLED": False},
            DATABASES=databases(made) if "DATABASE" in made else {},
        )
        django.setup()


def create_table(made: dict[str, Any]) -> None:
    configure(made)
    if "DATABASE" in made:
        from django.core.management import call_command

        call_command("migrate", verbosity=0)


def write(given: tuple[dict[str, Any], int]) -> tuple[int, int]:
    """Flush for a while; how often, and the bytes of one flush."""
    made, number = given
    configure(made)
    from cache_monitor.stores.base import Row, get_store
    from tests.benchmarks.reading import ALIASES, details_row, window_row

    rows = [
        row
        for alias in ALIASES
        for row in (window_row("p", alias, 0, 10, 1000), details_row("p", alias, 0, 60, 5000))
        if isinstance(row, Row)
    ]
    store, count = get_store(), 0
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        store.put([row._replace(process=f"{number}-{count}") for row in rows], 1)
        count += 1
    return count, sum(len(row.payload) for row in rows)


if __name__ == "__main__":
    main()
