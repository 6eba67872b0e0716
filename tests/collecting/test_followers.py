"""Those who follow the calls hear of each of them once, and harm nobody."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import pytest

from cache_monitor.calls import Call, RawCall, Source
from cache_monitor.collecting.followers import MOST_WAITING, Followers
from cache_monitor.recorder import recorder
from cache_monitor.trace.told import Verdict


def _calls(number: int) -> list[RawCall]:
    source = Source("default", "get")
    return [Call(source, float(each), 0.1, "key", True) for each in range(number)]


class _Follower:
    def __init__(self, wants: bool = True, fault: Exception | None = None) -> None:
        self._wants, self._fault = wants, fault
        self.calls: list[RawCall] = []
        self.judged: list[Verdict] = []
        self.settled: list[tuple[float, int]] = []

    def wants(self) -> bool:
        return self._wants

    def follow(self, calls: Sequence[RawCall], clock_offset: float) -> None:
        if self._fault:
            raise self._fault
        self.calls += calls

    def learn(self, judged: Sequence[Verdict]) -> None:
        self.judged += judged

    def settle(self, now: float, missed: int) -> None:
        self.settled.append((now, missed))


def test_calls_and_reasons_are_passed_on_once_and_in_order() -> None:
    followers, follower = Followers(), _Follower()
    followers.add(follower)
    followers.add(follower)
    calls, judged = _calls(5), [Verdict("default", "key", "key", "key", 1, "expired", 1)]
    followers.hear(calls[:2], 0.0)
    followers.hear(calls[2:], 0.0)
    followers.learn(judged)
    assert follower.calls == []
    followers.work(10.0)
    followers.work(inf)
    assert follower.calls == calls
    assert follower.judged == judged
    assert follower.settled == [(10.0, 0), (inf, 0)]


def test_nothing_is_kept_for_those_who_want_nothing() -> None:
    followers, follower = Followers(), _Follower(wants=False)
    followers.add(follower)
    followers.hear(_calls(5), 0.0)
    followers.learn([Verdict("default", "key", "key", "key", 1, "expired", 1)])
    followers.work(10.0)
    assert (follower.calls, follower.judged) == ([], [])


def test_who_was_removed_hears_no_more() -> None:
    followers, follower = Followers(), _Follower()
    followers.add(follower)
    followers.remove(follower)
    followers.hear(_calls(5), 0.0)
    followers.work(10.0)
    assert follower.calls == []


def test_what_is_too_much_is_passed_over_and_counted() -> None:
    followers, follower = Followers(), _Follower()
    followers.add(follower)
    for _ in range(3):
        followers.hear(_calls(MOST_WAITING // 2), 0.0)
    followers.work(10.0)
    followers.hear(_calls(1), 0.0)
    followers.work(11.0)
    assert len(follower.calls) == MOST_WAITING + 1
    assert follower.settled == [(10.0, MOST_WAITING // 2), (11.0, 0)]


def test_a_follower_that_fails_stops_no_other_and_is_noted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noted: list[BaseException] = []
    monkeypatch.setattr(recorder, "failed", noted.append)
    followers, follower = Followers(), _Follower()
    followers.add(_Follower(fault=RuntimeError("broken")))
    followers.add(follower)
    for _ in range(2):
        followers.hear(_calls(1), 0.0)
        followers.work(10.0)
    assert len(follower.calls) == 2
    assert [str(each) for each in noted] == ["broken", "broken"]
