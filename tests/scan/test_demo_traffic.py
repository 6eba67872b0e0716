"""Caches that the demo's visitors have filled, with stale entries planted among theirs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests import forked
from tests.demo_site.site import MANAGE, Demo
from tests.services import Server

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.xdist_group("demo traffic")]

PLANT = """
import time
from django.core.cache import caches
fresh = [f"planted:fresh:{number}" for number in range(20)]
for alias in ("files", "database", "redis", "memcached"):
    cache = caches[alias]
    cache.set("planted:unread", "x", 5000)
    if alias in ("files", "database"):
        cache.set("planted:gone", "x", -100)
    cache.set("planted:forever", "x", None)
    for key in fresh:
        cache.set(key, "x", 5000)
    for key in (*fresh, "planted:forever"):
        cache.get(key), cache.get(key)
print("PLANTED" + str(time.time()))
"""

SCAN_AS = """
import time
# However long this program had to wait, it scans as the other one ends: who planted may still
# have to report what it read.
late, clock = time.time() - planted_at, time.time
time.time = lambda: clock() - late
from django.core.cache import caches
from cache_monitor.scan.entries import Selection, list_entries
import json
found = {}
for alias in ("files", "database", "redis", "memcached"):
    found[alias] = {"all": 0}
    step = list_entries(alias, Selection(), limit=100_000, seconds=60)
    assert step.cursor is None and step.problem is None, (alias, step.problem)
    found[alias]["all"] = len(step.entries)
    planted = ("planted:unread", "planted:gone", "planted:forever",
               *(f"planted:fresh:{number}" for number in range(20)))
    names = {}
    if alias == "files":
        from cache_monitor.scan.local import UNKNOWN_KEY, file_name
        names = {f"{UNKNOWN_KEY} {file_name(caches[alias], key)[:16]}": key for key in planted}
    for entry in step.entries:
        key = names.get(entry.shown, entry.shown)
        if key in planted:
            found[alias][key] = entry.why
print("FOUND" + json.dumps(found))
"""


ALIASES = ("files", "database", "redis", "memcached")


@pytest.fixture(scope="module")
def filled(
    prepared_demo: Demo,
    tmp_path_factory: pytest.TempPathFactory,
    redis_server: Server,
    memcached_server: Server,
) -> Demo:
    """A demo whose visitors have come and gone."""
    demo = prepared_demo.copy(
        tmp_path_factory.mktemp("visited") / "var",
        REDIS_URL=f"{redis_server.url}/7",
        MEMCACHED=memcached_server.address,
    )
    with demo.running() as running:
        arguments = ["demo_traffic", "--base-url", running.url, "--seconds", "4", "--rate", "20"]
        done = demo.manage(*arguments, "--verbosity", "0")
        assert done.returncode == 0, done.stderr
        for alias in ALIASES:
            assert running.visitor().get(f"/backends/{alias}/").status == 200
    return demo


def run(code: str, environment: dict[str, str]) -> str:
    setup = f"import sys; sys.path.insert(0, {str(MANAGE.parent)!r}); import django; django.setup()"
    return forked.printed(["-c", f"{setup}\n{code}"], environment)


def test_planted_entries_are_found_among_those_of_real_visits(filled: Demo) -> None:
    planted_at = float(run(PLANT, filled.environment).split("PLANTED")[1])
    printed = run(f"planted_at = {planted_at}\n{SCAN_AS}", filled.environment)
    found: dict[str, dict[str, Any]] = json.loads(printed.split("FOUND")[1])
    fresh: dict[str, list[str]] = {f"planted:fresh:{number}": [] for number in range(20)}
    unread = {"planted:unread": ["never_read"]}
    gone = {"planted:gone": ["expired"]}
    forever = {"planted:forever": ["no_expiry"]}
    expected: dict[str, dict[str, list[str]]] = {
        "files": {**fresh, **unread, "planted:gone": ["expired", "never_read"], **forever},
        "database": {**fresh, "planted:unread": [], **gone, **forever},
        "redis": {**fresh, "planted:unread": [], **forever},
        "memcached": {**fresh, **unread, **forever},
    }
    for alias, planted in expected.items():
        visitors = found[alias].pop("all") - len(planted)
        assert found[alias] == planted, alias
        assert visitors > 0, f"the visitors left nothing in {alias}"


def test_the_command_counts_the_visitors_entries_too(filled: Demo) -> None:
    done = filled.manage("cache_scan", "--format", "json", "--top", "200")
    caches = json.loads(done.stdout)["caches"]
    # The gallery has a cache whose server is away.
    assert done.returncode == 3, done.stdout + done.stderr
    assert caches["gallery-away"]["memory"]["problem"]
    for alias in ALIASES:
        memory = caches[alias]["memory"]
        assert memory["exact"], alias
        assert memory["entries"] > 0, alias
        assert sum(group["entries"] for group in memory["groups"]) == memory["entries"], alias
