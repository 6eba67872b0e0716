"""What is predicted of a trace is what the simulation of all of it gives."""

from collections.abc import Sequence
from math import inf
from random import Random

import pytest

from cache_monitor.trace import DELETE, HIT, MISS, NEVER, SECOND, WRITE, CallType, Event
from cache_monitor.what_if.hit_ratios import POLICIES, combined, predict
from cache_monitor.what_if.simulated_caches import Access, LocMem
from cache_monitor.what_if.simulated_servers import RedisLru
from cache_monitor.what_if.workload import SimulatedCall, simulated_calls
from tests.what_if import asking


def event(
    kind: int, key: int, at: float, timeout: float = inf, times: int = 1, *, computed: bool = True
) -> Event:
    began = round(at * SECOND)
    form = CallType(kind, "default", 1, NEVER if timeout == inf else round(timeout * SECOND))
    took = 100 if computed and kind == WRITE else 0
    return Event(key, form, began, began + 1, 1, 1, times=times, compute_time=took)


def traced(asked: Sequence[tuple[float, int]], size: int, timeout: float) -> list[Event]:
    """What a trace has of get-then-set on a cache of ``size`` with that timeout."""
    model, events = LocMem(size), list[Event]()
    for at, key in asked:
        access = Access(key, at, timeout)
        if model.look_up(access):
            events.append(event(HIT, key, at))
        else:
            events += [event(MISS, key, at), event(WRITE, key, at + 0.001, timeout)]
            model.write(access)
    return events


def poisson(number: int, different: int, seed: int) -> list[tuple[float, int]]:
    random, at = Random(seed), 0.0
    weights = [1 / rank for rank in range(1, different + 1)]
    asked = []
    for key in random.choices(range(1, different + 1), weights, k=number):
        at += random.expovariate(10)
        asked.append((at, key))
    return asked


def truth(asked: Sequence[tuple[float, int]], size: float, timeout: float) -> float:
    return asking.hits(LocMem(size), (Access(key, at, timeout) for at, key in asked)) / len(asked)


@pytest.mark.parametrize("size", [25, 50, 100, 200, 400])
def test_another_size_hits_what_a_cache_of_that_size_would_have(size: int) -> None:
    asked = poisson(6000, 600, 1)
    found = predict(simulated_calls(traced(asked, 100, inf), {}), LocMem, size)
    assert found.hit_ratio == truth(asked, size, inf)
    assert found.error == 0.0


@pytest.mark.parametrize("factor", [0.25, 0.5, 1.0, 2.0, 4.0])
def test_another_timeout_hits_what_that_timeout_would_have(factor: float) -> None:
    asked = poisson(6000, 300, 2)
    found = predict(simulated_calls(traced(asked, 1000, 30.0), {}), LocMem, 1000, factor=factor)
    expected = truth(asked, 1000, 30.0 * factor)
    assert found.hit_ratio is not None
    # The trace has times in microseconds, and a write comes a moment after its miss.
    assert found.hit_ratio == pytest.approx(expected, abs=0.002)


def test_the_timeouts_of_one_group_are_those_that_are_changed() -> None:
    asked = poisson(4000, 200, 3)
    events = traced(asked, 1000, 20.0)
    groups = {key: "even" if key % 2 == 0 else "odd" for key in range(1, 201)}
    found = simulated_calls(events, groups)
    even, odd = (predict(found, LocMem, 1000, group=group) for group in ("even", "odd"))
    longer = predict(found, LocMem, 1000, factor=4, group="even")
    assert (even.hit_ratio or 0) < (longer.hit_ratio or 0)
    assert even.lookups + odd.lookups == 4000
    both = combined([even, odd])
    assert both.hit_ratio == pytest.approx(predict(found, LocMem, 1000).hit_ratio)


def test_what_nobody_fills_is_not_written_in_the_simulation_either() -> None:
    flags = [event(MISS, 1, at) for at in range(100)]
    assert predict(simulated_calls(flags, {}), RedisLru, 10).hit_ratio == 0.0


def test_what_a_job_writes_at_its_own_times_does_not_fill_the_misses_before_it() -> None:
    def asked_for(timeout: float) -> list[Event]:
        """Each ten seconds it is written, each second it is asked for."""
        events = []
        for at in range(200):
            if at % 10 == 0:
                events.append(event(WRITE, 1, at, timeout, computed=False))
            kind = HIT if at % 10 < timeout else MISS
            events.append(event(kind, 1, at + 0.5, timeout))
        return events

    calls = simulated_calls(asked_for(4), {})
    for factor, hit_ratio in ((0.5, 0.2), (1, 0.4), (2, 0.8), (4, 1.0)):
        assert predict(calls, LocMem, 10, factor=factor).hit_ratio == hit_ratio


def test_keys_that_are_never_there_do_not_hide_that_others_of_their_group_are_filled() -> None:
    absent = [event(MISS, key, float(at)) for at in range(100) for key in (2, 3, 4)]
    for others in ([], absent):
        own = traced([(at, 1) for at in range(100)], 10, 9.7)
        found = predict(simulated_calls([*own, *others], {}), LocMem, 10, factor=2)
        assert found.hits == {"": 95.0}


def test_what_is_written_without_a_miss_and_deleted_is_so_whatever_the_cache() -> None:
    events = [
        event(WRITE, 1, 0.0),
        event(HIT, 1, 1.0),
        event(DELETE, 1, 2.0),
        event(MISS, 1, 3.0),
        event(WRITE, 1, 3.1),
        event(HIT, 1, 4.0, times=3),
    ]
    found = simulated_calls(events, {})
    assert [each.kind for each in found].count("set") == 1
    assert sum(each.times for each in found if each.kind == "get") == 5
    assert predict(found, RedisLru, 10).hit_ratio == 0.8


def test_a_trace_of_nothing_predicts_nothing() -> None:
    assert predict([], RedisLru, 10).hit_ratio is None
    assert combined([predict([], RedisLru, 10)]).error is None


@pytest.mark.slow
def test_of_a_sample_the_truth_is_within_the_stated_error() -> None:
    asked = poisson(20_000, 3000, 4)
    exact = truth(asked, 300, inf)
    hot = set(range(1, 257))
    inside = 0
    for seed in range(40):
        random = Random(seed)
        kept = hot | {key for key in range(257, 3001) if random.random() < 0.25}
        some = [
            SimulatedCall("get", Access(key, at, inf, 1.0, 1.0 if key in hot else 4.0), True)
            for at, key in asked
            if key in kept
        ]
        found = predict(some, LocMem, 300)
        assert found.hit_ratio is not None
        assert found.error is not None
        inside += abs(found.hit_ratio - exact) <= found.error
    assert inside >= 38


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_has_a_name_to_be_asked_for_by(name: str) -> None:
    asked = poisson(500, 50, 5)
    found = predict(simulated_calls(traced(asked, 20, inf), {}), POLICIES[name], 20)
    assert found.hit_ratio is not None
    assert 0 < found.hit_ratio < 1
