"""Long computations keep to a share of a core."""

import pytest

from cache_monitor import concurrency
from cache_monitor.concurrency import BoundedPace, OutOfTime, Pace, Paced


class _Clock:
    """A thread's own time, and the pauses that it made."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def thread_time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(concurrency, "time", clock)
    return clock


def test_after_each_step_it_pauses_as_long_as_its_share_asks_for(clock: _Clock) -> None:
    pace = BoundedPace(10.0, 0.2, lambda: False)
    for _ in range(100):
        clock.now += 0.001
        pace()
    assert sum(clock.pauses) == pytest.approx(4 * clock.now, abs=0.01)
    assert max(clock.pauses) < 0.02
    assert pace.used == pytest.approx(0.1)


def test_when_its_time_is_used_up_it_ends(clock: _Clock) -> None:
    pace = BoundedPace(1.0, 0.5, lambda: False)
    clock.now = 0.9
    pace()
    clock.now = 1.1
    with pytest.raises(OutOfTime):
        pace()


def test_it_ends_with_its_process(clock: _Clock) -> None:
    over: list[int] = []
    pace = BoundedPace(10.0, 0.5, lambda: bool(over))
    clock.now = 0.1
    pace()
    over.append(1)
    clock.now = 0.2
    with pytest.raises(OutOfTime):
        pace()


def test_urgent_work_does_not_pause_and_pauses_again_later(clock: _Clock) -> None:
    urgent = [1]
    pace = Pace(0.5, lambda: bool(urgent))
    clock.now = 0.1
    pace()
    assert not clock.pauses
    urgent.clear()
    clock.now = 0.103
    pace()
    assert clock.pauses == [pytest.approx(0.003)]


def test_what_a_greenlets_thread_computes_in_a_pause_is_not_its_own(
    clock: _Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = Pace(0.5)

    def run_others(seconds: float) -> None:
        clock.pauses.append(seconds)
        clock.now += seconds

    monkeypatch.setattr(clock, "sleep", run_others)
    for _ in range(3):
        clock.now += 0.004
        pace()
    assert clock.pauses == pytest.approx([0.004] * 3)


def test_a_paced_collection_is_the_same_and_asks_now_and_then() -> None:
    asked: list[int] = []
    paced = Paced(range(1000), lambda: asked.append(1))
    assert list(paced) == list(range(1000))
    assert (len(paced), 5 in paced, -1 in paced) == (1000, True, False)
    assert len(asked) == 10
    assert [*Paced(range(6), lambda: asked.append(1), 2)] == [*range(6)]
    assert len(asked) == 13
    assert list(paced.only(lambda each: each < 3)) == [0, 1, 2]
