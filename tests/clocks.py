"""Clocks that go as a test has them go."""

from __future__ import annotations

import importlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import cache_monitor


class Clock:
    """A reading that stands still until a test moves it on."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def go_on(self, seconds: float) -> None:
        self.now += seconds


def timing_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which the monitor times calls and requests, wherever it has it by a name of its
    own: how long anything takes is then what the test says, on whatever machine."""
    clock = Clock(time.perf_counter())
    for module in _ours():
        for name, value in list(vars(module).items()):
            if value is time.perf_counter:
                monkeypatch.setattr(module, name, clock)
    return clock


class _Times:
    """The module ``time``, with a clock of the test's: nobody waits, and the clock goes on. But the
    monitor's own threads pause as ever: they take none of the test's time."""

    def __init__(self, clock: Clock) -> None:
        self.time = clock
        self._clock = clock

    def sleep(self, seconds: float) -> None:
        if threading.current_thread() is threading.main_thread():
            self._clock.go_on(seconds)
        else:
            time.sleep(seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def unix_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of day as the monitor sees it, which stands still."""
    clock = Clock(time.time())
    for module in _ours():
        if vars(module).get("time") is time:
            monkeypatch.setattr(module, "time", _Times(clock))
    return clock


class _SlowTimes(_Times):
    """The module ``time`` where all clocks go with one of the test's."""

    def __init__(self, clock: Clock, began: float) -> None:
        super().__init__(clock)
        self.perf_counter = clock
        self._ahead = began - clock.now
        self.time = self._time  # type: ignore[assignment]  # of the same shape

    def _time(self) -> float:
        return self.perf_counter.now + self._ahead


def traffic_clock(monkeypatch: pytest.MonkeyPatch, began: float) -> Clock:
    """The clock of calls and the time of day, which go together, from ``began`` (Unix time) on, as
    a test has them go: minutes of traffic then take a moment."""
    clock = timing_clock(monkeypatch)
    times = _SlowTimes(clock, began)
    for module in _ours():
        if vars(module).get("time") is time:
            monkeypatch.setattr(module, "time", times)
    return clock


def _ours() -> Iterator[ModuleType]:
    """All modules of ours that have a clock: one that is imported later would have the real one."""
    for name in _with_clocks():
        with suppress(ImportError):  # of what is not installed
            yield importlib.import_module(name)


@cache
def _with_clocks() -> list[str]:
    root = Path(cache_monitor.__file__).parent
    return [
        ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in root.rglob("*.py")
        if re.search("^(import|from) time\\b", path.read_text("utf-8"), re.MULTILINE)
    ]
