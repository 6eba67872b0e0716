"""What is joined to the collector, and what is said where a part of it cannot work."""

from pathlib import Path
from typing import Any

from django.core.cache import caches
from django.test import override_settings

import cache_monitor
from cache_monitor.worker import wiring
from tests.anew import begin_anew

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"


def test_calls_of_a_cache_that_the_settings_have_no_longer_are_counted_all_the_same() -> None:
    memory = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}
    backend = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    begin_anew()
    with override_settings(CACHE_MONITOR=memory):
        with override_settings(CACHES={"default": backend, "gone": backend}):
            caches["gone"].set("a", 1)
            caches["gone"].get("a")
        caches["default"].get("a")
        report = cache_monitor.report(alias="default")
        aliases = {
            alias for alias, _ in wiring.background_worker._drainer.flusher.aggregator.buckets()
        }
    begin_anew()
    assert report.caches["default"].operations["get"].calls == 1
    assert aliases == {"default", "gone"}


def test_what_is_known_of_a_cache_comes_from_its_backend_and_settings(
    settings: Any, tmp_path: Path
) -> None:
    files = "django.core.cache.backends.filebased.FileBasedCache"
    settings.CACHES = {
        "default": {"BACKEND": LOCMEM, "TIMEOUT": 7, "VERSION": 3, "KEY_PREFIX": "site"},
        "twin": {"BACKEND": LOCMEM},
        "files": {"BACKEND": files, "LOCATION": str(tmp_path), "TIMEOUT": None},
        "dummy": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
        "memcached": {
            "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
            "LOCATION": "127.0.0.1:1",
        },
        "moving": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": "redis://127.0.0.1:1",
        },
    }
    memory, twin, plain, dummy, memcached, moving = (
        wiring.cache_identity("one", alias) for alias in settings.CACHES
    )
    assert memory is not None
    assert twin is not None
    assert plain is not None
    assert dummy is not None
    assert memcached is not None
    assert moving is not None
    assert memory[1:6] == (7, "3", "site", True, False)
    assert plain[1:] == (None, "1", "", False, True, True, None, True, False, False, None)
    assert memcached.whole_seconds
    assert not moving.moves_renew
    assert memory.store == twin.store != wiring.cache_identity("another", "default").store  # type: ignore[union-attr]  # it is known
    assert wiring.cache_identity("another", "files") == plain
    assert (memory.evicts, dummy.evicts) == (True, False)
    assert memory.is_full is not None
    assert memory.is_full() is False
    assert memory.stored is not None
    assert wiring.cache_identity("one", "nowhere") is None
