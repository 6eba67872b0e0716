"""Those who follow the calls hear of each of them once, and harm nobody."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import pytest

from cache_monitor.calls import Call, RawCall, Source
from cache_monitor.recorder import recorder
from cache_monitor.trace.state import ClassifiedMiss
from cache_monitor.worker.subscribers import MOST_WAITING, Subscribers


def _calls(number: int) -> list[RawCall]:
    source = Source("default", "get")
    return [Call(source, float(each), 0.1, "key", True) for each in range(number)]


class _Follower:
    def __init__(self, wants: bool = True, fault: Exception | None = None) -> None:
        self._wants, self._fault = wants, fault
        self.calls: list[RawCall] = []
        self.judged: list[ClassifiedMiss] = []
        self.settled: list[tuple[float, int]] = []

    def wants(self) -> bool:
        return self._wants

    def follow(self, calls: Sequence[RawCall], clock_offset: float) -> None:
        if self._fault:
            raise self._fault
        self.calls += calls

    def learn(self, judged: Sequence[ClassifiedMiss]) -> None:
        self.judged += judged

    def settle(self, now: float, missed: int) -> None:
        self.settled.append((now, missed))


def test_calls_and_reasons_are_passed_on_once_and_in_order() -> None:
    subscribers, subscriber = Subscribers(), _Follower()
    subscribers.add(subscriber)
    subscribers.add(subscriber)
    calls, judged = _calls(5), [ClassifiedMiss("default", "key", "key", "key", 1, "expired", 1)]
    subscribers.hear(calls[:2], 0.0)
    subscribers.hear(calls[2:], 0.0)
    subscribers.learn(judged)
    assert subscriber.calls == []
    subscribers.work(10.0)
    subscribers.work(inf)
    assert subscriber.calls == calls
    assert subscriber.judged == judged
    assert subscriber.settled == [(10.0, 0), (inf, 0)]


def test_nothing_is_kept_for_those_who_want_nothing() -> None:
    subscribers, subscriber = Subscribers(), _Follower(wants=False)
    subscribers.add(subscriber)
    subscribers.hear(_calls(5), 0.0)
    subscribers.learn([ClassifiedMiss("default", "key", "key", "key", 1, "expired", 1)])
    subscribers.work(10.0)
    assert (subscriber.calls, subscriber.judged) == ([], [])


def test_who_was_removed_hears_no_more() -> None:
    subscribers, subscriber = Subscribers(), _Follower()
    subscribers.add(subscriber)
    subscribers.remove(subscriber)
    subscribers.hear(_calls(5), 0.0)
    subscribers.work(10.0)
    assert subscriber.calls == []


def test_what_is_too_much_is_passed_over_and_counted() -> None:
    subscribers, subscriber = Subscribers(), _Follower()
    subscribers.add(subscriber)
    for _ in range(3):
        subscribers.hear(_calls(MOST_WAITING // 2), 0.0)
    subscribers.work(10.0)
    subscribers.hear(_calls(1), 0.0)
    subscribers.work(11.0)
    assert len(subscriber.calls) == MOST_WAITING + 1
    assert subscriber.settled == [(10.0, MOST_WAITING // 2), (11.0, 0)]


def test_a_follower_that_fails_stops_no_other_and_is_noted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noted: list[BaseException] = []
    monkeypatch.setattr(recorder, "failed", noted.append)
    subscribers, subscriber = Subscribers(), _Follower()
    subscribers.add(_Follower(fault=RuntimeError("broken")))
    subscribers.add(subscriber)
    for _ in range(2):
        subscribers.hear(_calls(1), 0.0)
        subscribers.work(10.0)
    assert len(subscriber.calls) == 2
    assert [str(each) for each in noted] == ["broken", "broken"]
