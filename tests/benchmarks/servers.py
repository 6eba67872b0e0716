"""Whether the models hit what real servers hit: ``python -m tests.benchmarks.servers``.

One minute of get-then-set, by Zipf, on Redis servers of half and twice a ``maxmemory`` under
``allkeys-lru`` and ``allkeys-lfu``, and on memcached of 32 and 64 MB: all of them at once, each
asked for the same. Redis' clocks tick once a second, which is why it takes a minute. Then the same
requests are asked of the models, with room for as many entries as each server has held in the end.
"""

import argparse
import importlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from random import Random
from typing import Any, NamedTuple

import redis

from cache_monitor.trace.models.base import Access, Model
from cache_monitor.trace.what_if import POLICIES
from tests.services import run_memcached, run_redis

MEGABYTE = 1024 * 1024
TODAY = 7 * MEGABYTE
"""The ``maxmemory`` of which a half and twice are tried."""
EMPTY_REDIS = 2 * MEGABYTE
"""What a server takes without entries, and beside them, about."""
DIFFERENT = 20_000
VALUE = b"x" * 1500
LARGE = b"x" * 5000


class Server(NamedTuple):
    """A server, how a key is looked up and stored there, and how many entries it has."""

    name: str
    policy: str
    get: Callable[[str], object]
    set: Callable[[str], object]
    entries: Callable[[], int]


def servers(stack: ExitStack) -> Iterator[Server]:
    """All servers, started."""
    command = shutil.which("redis-server") or "redis-server"
    for policy in ("allkeys-lru", "allkeys-lfu"):
        for factor in (0.5, 2.0):
            found = stack.enter_context(run_redis(command))
            client = redis.Redis(host=found.host, port=found.port)
            client.config_set("maxmemory", int(EMPTY_REDIS + factor * TODAY))
            client.config_set("maxmemory-policy", policy)
            yield Server(
                f"Redis {policy}, {factor:g} times the memory",
                policy,
                client.get,
                lambda key, client=client: client.set(key, VALUE),  # type: ignore[misc]  # a default
                lambda client=client: int(client.dbsize()),  # type: ignore[misc]  # likewise
            )
    command = shutil.which("memcached") or "memcached"
    pymemcache: Any = importlib.import_module("pymemcache.client.base")
    for megabytes in (32, 64):
        found = stack.enter_context(run_memcached(command, "-m", str(megabytes)))
        other = pymemcache.Client((found.host, found.port), no_delay=True)
        yield Server(
            f"memcached, {megabytes} MB",
            "memcached",
            other.get,
            lambda key, other=other: other.set(key, LARGE),  # type: ignore[misc]  # a default
            lambda other=other: int(other.stats()[b"curr_items"]),  # type: ignore[misc]  # likewise
        )


def asked_for(number: int) -> Sequence[str]:
    """What is looked up."""
    weights = [rank**-0.9 for rank in range(1, DIFFERENT + 1)]
    return [f"product:{key}" for key in Random(5).choices(range(DIFFERENT), weights, k=number)]


def replay(
    asked: Sequence[str], seconds: float, every: Sequence[Server]
) -> tuple[list[float], Mapping[str, int]]:
    """When each key was asked for, and how often each server had it."""
    hits = dict.fromkeys((server.name for server in every), 0)
    began, times = time.monotonic(), []
    for number, key in enumerate(asked):
        wait = began + seconds * number / len(asked) - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        times.append(time.monotonic() - began)
        for server in every:
            if server.get(key) is None:
                server.set(key)
            else:
                hits[server.name] += 1
    return times, hits


def predicted(server: Server, asked: Sequence[str], times: Sequence[float]) -> float:
    """What the model of its policy hits."""
    model: Model = POLICIES[server.policy](server.entries())
    ratio = model.run(Access(key, at) for key, at in zip(asked, times, strict=True))
    return ratio or 0.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--requests", type=int, default=60_000)
    options = parser.parse_args()
    asked = asked_for(options.requests)
    with ExitStack() as stack:
        every = list(servers(stack))
        times, hits = replay(asked, options.seconds, every)
        print(f"{len(asked):,} requests in {times[-1]:.0f} s, {DIFFERENT:,} keys")
        for server in every:
            real = hits[server.name] / len(asked)
            model = predicted(server, asked, times)
            print(
                f"{server.name:40} {server.entries():6,} entries: hits {100 * real:.2f} %,"
                f" the model {100 * model:.2f} %, {100 * (model - real):+.2f} points"
            )


if __name__ == "__main__":
    main()
