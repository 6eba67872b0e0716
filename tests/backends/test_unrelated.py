"""Backends that derive from nothing of Django's are recorded like those that do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from cache_monitor.testing import capture_cache_calls
from tests.backends.making import is_recorded, make_recorded
from tests.services import Server


class OwnCache:
    """As much of a cache as Django asks for."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        self._stored: dict[str, Any] = {}

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        return self._stored.get(key, default)

    def set(self, key: str, value: Any, timeout: float | None = None) -> None:
        self._stored[key] = value

    def delete(self, key: str) -> bool:
        return self._stored.pop(key, None) is not None

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        return {key: self._stored[key] for key in keys if key in self._stored}

    def clear(self) -> None:
        self._stored.clear()

    def close(self) -> None:
        """Django closes every cache at the end of a request."""


def test_a_class_with_the_methods_of_a_cache_is_recorded() -> None:
    cache = make_recorded(OwnCache)
    assert (type(cache), is_recorded(cache)) == (OwnCache, True)
    with capture_cache_calls() as calls:
        cache.set("a", 1)
        assert cache.get("a") == 1
        assert cache.get("b", 7) == 7
        assert cache.get_many(["a", "b"]) == {"a": 1}
        assert cache.delete("a")
        cache.clear()
    assert [each.operation for each in calls] == [
        *("set", "get", "get", "get_many", "delete", "clear"),
    ]
    assert (sum(each.hits for each in calls), sum(each.misses for each in calls)) == (2, 2)


def test_a_class_without_them_is_left_alone() -> None:
    class NoCache:
        def __init__(self, location: str, params: dict[str, Any]) -> None:
            pass

        def get(self, key: str) -> str:
            return key

    before = NoCache.get
    assert not is_recorded(make_recorded(NoCache))
    assert NoCache.get is before


def test_django_valkey_is_recorded(redis_server: Server) -> None:
    pytest.importorskip("django_valkey")
    from django_valkey.cache import ValkeyCache

    cache = make_recorded(ValkeyCache, f"valkey://{redis_server.address}/5")
    cache.clear()
    with capture_cache_calls() as calls:
        cache.set("a", None, 300)
        assert cache.get("a", 7) is None
        assert cache.get("b", 7) == 7
        assert cache.get_many(["a", "b"]) == {"a": None}
        assert cache.get_or_set("c", lambda: 3, 300) == 3
        assert cache.ttl("c") > 0
        cache.set_many({"d": 4})
        cache.delete_many(["d"])
    cache.close()
    assert [(each.operation, each.hits, each.misses) for each in calls] == [
        ("set", 0, 0),
        ("get", 1, 0),
        ("get", 0, 1),
        ("get_many", 1, 1),
        ("get_or_set", 0, 1),
        ("ttl", 0, 0),
        ("set_many", 0, 0),
        ("delete_many", 0, 0),
    ]
