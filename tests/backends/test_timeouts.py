"""Where a backend makes another timeout of the one that it is given, that one counts."""

import asyncio
import pickle
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from django.test import override_settings
from django_redis.client import DefaultClient, HerdClient

import cache_monitor
from cache_monitor.calls import ChangedTimeout
from cache_monitor.reports import REASONS
from cache_monitor.testing import capture_cache_calls
from tests.anew import begin_anew
from tests.backends.conftest import Heard
from tests.services import Server

MONITOR = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}
SHORT, LONG = 0.01, 500


class ShortInSet(LocMemCache):
    """A backend whose ``set`` gives another timeout than it is given, as one with jitter does."""

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> Any:
        super().set(f"tags:{key}", value, None, version)
        return super().set(key, value, SHORT, version)

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> Any:
        return super().add(key, value, SHORT, version)


class ShortInBackend(LocMemCache):
    """A backend that chooses timeouts where Django makes times of them."""

    def get_backend_timeout(self, timeout: Any = DEFAULT_TIMEOUT) -> Any:
        return time.time() + SHORT


class LongOnServer(RedisCache):
    """The same, of a server's backend, whose timeouts are seconds."""

    def get_backend_timeout(self, timeout: Any = DEFAULT_TIMEOUT) -> Any:
        return LONG


class DiverseMany(LocMemCache):
    """A backend that gives each key another timeout."""

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> Any:
        return super().set(key, value, timeout * int(key), version)


class ShortInClient(DefaultClient):  # type: ignore[misc]  # the package has no types
    """A client of django-redis that gives other timeouts."""

    def set(self, key: Any, value: Any, timeout: Any = None, *args: Any, **kwargs: Any) -> Any:
        return super().set(key, value, SHORT, *args, **kwargs)


class ShortInHerd(HerdClient):  # type: ignore[misc]  # the package has no types
    """The same above a client that keeps entries for longer than it was given."""

    def set(self, key: Any, value: Any, timeout: Any = None, *args: Any, **kwargs: Any) -> Any:
        return super().set(key, value, 20, *args, **kwargs)


class PastDjangos(LocMemCache):
    """A backend that writes by itself, and for as long as it likes."""

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> Any:
        made = self.make_key(key, version)
        self._cache[made] = pickle.dumps(value)  # type: ignore[attr-defined]  # not in the stubs
        self._expire_info[made] = time.time() + SHORT  # type: ignore[attr-defined]  # likewise


class LikeDjangos(LocMemCache):
    """The same, but that it asks for the time as Django's does."""

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> Any:
        made = self.make_key(key, version)
        self._cache[made] = pickle.dumps(value)  # type: ignore[attr-defined]  # not in the stubs
        self._expire_info[made] = self.get_backend_timeout(timeout)  # type: ignore[attr-defined]  # likewise


@pytest.fixture
def site(redis_server: Server) -> Iterator[None]:
    """A cache of each of these backends."""
    own = f"{__name__}."
    django_redis = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis_server.url}
    entries: dict[str, dict[str, Any]] = {
        "default": {"BACKEND": f"{own}ShortInSet", "LOCATION": "set"},
        "backend": {"BACKEND": f"{own}ShortInBackend", "LOCATION": "backend"},
        "many": {"BACKEND": f"{own}DiverseMany", "LOCATION": "many"},
        "past": {"BACKEND": f"{own}PastDjangos", "LOCATION": "past"},
        "like": {"BACKEND": f"{own}LikeDjangos", "LOCATION": "like"},
        "server": {"BACKEND": f"{own}LongOnServer", "LOCATION": redis_server.url},
        "client": {**django_redis, "OPTIONS": {"CLIENT_CLASS": f"{own}ShortInClient"}},
        "herd": {**django_redis, "OPTIONS": {"CLIENT_CLASS": "django_redis.client.HerdClient"}},
        "own_herd": {**django_redis, "OPTIONS": {"CLIENT_CLASS": f"{own}ShortInHerd"}},
        "moved": django_redis,
    }
    with override_settings(CACHES=entries, CACHE_MONITOR=MONITOR):
        begin_anew()
        yield
        for alias in entries:
            caches[alias].clear()
        begin_anew()


def _reasons(alias: str) -> dict[str, int]:
    reasons = cache_monitor.report().caches[alias].miss_reasons
    counts = {name: getattr(reasons, name) for name in (*REASONS, "unknown")}
    return {name: misses for name, misses in counts.items() if misses}


@pytest.mark.parametrize("alias", ["default", "backend", "client"])
@pytest.mark.parametrize("operation", ["set", "set_many", "get_or_set"])
def test_what_the_backend_gave_less_time_has_expired(
    site: None, alias: str, operation: str
) -> None:
    cache = caches[alias]
    with capture_cache_calls() as calls:
        if operation == "set_many":
            cache.set_many({"a": 1}, timeout=300)
        else:
            getattr(cache, operation)("a", 1, timeout=300)
    assert [call.timeout for call in calls] == [300]  # as it was written
    is_looked_up = operation == "get_or_set"
    while cache.get("a") is not None:
        time.sleep(SHORT)
    assert _reasons(alias) == ({"never_set": 1} if is_looked_up else {}) | {"expired": 1}


@pytest.mark.parametrize(
    ("alias", "timeout"), [("herd", 300), ("own_herd", ChangedTimeout(given=300, actual=20))]
)
def test_a_client_that_keeps_entries_for_longer_reads_by_what_it_was_given(
    site: None, heard: Heard, alias: str, timeout: object
) -> None:
    caches["client"].set("a", 1)
    caches[alias].set("a", 1, timeout=300)
    assert heard[-1].timeout == timeout


def test_several_timeouts_in_one_call_are_unknown_unless_they_are_alike(site: None) -> None:
    cache = caches["many"]
    cache.set_many({"1": 1, "2": 1}, timeout=200)
    cache._delete(cache.make_key("1"))  # type: ignore[attr-defined]  # not in the stubs
    cache.get("1")
    assert _reasons("many") == {"unknown": 1}


@pytest.mark.parametrize(
    ("alias", "timeout", "reason"), [("past", 300, "unknown"), ("like", SHORT, "expired")]
)
@pytest.mark.parametrize("operation", ["set", "set_many", "aset"])
def test_a_timeout_is_unknown_where_a_projects_method_writes_without_asking_django(
    site: None, operation: str, alias: str, timeout: float, reason: str
) -> None:
    cache = caches[alias]
    if operation == "set_many":
        cache.set_many({"a": 1}, timeout=timeout)
    elif operation == "aset":
        asyncio.run(cache.aset("a", 1, timeout=timeout))
    else:
        cache.set("a", 1, timeout=timeout)
    while cache.get("a") is not None:
        time.sleep(SHORT)
    assert _reasons(alias) == {reason: 1}


def test_what_the_backend_gave_more_time_has_not_expired(site: None) -> None:
    cache = caches["server"]
    cache.set("a", 1, timeout=0)
    with capture_cache_calls() as calls:
        assert cache.get("a") == 1
    assert calls.hits == 1
    cache._cache.get_client().flushdb()  # type: ignore[attr-defined]  # not in the stubs
    assert cache.get("a") is None
    assert "expired" not in _reasons("server")


def test_of_an_entry_that_django_redis_moved_nobody_knows_how_long_it_lasts(site: None) -> None:
    cache = caches["moved"]
    cache.set("a", 1, timeout=1)
    cache.incr_version("a")
    while cache.get("a", version=2) is not None:
        time.sleep(0.05)
    assert _reasons("moved") == {"unknown": 1}
