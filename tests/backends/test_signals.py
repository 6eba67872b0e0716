"""What a signal's handler raises in the midst of a call reaches the caller, wherever it comes."""

import gc
import os
import random
import signal
import timeit
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache

from cache_monitor import context
from cache_monitor.calls import recorder
from cache_monitor.instrument.fastpath import sized_get, sized_get_many, sized_set
from cache_monitor.instrument.install import is_ours, original_of, signature_of
from cache_monitor.instrument.observe import ObservedOperation, observed
from tests.backends.making import make_recorded
from tests.backends.odd import NativeCache

SIGNALS = int(os.environ.get("CACHE_MONITOR_SIGNALS", "100"))
CALLS = 30
"""In a row, so that the signal comes in the midst of one."""


class TimeLimitError(Exception):
    """Like the soft time limit of a task queue: an ordinary exception."""


class Alarm:
    """Has a signal come after a random time, and counts."""

    def __init__(self) -> None:
        self.rung = 0
        self.random = random.Random(20261123)

    def __call__(self, signum: int, frame: object) -> None:
        self.rung += 1
        raise TimeLimitError

    def run(self, call: Callable[[], Any], within: float) -> Any:
        signal.setitimer(signal.ITIMER_REAL, self.random.uniform(1e-6, within))
        try:
            return call()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.fixture
def alarm() -> Iterator[Alarm]:
    alarm = Alarm()
    before = signal.signal(signal.SIGALRM, alarm)
    # Python itself forgets what is raised while the garbage collector runs a finalizer.
    gc.disable()
    yield alarm
    gc.enable()
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """What was taken for a fault of ours."""
    faults: list[Exception] = []
    monkeypatch.setattr(recorder, "failed", faults.append)
    return faults


class Key:
    """A key of a project's own: to show it runs the project's code."""

    def __str__(self) -> str:
        return "".join(["a", ":", "key"])


def _sized_class() -> type[BaseCache]:
    """LocMemCache with the fast paths of the backends that report sizes."""
    makers = {"get": sized_get, "set": sized_set, "get_many": sized_get_many}
    ways: dict[str, Any] = {}
    for name, make in makers.items():
        method: Any = getattr(LocMemCache, name)
        original = original_of(method) if is_ours(method) else method
        signature = signature_of(name, name, original, LocMemCache)
        operation = ObservedOperation(name, original, original, signature)
        ways[name] = make(operation, observed(operation))
    return type("LocMemCache", (LocMemCache,), ways)


def _drive(coroutine: Any) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("waits for something")


def _not_found(cache: Any, name: str) -> str:
    try:
        getattr(cache, name)("absent")
    except ValueError:
        return "not found"
    return "found"


CASES: dict[str, tuple[Callable[[Any], Any], object]] = {
    "get": (lambda cache: cache.get("there"), 1),
    "get of a key of the project's own": (lambda cache: cache.get(Key()), 2),
    "get with a default": (lambda cache: cache.get("absent", 5), 5),
    "set": (lambda cache: cache.set("written", 1, 60, version=Key()), None),
    "add": (lambda cache: cache.add("there", 3), False),
    "get_many": (lambda cache: cache.get_many(["there", "absent"]), {"there": 1}),
    "get_many of a generator": (
        lambda cache: cache.get_many(key for key in ("there", "absent")),
        {"there": 1},
    ),
    "get_or_set": (lambda cache: cache.get_or_set("there", lambda: 3), 1),
    "a call that fails": (lambda cache: _not_found(cache, "incr"), "not found"),
    "a call that fails inside of another": (
        lambda cache: _not_found(cache, "decr_version"),
        "not found",
    ),
    "has_key": (lambda cache: cache.has_key("there"), True),
}


def _attempts(alarm: Alarm, call: Callable[[], Any]) -> Iterator[Any]:
    """The results of calls, until signals enough have come in the midst of some."""
    within = min(timeit.repeat(call, number=CALLS, repeat=5))
    caught = 0
    while caught < SIGNALS:
        results: list[Any] = []
        try:
            alarm.run(lambda: results.extend(call() for _ in range(CALLS)), within)  # noqa: B023
        except TimeLimitError:
            caught += 1
        assert caught == alarm.rung
        assert context.current() is None
        yield from results


@pytest.mark.parametrize("kind", ["usual", "sized"])
@pytest.mark.parametrize("name", CASES)
def test_what_a_signal_raises_reaches_the_caller(
    name: str, kind: str, alarm: Alarm, faults: list[Exception]
) -> None:
    cache = make_recorded(LocMemCache if kind == "usual" else _sized_class(), "signals")
    cache.clear()
    cache.set("there", 1)
    cache.set(Key(), 2)
    call, expected = CASES[name]
    for result in _attempts(alarm, partial(call, cache)):
        assert result == expected
    assert faults == []


def _fail() -> object:
    raise ValueError


def _failed(cache: Any) -> str:
    try:
        _drive(cache.aget_or_set("never", _fail))
    except ValueError:
        return "failed"
    return "made"


ASYNC_CASES: dict[str, tuple[Callable[[Any], Any], object]] = {
    "aget": (lambda cache: _drive(cache.aget("absent", 5)), 5),
    "aget_or_set": (lambda cache: _drive(cache.aget_or_set("there", _fail)), 1),
    "an async call that fails": (_failed, "failed"),
}


# The signal may come before anybody awaits it.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("name", ASYNC_CASES)
def test_what_a_signal_raises_reaches_the_caller_of_an_async_operation(
    name: str, alarm: Alarm, faults: list[Exception]
) -> None:
    cache = make_recorded(NativeCache, "signals", "default")
    cache.clear()
    cache.set("there", 1)
    call, expected = ASYNC_CASES[name]
    for result in _attempts(alarm, partial(call, cache)):
        assert result == expected
    assert faults == []
