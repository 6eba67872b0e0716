"""``manage.py cache_scan`` over a million keys in Redis, beside what redis-cli takes for them.

    python -m tests.benchmarks.scan [entries]

Tells the seconds of each, the processor time of its own in them, the command's greatest memory, and
what each adds to the p99 of a client that reads all the time. The goals: at most 3 times what
redis-cli takes, at most 2 ms more at the p99, at most 100 MB. On a machine with few processors the
client waits for one of them as well as for Redis: what redis-cli adds is what to compare with.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from redis import Redis

from tests.services import REDIS, Server, run_redis

KEYS = 1_000_000
_BATCH = 10_000
ROUNDS = 1
_ALONE = 5.0
_PAUSE = 0.002
"""Seconds between two reads: the client must not be the load."""

_SETTINGS = """
SECRET_KEY = "only for this"
INSTALLED_APPS = ["cache_monitor"]
CACHES = {{
    "default": {{
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": "{url}",
    }}
}}
CACHE_MONITOR = {{"STORE": {{"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}}}
"""


class Reader:
    """A client that reads one key after the other and remembers how long each took."""

    def __init__(self, server: Server, keys: int) -> None:
        self._client = Redis(host=server.host, port=server.port)
        self._keys = keys
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self.seconds: list[float] = []

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _read(self) -> None:
        number = 0
        while not self._stop.is_set():
            number = (number + 7919) % self._keys
            began = time.perf_counter()
            self._client.get(f":1:user:{number}:profile")
            self.seconds.append(time.perf_counter() - began)
            time.sleep(_PAUSE)

    @property
    def p99(self) -> float:
        """In seconds."""
        return sorted(self.seconds)[len(self.seconds) * 99 // 100]


def fill(server: Server, keys: int) -> None:
    """Entries of a few sizes, most of them with an expiry."""
    with Redis(host=server.host, port=server.port) as client:
        for start in range(0, keys, _BATCH):
            pipeline = client.pipeline(transaction=False)
            for number in range(start, min(start + _BATCH, keys)):
                expiry = None if number % 10 == 0 else 3600 + number % 100_000
                pipeline.set(f":1:user:{number}:profile", b"x" * (50 + number % 200), ex=expiry)
            pipeline.execute()


class Run(NamedTuple):
    """What a program took: seconds, those of processor time of its own, and its greatest memory."""

    seconds: float
    processor: float
    megabytes: float


def timed(argv: list[str], env: dict[str, str] | None = None) -> Run:
    """Run a program to its end."""
    began = time.perf_counter()
    process = subprocess.Popen(
        argv, env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    assert process.stderr is not None
    printed = process.stderr.read().decode()
    process.stderr.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, printed
    return Run(seconds, usage.ru_utime + usage.ru_stime, _megabytes(usage))


def _megabytes(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024 * 1024)


def main(keys: int = KEYS) -> None:
    """Print the figures."""
    command, client = REDIS.find(), shutil.which("redis-cli")
    if command is None or client is None:
        print(f"Redis is not installed: {REDIS.how_to_get_it}")
        return
    with tempfile.TemporaryDirectory() as directory, run_redis(command) as server:
        fill(server, keys)
        (Path(directory) / "scan_settings.py").write_text(_SETTINGS.format(url=server.url))
        path = f"{directory}{os.pathsep}{Path.cwd()}"
        env = {"DJANGO_SETTINGS_MODULE": "scan_settings", "PYTHONPATH": path}
        scan = [sys.executable, "-m", "django", "cache_scan", "--alias", "default"]
        own = [client, "-h", server.host, "-p", str(server.port)]
        programs = {
            "redis-cli --memkeys": [*own, "--memkeys"],
            "redis-cli --bigkeys": [*own, "--bigkeys"],
            "cache_scan": scan,
        }
        compare(server, keys, programs, env)


def compare(server: Server, keys: int, programs: dict[str, list[str]], env: dict[str, str]) -> None:
    """Run the programs in turns, so that what else the machine does meets all of them."""
    runs: dict[str, list[Run]] = {name: [] for name in programs}
    added: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(ROUNDS):
        for name, argv in programs.items():
            with Reader(server, keys) as alone:
                time.sleep(_ALONE)
            with Reader(server, keys) as beside:
                runs[name].append(timed(argv, env))
            added[name].append(beside.p99 - alone.p99)
    print(f"{keys:,} keys, medians of {ROUNDS} rounds, beside a client that reads")
    for name in programs:
        seconds, processor, _ = map(median, zip(*runs[name], strict=True))
        more = median(added[name]) * 1e3
        print(
            f"{name:<20} {seconds:6.1f} s, of them {processor:5.1f} s of processor time;"
            f" adds {more:+.2f} ms to the client's p99"
        )
    _tell_of(runs)


def _tell_of(runs: dict[str, list[Run]]) -> None:
    took = {name: median(each.seconds for each in some) for name, some in runs.items()}
    own = took.pop("cache_scan")
    memory = max(each.megabytes for each in runs["cache_scan"])
    against = " and ".join(f"{own / each:.2f} x {name}" for name, each in took.items())
    print(f"cache_scan takes {against}, and {memory:.0f} MB")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
