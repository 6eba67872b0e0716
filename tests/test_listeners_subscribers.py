"""Subscribers get each call once, and harm nobody."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cache_monitor.calls import Call, RawCall, Source, recorder
from cache_monitor.listeners import MOST_WAITING, Subscriber, Subscribers
from cache_monitor.trace.state import ClassifiedMiss


def _calls(number: int) -> list[RawCall]:
    source = Source("default", "get")
    return [Call(source, float(each), 0.1, "key", True) for each in range(number)]


class _Subscriber(Subscriber):
    def __init__(self, *, fault: Exception | None = None) -> None:
        self._fault = fault
        self.calls: list[RawCall] = []
        self.misses: list[ClassifiedMiss] = []
        self.dropped: list[int] = []

    def on_calls(self, calls: Sequence[RawCall], clock_offset: float) -> None:
        if self._fault:
            raise self._fault
        self.calls += calls

    def on_reasons(self, misses: Sequence[ClassifiedMiss]) -> None:
        self.misses += misses

    def on_dropped(self, number: int) -> None:
        self.dropped.append(number)


def test_calls_and_reasons_are_passed_on_once_and_in_order() -> None:
    subscribers, subscriber = Subscribers(), _Subscriber()
    subscribers.add(subscriber)
    subscribers.add(subscriber)
    calls, misses = _calls(5), [ClassifiedMiss("default", "key", "key", "key", 1, "expired", 1)]
    subscribers.add_calls(calls[:2], 0.0)
    subscribers.add_calls(calls[2:], 0.0)
    subscribers.add_reasons(misses)
    assert subscriber.calls == []
    subscribers.notify()
    subscribers.notify()
    assert subscriber.calls == calls
    assert subscriber.misses == misses
    assert subscriber.dropped == []


def test_nothing_is_kept_for_those_who_want_nothing() -> None:
    subscribers, subscriber, active = Subscribers(), _Subscriber(), _Subscriber()
    subscribers.add(subscriber, lambda: False)
    subscribers.add_calls(_calls(5), 0.0)
    subscribers.add_reasons([ClassifiedMiss("default", "key", "key", "key", 1, "expired", 1)])
    subscribers.notify()
    subscribers.add(active)
    subscribers.add_calls(_calls(2), 0.0)
    subscribers.notify()
    assert len(active.calls) == 2
    assert (subscriber.calls, subscriber.misses) == ([], [])


def test_who_was_removed_hears_no_more() -> None:
    subscribers, subscriber = Subscribers(), _Subscriber()
    subscribers.add(subscriber)
    subscribers.remove(subscriber)
    subscribers.add_calls(_calls(5), 0.0)
    subscribers.notify()
    assert subscriber.calls == []


def test_what_is_too_much_is_passed_over_and_counted() -> None:
    subscribers, subscriber = Subscribers(), _Subscriber()
    subscribers.add(subscriber)
    for _ in range(3):
        subscribers.add_calls(_calls(MOST_WAITING // 2), 0.0)
    subscribers.notify()
    subscribers.add_calls(_calls(1), 0.0)
    subscribers.notify()
    assert len(subscriber.calls) == MOST_WAITING + 1
    assert subscriber.dropped == [MOST_WAITING // 2]


def test_a_follower_that_fails_stops_no_other_and_is_noted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noted: list[BaseException] = []
    monkeypatch.setattr(recorder, "failed", noted.append)
    subscribers, subscriber = Subscribers(), _Subscriber()
    subscribers.add(_Subscriber(fault=RuntimeError("broken")))
    subscribers.add(subscriber)
    for _ in range(2):
        subscribers.add_calls(_calls(1), 0.0)
        subscribers.notify()
    assert len(subscriber.calls) == 2
    assert [str(each) for each in noted] == ["broken", "broken"]
