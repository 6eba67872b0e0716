"""How long the dashboard takes to answer: ``python -m tests.benchmarks.dashboard``.

Over what 32 processes and 5 caches leave behind in 24 hours, and asked for those 24 hours: each
page, and the JSON behind its charts. Each is asked when nobody else has just asked the same, which
takes reading the store, and again at once.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator

import django
from msgspec.structs import replace

from cache_monitor.stores.base import Row
from tests.benchmarks.reading import ALIASES, day_of_rows, fill

PAGES = (
    *("", "findings/", "keys/", "groups/", "views/", "memory/", "stale/", "what-if/"),
    "stats.json",
)
ROUNDS = 7


def main() -> None:
    configure()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client

    call_command("migrate", verbosity=0)
    rows = fill([*day_of_rows(int(time.time())), *predicted_rows()])
    print(f"24 h of 32 processes and 5 caches ({rows:,} rows); medians of CPU time")
    client = Client()
    client.force_login(User.objects.create(username="admin", is_staff=True, is_superuser=True))
    for page in PAGES:
        measure(client, page)


def predicted_rows() -> Iterator[Row]:
    """What is predicted of each cache: eight sizes under four policies and the optimum, and five
    timeouts of each of ten groups."""
    from cache_monitor.stats.codec import encode
    from cache_monitor.what_if import GROUPS, Bytes, Policy, StoredPrediction
    from cache_monitor.what_if.simulations import SIZES
    from tests.dashboard.reports import predicted_size, prediction

    few = prediction()
    curve = [predicted_size(round(1000 * each), 0.5 + each / 20, 10 * each) for each in SIZES]
    [group] = few.timeouts
    full = replace(
        few,
        entries=curve,
        bytes=[
            Bytes(bytes=each.entries << 10, entries=each.entries, hit_ratio=None, error=None)
            for each in curve
        ],
        optimum=curve,
        policies=[
            Policy(policy=name, hit_ratio=0.7, error=0.01, entries=curve)
            for name in ("allkeys-lru", "allkeys-lfu", "s3-fifo")
        ],
        timeouts=[replace(group, group=f"group{each}:{{int}}") for each in range(GROUPS)],
    )
    row = StoredPrediction(computed_at=time.time(), cpu_seconds=1.0, predicted=full)
    for alias in ALIASES:
        yield Row("what_if", "", alias, 0, 0, encode(row))


def configure() -> None:
    os.environ["CACHE_MONITOR_TEST_VAR"] = tempfile.mkdtemp(prefix="cache-monitor-")
    from django.conf import settings

    from tests import settings as tests_settings

    chosen = {name: getattr(tests_settings, name) for name in dir(tests_settings) if name.isupper()}
    locmem = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    chosen["CACHES"] = dict.fromkeys(ALIASES, locmem)
    settings.configure(**chosen)
    django.setup()


def measure(client: object, page: str) -> None:
    from django.test import Client

    from cache_monitor.dashboard.query import readings

    assert isinstance(client, Client)
    url = f"/admin/cache_monitor/dashboard/{page}?range=24h"
    first: list[float] = []
    again: list[float] = []
    length = 0
    for _ in range(ROUNDS):
        readings.clear()
        for taken in (first, again):
            began = time.process_time()
            response = client.get(url)
            taken.append(1e3 * (time.process_time() - began))
            assert response.status_code == 200
            length = len(response.content)
    print(
        f"{page or 'overview':12} {statistics.median(first):5.0f} ms,"
        f" again at once {statistics.median(again):4.0f} ms, {length / 1024:,.0f} KB"
    )


if __name__ == "__main__":
    main()
