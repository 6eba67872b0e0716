"""An hour of a site's use in a moment: its clocks go on where a test has them go.

Calls of the cache and the work that it spares take what the clock is moved on by, so that what was
spared is known to the microsecond, on whatever machine.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final

import pytest
from django.core.cache import BaseCache, caches
from django.core.cache.backends import base, filebased, locmem
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.signals import request_started
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings

import cache_monitor
from cache_monitor.middleware import CacheMonitorMiddleware
from cache_monitor.reports import Report
from cache_monitor.worker import worker
from tests.anew import begin_anew
from tests.clocks import Clock, traffic_clock

HOUR: Final = 3600.0
CALL: Final = 0.0002
"""Seconds that a call of the cache takes: a server in the same data centre."""

_clocks: list[Clock] = []


class _Distant(BaseCache):
    """A cache that a call takes time to reach."""

    def get(self, *args: Any, **kwargs: Any) -> Any:
        _clocks[-1].go_on(CALL)
        return super().get(*args, **kwargs)

    def set(self, *args: Any, **kwargs: Any) -> None:
        _clocks[-1].go_on(CALL)
        super().set(*args, **kwargs)

    def add(self, *args: Any, **kwargs: Any) -> bool:
        _clocks[-1].go_on(CALL)
        return super().add(*args, **kwargs)

    def incr(self, *args: Any, **kwargs: Any) -> int:
        _clocks[-1].go_on(CALL)
        return super().incr(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> bool:
        _clocks[-1].go_on(CALL)
        return super().delete(*args, **kwargs)


class NoCache(DummyCache):
    """What a site has that does without."""


class DistantFiles(_Distant, FileBasedCache):
    """Entries in files, for packages that take no memory for a shared cache."""


class DistantMemory(_Distant, LocMemCache):
    """Entries in memory, several of which can be asked for at once."""

    def get_many(self, *args: Any, **kwargs: Any) -> Any:
        _clocks[-1].go_on(CALL)
        values = {key: LocMemCache.get(self, key, _ABSENT) for key in args[0]}
        return {key: value for key, value in values.items() if value is not _ABSENT}

    def set_many(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        _clocks[-1].go_on(CALL)
        for key, value in data.items():
            LocMemCache.set(self, key, value, *args, **kwargs)
        return []


_ABSENT: Final = object()


class _Times:
    """The module ``time`` as Django's caches see it."""

    def __init__(self, clock: Clock, began: float) -> None:
        self._clock, self._ahead = clock, began - clock.now

    def time(self) -> float:
        return self._clock.now + self._ahead

    def monotonic(self) -> float:
        return self._clock.now

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class SimulatedHour:
    """Requests that come at times of their own, and the work that they do or are spared."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.began = clock.now
        self.worked = 0.0
        """Seconds."""

    @property
    def cache(self) -> BaseCache:
        return caches["default"]

    def work(self, seconds: float, value: Any = "value") -> Any:
        """Do what takes so long."""
        self.clock.go_on(seconds)
        self.worked += seconds
        return value

    def visit(self, view: Callable[[HttpRequest], Any], path: str = "/", **headers: Any) -> Any:
        """Serve a request behind the middleware."""

        def serve(request: HttpRequest) -> HttpResponse:
            answer = view(request)
            return answer if isinstance(answer, HttpResponse) else HttpResponse()

        request_started.send(sender=None)
        request = RequestFactory().get(path, **headers)
        return CacheMonitorMiddleware(serve)(request)

    def moments(self, requests: int) -> Iterator[int]:
        """So many requests, evenly over an hour."""
        for number in range(requests):
            due = self.began + (number + 0.5) * HOUR / requests
            if due > self.clock.now:
                self.clock.go_on(due - self.clock.now)
            yield number

    def report(self) -> Report:
        assert cache_monitor.flush()
        return cache_monitor.report()


def _modules_with_times(packages: Sequence[str]) -> Iterator[ModuleType]:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in packages and vars(module).get("time") is time:
            yield module


@contextmanager
def simulated_hour(
    monkeypatch: pytest.MonkeyPatch,
    *,
    backend: str = "DistantMemory",
    location: str = "hours",
    packages: Sequence[str] = (),
    room: int = 50_000,
    key_function: str = "",
) -> Iterator[SimulatedHour]:
    """A process that has recorded nothing, with a store of its own, an hour ago; the clocks of
    ``packages`` go with it. Its cache has ``room`` for so many entries."""
    memory = {
        "BACKEND": f"tests.idioms.hours.{backend}",
        "LOCATION": location,
        "OPTIONS": {"MAX_ENTRIES": room},
        "KEY_FUNCTION": key_function or None,
    }
    store = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}
    with override_settings(CACHES={"default": memory}, CACHE_MONITOR=store):
        begin_anew()
        # The draining thread counts when it is asked. By itself it would be minutes late: in the
        # moment that it takes minutes pass.
        monkeypatch.setattr(worker, "DRAIN_INTERVAL", HOUR)
        began = time.time() - HOUR
        clock = traffic_clock(monkeypatch, began)
        _clocks.append(clock)
        times = _Times(clock, began)
        for module in (base, filebased, locmem, *_modules_with_times(packages)):
            monkeypatch.setattr(module, "time", times)
        try:
            yield SimulatedHour(clock)
        finally:
            monkeypatch.undo()
            begin_anew()
            caches["default"].clear()
            _clocks.pop()
