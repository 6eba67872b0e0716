"""Why gets missed in processes of one site, forked from each other or not."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import find_or_leave, redis_with_little_room
from tests.programs.misses import ROUNDS, WORKERS, keys_in
from tests.services import LOOPBACK, MEMCACHED, Server, answers_line, free_port, run_process
from tests.test_processes import Site

pytestmark = pytest.mark.at_once("processes")


def _assert_right_in_four_workers(var: Path, backend: str, location: str = "") -> None:
    """At least 99 % right; wrong, rather than unknown, at most 1 % of any reason."""
    site = Site(var)
    site.environment = {**site.environment, "SERVER": location, "TMPDIR": str(var)}
    site.manage("migrate", "--verbosity", "0")
    out, _ = site.run("tests.programs.misses", backend)
    found: dict[str, Any] = json.loads(out)
    misses, all_keys = found["misses"], WORKERS * keys_in(backend)
    each_time = ROUNDS * all_keys
    assert set(misses) == {
        "cleared",
        "deleted",
        "moved",
        "both",
        "elsewhere",
        "expired",
        "never",
        "evicted",
    }
    for name, expected in {
        "cleared": {"cleared": each_time},
        "deleted": {"deleted": each_time},
        "moved": {"version_changed": each_time},
        "both": {"version_changed": each_time // 2, "deleted": each_time // 2},
        "elsewhere": {"version_changed": each_time},
        # Written by get_or_set, which misses itself: at first, and after each clear().
        "expired": {
            "expired": each_time,
            "never_set": all_keys,
            "cleared": each_time - all_keys,
        },
        "never": {"never_set": each_time},
        "evicted": {"evicted": misses["evicted"]["misses"]},
    }.items():
        counts = dict(misses[name])
        total = counts.pop("misses")
        assert total == sum(expected.values()) > 0, name
        right = sum(min(counts.get(reason, 0), each) for reason, each in expected.items())
        assert right >= 0.99 * total, (name, counts)
        assert sum(counts.values()) - right <= 0.01 * total, (name, counts)
    for cache in found["reported"].values():
        assert sum(cache["reasons"].values()) == cache["misses"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["locmem", "files", "database"])
def test_four_forked_workers_know_why_they_miss(tmp_path: Path, backend: str) -> None:
    _assert_right_in_four_workers(tmp_path, backend)


@pytest.mark.slow
@pytest.mark.redis
def test_four_forked_workers_know_why_they_miss_in_redis(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    with redis_with_little_room(pytestconfig) as server:
        _assert_right_in_four_workers(tmp_path, "redis", server.url)


@pytest.mark.slow
@pytest.mark.memcached
def test_four_forked_workers_know_why_they_miss_in_a_small_memcached(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    server = Server("memcached", LOOPBACK, free_port())
    command = find_or_leave(MEMCACHED, pytestconfig)
    argv = [command, "-l", server.host, "-p", str(server.port), "-U", "0", "-m", "4"]
    argv += ["-u", "nobody"] if os.geteuid() == 0 else []
    with run_process(argv, lambda: answers_line(server, b"version", b"VERSION")):
        _assert_right_in_four_workers(tmp_path, "memcached", server.address)


def test_processes_that_are_not_forked_from_each_other_share_the_trace(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.environment = {**site.environment, "TMPDIR": str(tmp_path)}
    site.manage("migrate", "--verbosity", "0")
    work = "from django.core.cache import caches; files = caches['files']; "
    for calls in ("files.set('a', 1)", "files.delete('a')", "files.get('a'); files.get('b')"):
        site.run("django", "shell", "--no-imports", "-c", work + calls)
    reasons = site.stats()["caches"]["files"]["miss_reasons"]
    assert (reasons["deleted"], reasons["never_set"], reasons["unknown"]) == (1, 1, 0)
