"""``manage.py cache_scan``."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import CommandError, call_command

import cache_monitor
from cache_monitor.scan.schedule import LOCK, LOCK_SECONDS
from cache_monitor.stores.base import get_store
from tests.services import Server

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = 1200


@pytest.fixture
def site(redis_server: Server, settings: Any) -> Iterator[Any]:
    """A cache in Redis, a cache in memory, and a store in this process."""
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"{redis_server.url}/4",
        },
        "own": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "scan"},
    }
    settings.CACHE_MONITOR = {
        "STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"},
        "SCAN_LIMIT": 100,
    }
    cache = caches["default"]
    cache.clear()
    caches["own"].clear()
    cache.set_many({f"item:{number}": "x" for number in range(ENTRIES)}, 900)
    cache.set("forever", "x" * 5000, None)
    yield cache
    cache.clear()
    cache.close()


def scan(*arguments: str) -> str:
    out = StringIO()
    call_command("cache_scan", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_everything_is_gone_through_whatever_the_limit_of_a_look(site: Any) -> None:
    document = json.loads(scan("--format", "json"))
    assert set(document["caches"]) == {"default", "own"}
    found = document["caches"]["default"]
    assert found["backend"] == "django.core.cache.backends.redis.RedisCache"
    memory, stale = found["memory"], found["stale"]
    assert (memory["entries"], memory["exact"], memory["examined"]) == (
        ENTRIES + 1,
        True,
        ENTRIES + 1,
    )
    assert stale["no_expiry"] == 1
    assert stale["entries"][0]["key"] == "forever"
    assert memory["freed_within"]["minute"] == 0
    assert 0 < memory["freed_within"]["hour"] < memory["bytes"]


def test_the_result_is_what_the_report_shows(site: Any) -> None:
    scan("--alias", "default")
    memory = cache_monitor.report(alias="default").caches["default"].memory
    assert (memory.entries, memory.exact, memory.problem) == (ENTRIES + 1, True, None)


def test_the_table_names_what_is_heavy_and_what_is_stale(site: Any) -> None:
    table = scan("--alias", "default", "--top", "1")
    assert re.search(rf"entries {ENTRIES + 1:,} ", table)
    assert re.search(r"item:\{int\} +1,200 ", table)
    assert re.search(r"forever .* no expiry", table)
    assert table.count("no expiry") == 2


@pytest.mark.slow
def test_aliases_of_the_same_entries_are_gone_through_once(site: Any, settings: Any) -> None:
    default = settings.CACHES["default"]
    twins = {"default": default, "twin": default, "next": {**default, "VERSION": 2}}
    settings.CACHES = twins
    table = scan("--top", "1")
    assert "default, twin (django" in table
    assert "  in one store with next\n" in table
    assert len(re.findall(rf"entries {ENTRIES + 1:,} ", table)) == 1
    told = json.loads(scan("--format", "json"))["caches"]
    memories = {alias: each["memory"] for alias, each in told.items()}
    assert {alias: each["counted_in"] for alias, each in memories.items()} == {
        "default": None,
        "twin": "default",
        "next": None,
    }
    assert all(each["aliases"] == list(twins) for each in memories.values())
    shown = cache_monitor.report().caches["twin"].memory
    assert (shown.entries, shown.counted_in) == (ENTRIES + 1, "default")


def test_a_limit_ends_it_and_the_status_says_so(site: Any, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        scan("--alias", "default", "--limit", "300", "--output", str(tmp_path / "result"))
    assert ended.value.code == 3
    table = (tmp_path / "result").read_text()
    examined = re.search(r"scanned ([0-9]+)", table)
    assert examined is not None
    assert 0 < int(examined[1]) <= 300
    assert "entries ~" in table


def test_a_cache_that_cannot_be_asked_is_told_and_the_status_says_so(settings: Any) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://:geheim@127.0.0.1:1",
        }
    }
    settings.CACHE_MONITOR = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("cache_scan", stdout=out)
    assert ended.value.code == 3
    assert "Connection refused" in out.getvalue()
    assert "geheim" not in out.getvalue()


@pytest.mark.parametrize("arguments", [("--alias", "none"), ("--top", "0"), ("--limit", "-1")])
def test_a_wrong_argument_is_named(site: Any, arguments: tuple[str, str]) -> None:
    with pytest.raises(CommandError, match=r"none|--top|--limit"):
        scan(*arguments)


def test_a_file_that_cannot_be_written_is_named(site: Any, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="Nothing was written"):
        scan("--output", str(tmp_path / "no" / "such" / "directory"))


def test_keys_cannot_write_to_the_terminal(site: Any) -> None:
    key = "\x1b[2J\u202ea"
    with pytest.warns(match="memcached"):
        site.set(key, "x" * 9000, None)
    table = scan("--alias", "default")
    assert "\x1b" not in table
    assert "\u202e" not in table


@pytest.mark.django_db
def test_without_a_store_the_result_is_still_printed(site: Any, settings: Any) -> None:
    settings.CACHE_MONITOR = {
        "STORE": {
            "BACKEND": "cache_monitor.stores.redis.RedisStore",
            "OPTIONS": {"URL": "redis://127.0.0.1:1"},
        }
    }
    out, err = StringIO(), StringIO()
    call_command("cache_scan", "--alias", "default", stdout=out, stderr=err)
    assert f"entries {ENTRIES + 1:,}" in out.getvalue()
    assert "printed only" in err.getvalue()


def test_it_waits_while_another_process_looks(site: Any) -> None:
    # As if somebody had begun a while ago: the lock ends within two seconds.
    before = int(time.time()) - LOCK_SECONDS + 2
    assert get_store().lock(LOCK, LOCK_SECONDS, before)
    scan("--alias", "default")
    assert time.time() >= before + LOCK_SECONDS


_SETTINGS = """
SECRET_KEY = "only for this"
INSTALLED_APPS = ["cache_monitor"]
CACHES = {{
    "default": {{
        "BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "{url}"
    }}
}}
CACHE_MONITOR = {{"STORE": {{"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}}}
"""


@pytest.fixture
def large(redis_server: Server, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a site whose cache takes some seconds to go through."""
    from redis import Redis

    client = Redis(host=redis_server.host, port=redis_server.port, db=5)
    client.flushdb()
    script = "for i = 1, 60000 do redis.call('SET', ':1:item:' .. i .. ARGV[1], 'x', 'EX', 900) end"
    for number in range(3):
        client.eval(script, 0, f":{number}")
    (tmp_path / "scan_site.py").write_text(_SETTINGS.format(url=f"{redis_server.url}/5"))
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    yield {**os.environ, "DJANGO_SETTINGS_MODULE": "scan_site", "PYTHONPATH": path}
    client.flushdb()
    client.close()


COMMAND = [sys.executable, "-m", "django", "cache_scan", "--format", "json"]


def test_ctrl_c_prints_what_was_seen_and_the_bar_goes_to_the_terminal(
    large: dict[str, str], tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(COMMAND, env=large, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while b"%" not in shown:  # the bar is there, so it has begun
            shown += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
    os.close(ours)
    memory = json.loads(printed)["caches"]["default"]["memory"]
    assert process.returncode == 130
    assert 0 < memory["examined"] < 180_000
    assert not memory["exact"]
    assert re.search(rb"default \[#* *\] +[0-9]+% ", shown)


def test_no_bar_is_drawn_where_nobody_sees_it(large: dict[str, str]) -> None:
    arguments = [*COMMAND, "--limit", "2000"]
    run = subprocess.run(arguments, env=large, capture_output=True, check=False)
    assert (run.returncode, run.stderr) == (3, b"")


def test_as_a_program_it_lets_all_others_go_first(large: dict[str, str]) -> None:
    own, highest = os.getpriority(os.PRIO_PROCESS, 0), 0
    with subprocess.Popen(COMMAND, env=large, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and highest <= own:
            highest = max(highest, os.getpriority(os.PRIO_PROCESS, process.pid))
            time.sleep(0.02)
        process.terminate()
    assert highest == min(own + 5, 19)


def test_called_by_another_program_it_leaves_that_ones_priority(site: Any) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    scan("--alias", "own")
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
