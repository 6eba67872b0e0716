"""Predict, then do it: ``python -m tests.benchmarks.predicted [TRIAL ...]``.

Four gunicorn workers serve a site with the monitor in it. Its visitors come by chance (Poisson) and
ask for products, some far more often than others (Zipf). The site has the same cache several times:
as it is, and as it could be, with another timeout, size or policy. Every page asks all of them for
the same. Then ``cache_whatif`` is asked what the others would hit, of which it has the trace of the
first alone; beside that stands what they did hit.

- ``timeouts``: a Redis without a limit; timeouts of two and four times.
- ``locmem``: ``MAX_ENTRIES`` of a half, two and four times, in each worker.
- ``files``: the same of a ``FileBasedCache``, which all workers share.
- ``redis``: ``maxmemory`` of a half and twice, under ``allkeys-lru`` and ``allkeys-lfu``.
- ``volatile``: the same under ``volatile-lru``, and the other ``volatile-`` policies in its place.
- ``memcached``: 64 MB in place of 32.

Redis' clocks tick once a second, and its counters fall once a minute: ``--seconds`` are minutes.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any, NamedTuple

import redis

from cache_monitor.scan.memcached import Connection
from tests.services import LOOPBACK, free_port, run_memcached, run_redis, run_server

MEGABYTE = 1024 * 1024
WORKERS = 4
AT_A_TIME = 10
"""Lookups of a page in each cache."""
_REDIS = "django.core.cache.backends.redis.RedisCache"
_LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
_FILES = "django.core.cache.backends.filebased.FileBasedCache"
_MEMCACHED = "django.core.cache.backends.memcached.PyMemcacheCache"

Caches = dict[str, dict[str, Any]]


class Change(NamedTuple):
    """A change of the cache ``of``: the options of ``cache_whatif`` by which it is asked for, where
    its answer is, and the cache in which it was made."""

    name: str
    of: str
    done_in: str
    asked: Sequence[str]
    answer: Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Trial(NamedTuple):
    """The caches of a site, and what is tried in them; how many keys, from how many bytes to how
    many their values have, and for how long they are stored; Redis' URLs."""

    caches: Caches
    changes: Sequence[Change]
    different: int
    sizes: str
    timeouts: tuple[float, float] | None = None
    servers: Mapping[str, str] = MappingProxyType({})


def timeouts(stack: ExitStack, seconds: float) -> Trial:
    # The trace has to be as long as twice the longest timeout.
    timeout = max(1, int(seconds / 10))
    server = stack.enter_context(run_redis(_program("redis-server")))
    factors = {"as it is": 1, "twice": 2, "four times": 4}
    return Trial(
        {
            _alias(name): {
                "BACKEND": _REDIS,
                "LOCATION": f"{server.url}/0",
                "KEY_PREFIX": str(factor),
                "TIMEOUT": factor * timeout,
            }
            for name, factor in factors.items()
        },
        [
            Change(
                f"a timeout of {factor * timeout} s instead of {timeout}",
                "default",
                _alias(name),
                ("--timeout-factor", str(factor)),
                lambda cache: cache["timeouts"][0]["options"][0],
            )
            for name, factor in factors.items()
            if factor > 1
        ],
        2000,
        "100,1000",
    )


def locmem(stack: ExitStack, seconds: float) -> Trial:
    return _by_entries(_LOCMEM, "")


def files(stack: ExitStack, seconds: float) -> Trial:
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-files-"))
    return _by_entries(_FILES, f"{folder}/")


def _by_entries(backend: str, location: str) -> Trial:
    sizes = {"as it is": 300, "half": 150, "twice": 600, "four times": 1200}
    return Trial(
        {
            _alias(name): {
                "BACKEND": backend,
                "LOCATION": f"{location}{_alias(name)}",
                "TIMEOUT": None,
                "OPTIONS": {"MAX_ENTRIES": size},
            }
            for name, size in sizes.items()
        },
        [
            Change(
                f"MAX_ENTRIES {size:,} instead of 300",
                "default",
                _alias(name),
                ("--entries", str(size)),
                lambda cache: cache["entries"][0],
            )
            for name, size in sizes.items()
        ],
        2000,
        "100,1000",
    )


def redis_memory(stack: ExitStack, seconds: float) -> Trial:
    caches: Caches = {}
    changes, servers = [], {}
    for policy in ("allkeys-lru", "allkeys-lfu"):
        own = "default" if policy == "allkeys-lru" else policy
        for name, factor in (("", 1.0), ("half", 0.5), ("twice", 2.0)):
            limit, url = _limited(stack, policy, factor)
            alias = f"{policy}-{name}" if name else own
            caches[alias] = {"BACKEND": _REDIS, "LOCATION": url, "TIMEOUT": None}
            servers[alias] = url
            text = f"{policy}: maxmemory {limit:,}, {name or 'as it is'}"
            asked = ("--bytes", str(limit))
            changes.append(Change(text, own, alias, asked, lambda cache: cache["bytes"][0]))
    return Trial(caches, changes, 8000, "500,4500", servers=servers)


def volatile(stack: ExitStack, seconds: float) -> Trial:
    servers: dict[str, str] = {}
    changes = []
    for name, factor in (("as it is", 1.0), ("half", 0.5), ("twice", 2.0)):
        alias = _alias(name)
        limit, servers[alias] = _limited(stack, "volatile-lru", factor)
        text = f"volatile-lru: maxmemory {limit:,}, {name}"
        asked = ("--bytes", str(limit))
        changes.append(Change(text, "default", alias, asked, lambda cache: cache["bytes"][0]))
    for policy in ("volatile-ttl", "volatile-lfu", "volatile-random"):
        _, servers[policy] = _limited(stack, policy, 1.0)
        text = f"{policy} instead of volatile-lru"
        asked = ("--policy", policy)
        changes.append(Change(text, "default", policy, asked, lambda cache: cache["policies"][0]))
    caches = {alias: {"BACKEND": _REDIS, "LOCATION": url} for alias, url in servers.items()}
    return Trial(caches, changes, 8000, "500,4500", (seconds / 4, seconds), servers)


def _limited(stack: ExitStack, policy: str, factor: float) -> tuple[int, str]:
    """A Redis that evicts, with room for so many times as much as the one that is the site's now:
    its ``maxmemory``, and its URL."""
    server = stack.enter_context(run_redis(_program("redis-server")))
    with redis.Redis.from_url(server.url) as client:
        empty = int(client.info("memory")["used_memory_startup"])
        limit = empty + int(factor * 5 * MEGABYTE)
        client.config_set("maxmemory", limit)
        client.config_set("maxmemory-policy", policy)
    return limit, server.url


def memcached(stack: ExitStack, seconds: float) -> Trial:
    caches: Caches = {}
    changes = []
    for megabytes in (32, 64):
        command = _program("memcached")
        server = stack.enter_context(run_memcached(command, "-m", str(megabytes)))
        alias = "default" if megabytes == 32 else "twice"
        caches[alias] = {"BACKEND": _MEMCACHED, "LOCATION": server.address, "TIMEOUT": None}
        text = f"memcached of {megabytes} MB instead of 32"
        asked = ("--bytes", f"{megabytes}MB")
        changes.append(Change(text, "default", alias, asked, lambda cache: cache["bytes"][0]))
    return Trial(caches, changes, 8000, "4000,28000")


TRIALS: Mapping[str, Callable[[ExitStack, float], Trial]] = {
    "timeouts": timeouts,
    "locmem": locmem,
    "files": files,
    "redis": redis_memory,
    "volatile": volatile,
    "memcached": memcached,
}


def _alias(name: str) -> str:
    return "default" if name == "as it is" else name.replace(" ", "-")


def _program(name: str) -> str:
    return shutil.which(name) or name


class Visited(NamedTuple):
    """The lookups in each cache, the hits by cache, and what went wrong, how often."""

    lookups: int
    hits: Counter[str]
    errors: Counter[str]


def visit(url: str, different: int, pages: float, seconds: float) -> Visited:
    """Ask for ``pages`` a second, at times of chance."""
    random = Random(5)
    weights = list(accumulate(rank**-0.9 for rank in range(1, different + 1)))
    hits, errors = Counter[str](), Counter[str]()
    began = at = time.monotonic()
    asked = []
    with ThreadPoolExecutor(2 * WORKERS) as visitors:
        while at < began + seconds:
            at += random.expovariate(pages)
            time.sleep(max(0.0, at - time.monotonic()))
            keys = random.choices(range(different), cum_weights=weights, k=AT_A_TIME)
            query = "&".join(f"key={key}" for key in keys)
            asked.append(visitors.submit(_page, f"{url}?{query}"))
    for each in asked:
        found = each.result()
        hits.update(found["hits"])
        errors.update(found["errors"])
    return Visited(AT_A_TIME * len(asked), hits, errors)


def _page(url: str) -> Mapping[str, Any]:
    with urllib.request.urlopen(url, timeout=600) as response:  # noqa: S310 - of our own server
        found: Mapping[str, Any] = json.load(response)
    return found


def predicted(change: Change, environment: Mapping[str, str], since: str) -> Mapping[str, Any]:
    """What the monitor says of a change."""
    command = [sys.executable, "-m", "django", "cache_whatif", "--format", "json"]
    options = ["--since", since, "--alias", change.of, "--timeout-factor", "", *change.asked]
    done = subprocess.run(
        [*command, *options], env={**os.environ, **environment}, capture_output=True, check=True
    )
    cache: Mapping[str, Any] = json.loads(done.stdout)["caches"][change.of]
    if cache["problem"] is not None:
        sys.exit(cache["problem"])
    return {**change.answer(cache), "now": cache["hit_ratio"], "policy": cache["policy"]}


def told(trial: Trial, environment: dict[str, str], pages: float, seconds: float) -> Iterator[str]:
    """What was predicted, and what was observed."""
    port = free_port()
    argv = [sys.executable, "-m", "gunicorn", "tests.benchmarks.predicted_site:served()"]
    argv += ["--workers", str(WORKERS), "--bind", f"{LOOPBACK}:{port}", "--no-control-socket"]
    # On a busy machine a page may take longer than a worker is given, which is then an error 500.
    argv += ["--timeout", "600"]
    url = f"http://{LOOPBACK}:{port}/"
    since = datetime.now(UTC).isoformat()
    with run_server(argv, environment, url) as site:
        try:
            lookups, hits, errors = visit(url, trial.different, pages, seconds)
        except OSError as error:
            # The site's own words say why.
            sys.exit(f"{error!r}\n{site.output}")
    yield f"{lookups:,} lookups in {seconds:.0f} s"
    for text, number in errors.items():
        yield f"{number:,} times {text}"
    for change in trial.changes:
        found = predicted(change, environment, since)
        before, after = hits[change.of] / lookups, hits[change.done_in] / lookups
        yield (
            f"{change.name}: hit {100 * before:.2f} %, the simulation of it"
            f" {100 * found['now']:.2f} % ({found['policy']});"
            f" predicted {100 * found['hit_ratio']:.2f} % ±{100 * found['error']:.2f},"
            f" then observed {100 * after:.2f} %: {100 * (found['hit_ratio'] - after):+.2f} points"
            f"{_evicted(trial, change)}"
        )


def _evicted(trial: Trial, change: Change) -> str:
    """How much went for want of room, where the server tells."""
    location = trial.caches[change.done_in]["LOCATION"]
    if change.done_in in trial.servers:
        with redis.Redis.from_url(location) as client:
            return f"; {client.info('stats')['evicted_keys']} evicted"
    if trial.caches[change.done_in]["BACKEND"] != _MEMCACHED:
        return ""
    with closing(Connection(location)) as server:
        stats = server.stats()
    return f"; {stats['evictions']} evicted, {stats['slabs_moved']} pages moved"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("trials", nargs="*", help=f"of {', '.join(TRIALS)}; default: all")
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--pages", type=float, default=20.0, help="a second")
    options = parser.parse_args()
    for name in options.trials or TRIALS:
        with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="bench-") as var:
            trial = TRIALS[name](stack, options.seconds)
            environment = {
                "DJANGO_SETTINGS_MODULE": "tests.benchmarks.predicted_site",
                "PREDICTED_CACHES": json.dumps(trial.caches),
                "PREDICTED_STORE": str(Path(var) / "monitor.sqlite3"),
                "PREDICTED_SIZES": trial.sizes,
                "PREDICTED_TIMEOUTS": json.dumps(trial.timeouts),
            }
            for line in told(trial, environment, options.pages, options.seconds):
                print(f"{name}: {line}", flush=True)


if __name__ == "__main__":
    main()
