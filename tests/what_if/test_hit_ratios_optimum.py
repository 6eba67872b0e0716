"""What no cache can exceed."""

from random import Random

from cache_monitor.what_if.hit_ratios import CULLING, POLICIES, Optimum, ceiling, predict
from cache_monitor.what_if.simulated_caches import Access, Model
from cache_monitor.what_if.simulated_servers import RedisLru
from cache_monitor.what_if.workload import SimulatedCall
from tests.what_if import asking


def requests(seed: int, timeout: float = float("inf")) -> list[Access]:
    keys = Random(seed).choices(range(60), [1 / rank for rank in range(1, 61)], k=2000)
    return [Access(key, float(at), timeout) for at, key in enumerate(keys)]


def test_the_optimum_lets_go_what_is_asked_for_last() -> None:
    accesses = [Access(key, float(at)) for at, key in enumerate("abcabdab")]
    # With room for two: a and b stay, c and d come in vain.
    assert asking.hits(Optimum(2, accesses), accesses) == 4


def test_no_other_policy_hits_more_with_or_without_timeouts() -> None:
    for seed in range(5):
        for timeout in (float("inf"), 100.0, 20.0):
            accesses = requests(seed, timeout)
            for size in (3, 10, 30):
                best = asking.hits(Optimum(size, accesses), accesses)
                for other in (RedisLru(size), Model(size)):
                    assert asking.hits(other, accesses) <= best


def test_what_is_written_and_never_asked_for_goes_first() -> None:
    lookups = [Access("a", 0.0), Access("a", 2.0)]
    model = Optimum(1, lookups)
    assert not asking.found(model, lookups[0])
    model.write(Access("never", 1.0))
    assert asking.found(model, lookups[1])


def test_with_entries_of_all_sizes_no_policy_hits_more_than_the_bound() -> None:
    random = Random(1)
    sizes = [random.choice([0.2, 1.0, 5.0]) for _ in range(200)]
    keys = random.choices(range(200), [1 / rank for rank in range(1, 201)], k=3000)
    for timeout in (float("inf"), 200.0):
        simulated_calls = [
            SimulatedCall("get", Access(key, float(at), timeout, sizes[key]), True)
            for at, key in enumerate(keys)
        ]
        for size in (5, 20, 80):
            most = ceiling(simulated_calls, size, 500.0).hit_ratio or 0.0
            found = {
                name: predict(simulated_calls, make, size, since=500.0).hit_ratio or 0.0
                for name, make in POLICIES.items()
                if name not in CULLING
            }
            assert max(found.values()) <= most < 1.0
