"""Long computations keep to a share of a core."""

import pytest

from cache_monitor import concurrency
from cache_monitor.concurrency import OutOfTime, Pace, Paced


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
    pace = Pace(10.0, 0.2, lambda: False)
    for _ in range(100):
        clock.now += 0.001
        pace()
    assert sum(clock.pauses) == pytest.approx(4 * clock.now, abs=0.01)
    assert max(clock.pauses) < 0.02
    assert pace.used == pytest.approx(0.1)


def test_when_its_time_is_used_up_it_ends(clock: _Clock) -> None:
    pace = Pace(1.0, 0.5, lambda: False)
    clock.now = 0.9
    pace()
    clock.now = 1.1
    with pytest.raises(OutOfTime):
        pace()


def test_it_ends_with_its_process(clock: _Clock) -> None:
    over: list[int] = []
    pace = Pace(10.0, 0.5, lambda: bool(over))
    clock.now = 0.1
    pace()
    over.append(1)
    clock.now = 0.2
    with pytest.raises(OutOfTime):
        pace()


def test_a_paced_collection_is_the_same_and_asks_now_and_then() -> None:
    asked: list[int] = []
    paced = Paced(range(1000), lambda: asked.append(1))
    assert list(paced) == list(range(1000))
    assert (len(paced), 5 in paced, -1 in paced) == (1000, True, False)
    assert len(asked) == 10
    assert list(paced.only(lambda each: each < 3)) == [0, 1, 2]
