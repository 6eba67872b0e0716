"""The least that watching a cache by a subclass can cost: measures for everything else."""

from collections.abc import Iterable
from threading import Thread
from time import perf_counter as clock
from time import sleep
from typing import Any

from cache_monitor.worker.worker import DRAIN_INTERVAL
from tests.benchmarks.bare import DEFAULT_TIMEOUT, BaseCache, LocMemCache, RedisCache


class DoingNothing(BaseCache):
    """Calls the backend's method."""

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        return super().get(key, default, version)

    def set(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        super().set(key, value, timeout, version)

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        return super().get_many(keys, version)


class ReadingClocks(BaseCache):
    """Reads the clock before and after, and forgets what it read."""

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        started = clock()
        value = super().get(key, default, version)
        _ = clock() - started
        return value

    def set(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        started = clock()
        super().set(key, value, timeout, version)
        _ = clock() - started

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        started = clock()
        found = super().get_many(keys, version)
        _ = clock() - started
        return found


_calls: list[tuple[object, ...]] = []


def _drain() -> None:
    """Forget what was recorded, as often as the monitor counts."""
    while True:
        sleep(DRAIN_INTERVAL)
        del _calls[:]


class LeastRecording(BaseCache):
    """Reads the clock twice and appends a tuple to a list, which a thread empties."""

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        started = clock()
        value = super().get(key, default, version)
        _calls.append((started, clock() - started, key))
        return value

    def set(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        started = clock()
        super().set(key, value, timeout, version)
        _calls.append((started, clock() - started, key))

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        started = clock()
        found = super().get_many(keys, version)
        _calls.append((started, clock() - started, keys))
        return found


Thread(target=_drain, daemon=True).start()


class LocMemDoingNothing(DoingNothing, LocMemCache):
    """``DoingNothing`` over Django's local memory cache."""


class LocMemReadingClocks(ReadingClocks, LocMemCache):
    """``ReadingClocks`` over Django's local memory cache."""


class RedisDoingNothing(DoingNothing, RedisCache):
    """``DoingNothing`` over Django's Redis cache."""


class LocMemLeastRecording(LeastRecording, LocMemCache):
    """``LeastRecording`` over Django's local memory cache."""


class RedisLeastRecording(LeastRecording, RedisCache):
    """``LeastRecording`` over Django's Redis cache."""


class RedisReadingClocks(ReadingClocks, RedisCache):
    """``ReadingClocks`` over Django's Redis cache."""
