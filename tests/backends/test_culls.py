"""What Django's own backends throw out to keep to MAX_ENTRIES is counted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.management import call_command
from django.db import connection
from django.test import override_settings

import cache_monitor
from cache_monitor.reports.caches import memory_of
from cache_monitor.worker import wiring
from cache_monitor.worker.worker import FlushResult
from tests.anew import begin_anew
from tests.clocks import unix_clock
from tests.scan.inspection import inspect_cache

DJANGO = "django.core.cache.backends"
MOST = 12
MONITOR = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}


class OwnWay(LocMemCache):
    """A cache that makes room in its own way."""

    def _cull(self) -> None:
        self._cache.clear()  # type: ignore[attr-defined] # not in the stubs
        self._expire_info.clear()  # type: ignore[attr-defined] # likewise


@pytest.fixture
def site(tmp_path: Path, transactional_db: None) -> Iterator[None]:
    def cache(backend: str, location: str, cull: int = 3) -> dict[str, Any]:
        options = {"MAX_ENTRIES": MOST, "CULL_FREQUENCY": cull}
        return {"BACKEND": backend, "LOCATION": location, "OPTIONS": options}

    entries = {
        "default": cache(f"{DJANGO}.locmem.LocMemCache", "culls"),
        "all": cache(f"{DJANGO}.locmem.LocMemCache", "culls-all", 0),
        "files": cache(f"{DJANGO}.filebased.FileBasedCache", str(tmp_path / "files")),
        "all-files": cache(f"{DJANGO}.filebased.FileBasedCache", str(tmp_path / "all"), 0),
        "table": cache(f"{DJANGO}.db.DatabaseCache", "culled"),
        "all-table": cache(f"{DJANGO}.db.DatabaseCache", "all_culled", 0),
        "own": cache(f"{__name__}.OwnWay", "culls-own"),
    }
    with override_settings(CACHES=entries, CACHE_MONITOR=MONITOR):
        call_command("createcachetable", verbosity=0)
        begin_anew()
        yield
        for alias in entries:
            caches[alias].clear()
        begin_anew()
        for table in ("culled", "all_culled"):
            with connection.cursor() as cursor:
                cursor.execute(f"DROP TABLE {table}")


def evictions(alias: str) -> int | None:
    cache = cache_monitor.report().caches[alias]
    known = [point.evictions for point in cache.series if point.evictions is not None]
    look = inspect_cache(alias, caches[alias], limit=1000, seconds=30, stale_after=60)
    told = sum(known) if known else None
    memory = memory_of(look, told, time.time())
    assert memory.evictions == told
    assert (memory.evictions_since is None) is (told is None)
    return told


@pytest.mark.parametrize("alias", ["default", "all", "files", "all-files", "table", "all-table"])
def test_what_went_to_make_room_was_evicted(site: None, alias: str) -> None:
    cache = caches[alias]
    for number in range(40):
        cache.set(f"user:{number}", "x")
    cache.delete("user:39")
    look = inspect_cache(alias, cache, limit=1000, seconds=30, stale_after=60)
    # Nothing else took anything away.
    assert evictions(alias) == 40 - 1 - (look.entries or 0) > 0


def test_what_went_as_a_stretch_of_the_statistics_ended_is_in_the_report(
    site: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = unix_clock(monkeypatch)
    clock.now = clock.now // 10 * 10 + 9.99
    flush = wiring.background_worker.request_flush

    def flush_later() -> FlushResult:
        clock.go_on(0.02)
        return flush()

    monkeypatch.setattr(wiring.background_worker, "request_flush", flush_later)
    for number in range(40):
        caches["default"].set(f"user:{number}", "x")
    assert evictions("default")


def test_what_had_expired_was_not_evicted(site: None) -> None:
    cache = caches["table"]
    cache.set_many({f"old:{number}": "x" for number in range(8)}, -100)
    cache.set_many({f"user:{number}": "x" for number in range(MOST)}, 60)
    assert evictions("table") == 0


def test_what_was_cleared_was_not_evicted(site: None) -> None:
    for alias in ("default", "files", "table"):
        caches[alias].set("user:1", "x")
        caches[alias].clear()
        assert evictions(alias) == 0


def test_of_a_cache_with_a_way_of_its_own_nothing_is_known(site: None) -> None:
    for number in range(40):
        caches["own"].set(f"user:{number}", "x")
    assert evictions("own") is None


def test_an_instance_of_nobodys_counts_for_no_alias(site: None) -> None:
    mine = LocMemCache("nobodys", {"OPTIONS": {"MAX_ENTRIES": 2}})
    caches["default"].get("user:1")
    for number in range(9):
        mine.set(f"user:{number}", "x")
    assert evictions("default") == 0
