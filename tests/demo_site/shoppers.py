"""Visitors of a healthy shop, and an hour of theirs: ``python -m tests.demo_site.shoppers``.

They come with sessions and ask for cached pages, fragments, querysets and values that were got,
then set. Run as a program they come at the pace of people, for as long as told, to one process
with local memory or to several gunicorn workers with Redis (``--workers 4``), and what the monitor
finds meanwhile is asked again and again over several periods: there must be nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from math import cos, pi
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.demo_site.site import MANAGE, Demo, RunningDemo, Visitor
from tests.services import LOOPBACK, REDIS, free_port, run_redis, run_server

WEIGHTS: Final = {
    "/products/{product}/": 46,
    "/categories/{category}/": 12,
    "/bestsellers/": 7,
    "/new/": 5,
    "/fragments/{category}/": 7,
    "/per-site/": 4,
    "/per-site/{article}/": 5,
    "/": 3,
    "/stock/": 2,
    "/basket/": 4,
    "/admin/": 5,
}
PRODUCTS: Final = 200
ARTICLES: Final = 20
SESSIONS: Final = {"DEMO_SESSION_ENGINE": "django.contrib.sessions.backends.cached_db"}
THINKING: Final = 1.0
"""Seconds that a visitor mostly takes from page to page."""
BUSY_EVERY: Final = 600.0
"""Seconds from one busy time to the next; between them there is a quiet one."""
ASKED_EVERY: Final = 30.0
PERIODS: Final = ("2m", "10m", "1h", "2h")


class Shopper:
    """One visitor who has logged in, so that each of his requests has a session."""

    def __init__(self, visitor: Visitor, seed: int, categories: list[str]) -> None:
        self.random = Random(seed)
        self._visitor = visitor
        self._categories = categories
        visitor.submit("/admin/login/", username="admin", password="admin", next="/admin/")

    def visit(self) -> None:
        """Ask for one page; the first of each kind are wanted most."""
        random, categories = self.random, self._categories
        [path] = random.choices(list(WEIGHTS), list(WEIGHTS.values()))
        place = path.format(
            product=1 + int(PRODUCTS * random.random() ** 3),
            article=1 + int(ARTICLES * random.random() ** 2),
            category=categories[int(len(categories) * random.random() ** 2)],
        )
        assert self._visitor.get(place).status == 200, place


def categories_of(demo: Demo) -> list[str]:
    """The slugs of the shop's categories."""
    code = "from shop.models import Category as c; print(*(each.slug for each in c.objects.all()))"
    return demo.manage("shell", "--verbosity", "0", "--command", code).stdout.split()


def report_of(demo: Demo, *options: str) -> dict[str, Any]:
    """The report as the command prints it."""
    done = demo.manage("cache_stats", "--format", "json", *options)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def main() -> int:
    """0 where nothing was found, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="how long they come")
    parser.add_argument("--visitors", type=int, default=8, help="how many at a time")
    parser.add_argument("--workers", type=int, default=0, help="gunicorn workers, with Redis")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        var = Path(directory) / "var"
        # The demo makes its login only where DEBUG is on.
        Demo(var).prepare()
        demo = Demo(var, {**SESSIONS, "DEMO_DEBUG": "0"})
        with ExitStack() as stack:
            command = REDIS.find() or "redis-server"
            url = stack.enter_context(run_redis(command)).url if options.workers else ""
            return _come(stack.enter_context(running_site(demo, url, options.workers)), options)


@contextmanager
def running_site(demo: Demo, redis_url: str = "", workers: int = 4) -> Iterator[RunningDemo]:
    """The shop in one process with memory of its own; with Redis in that place it has several."""
    if not redis_url:
        with demo.running(ready="/gallery/") as running:
            yield running
        return
    settings = {
        "DJANGO_SETTINGS_MODULE": "tests.demo_site.redis_settings",
        "SHOPPERS_REDIS": redis_url,
    }
    shared = Demo(demo.var, demo.extra_environment | settings)
    address = f"{LOOPBACK}:{free_port()}"
    argv = [sys.executable, "-m", "gunicorn", "config.wsgi", "--bind", address]
    argv += ["--workers", str(workers), "--worker-class", "gthread", "--threads", "2"]
    paths = [shared.environment["PYTHONPATH"], str(MANAGE.parent)]
    environment = {**shared.environment, "PYTHONPATH": os.pathsep.join(paths)}
    with run_server(argv, environment, f"http://{address}/gallery/"):
        yield RunningDemo(shared, f"http://{address}")


def _come(running: RunningDemo, options: argparse.Namespace) -> int:
    demo = running.demo
    began = time.monotonic()
    ends = began + 60 * options.minutes
    categories = categories_of(demo)

    def come(seed: int) -> int:
        return _shop_until(Shopper(running.visitor(), seed, categories), began, ends)

    found: dict[str, Any] = {}
    with ThreadPoolExecutor(options.visitors) as threads:
        visits = [threads.submit(come, seed) for seed in range(options.visitors)]
        _ask_until(demo, ends, found)
        total = sum(each.result() for each in visits)
    # A look into the caches, and the reasons of the last misses, come some seconds later.
    time.sleep(15)
    last = _ask(demo, found)
    _say(f"{total} visits in {(time.monotonic() - began) / 60:.1f} minutes")
    for alias, cache in last["caches"].items():
        if cache["lookups"]:
            reasons = {why: n for why, n in cache["miss_reasons"].items() if n}
            _say(f"{alias}: {cache['lookups']} lookups, {cache['hits']} hits, misses {reasons}")
    for finding in found.values():
        _say(json.dumps(finding))
    _say(f"{len(found)} findings")
    return 1 if found else 0


def _shop_until(shopper: Shopper, began: float, ends: float) -> int:
    visits = 0
    while (now := time.monotonic()) < ends:
        shopper.visit()
        visits += 1
        # From a third of the pace to thrice of it, and back.
        pace = 3 ** -cos(2 * pi * (now - began) / BUSY_EVERY)
        time.sleep(shopper.random.expovariate(pace / THINKING))
    return visits


def _ask_until(demo: Demo, ends: float, found: dict[str, Any]) -> None:
    while time.monotonic() + ASKED_EVERY < ends:
        time.sleep(ASKED_EVERY)
        _ask(demo, found)


def _ask(demo: Demo, found: dict[str, Any]) -> dict[str, Any]:
    """Note what is found over each period; the report of the longest."""
    report: dict[str, Any] = {}
    for period in PERIODS:
        report = report_of(demo, "--since", period)
        for each in report["findings"]:
            place = f"{each['id']} over {period}"
            if place not in found:
                _say(f"found over {period} at {report['generated_at']}: {json.dumps(each)}")
            found.setdefault(place, each)
    return report


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a program's


if __name__ == "__main__":
    sys.exit(main())
