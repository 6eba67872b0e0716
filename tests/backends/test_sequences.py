"""Any sequence of calls gives the same results monitored and bare, and is recorded call by call."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from cache_monitor import context
from tests.backends.conftest import Heard
from tests.backends.contract import Pair, open_pair, parameters

KEYS = st.sampled_from(["a", "b", "c:1", "ü"])
VALUES = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.just(""), st.lists(st.none()))
VERSIONS = st.sampled_from([None, 1, 2])
TIMEOUTS = st.sampled_from([None, 0, -1, 60])


def _outcome(call: Callable[[Any], object], cache: Any) -> object:
    try:
        return call(cache)
    except Exception as error:
        return type(error)


class Calls(RuleBasedStateMachine):
    """The calls that a user may make, each made on both caches."""

    pair: Pair

    def __init__(self) -> None:
        super().__init__()
        self.heard = Heard()
        self.made = 0
        self.pair.bare.clear()
        type(self.pair.bare).clear(self.pair.monitored)
        context.start_listening(self.heard)

    def teardown(self) -> None:
        context.stop_listening(self.heard)

    def both(self, call: Callable[[Any], object]) -> object:
        monitored = _outcome(call, self.pair.monitored)
        assert monitored == _outcome(call, self.pair.bare)
        self.made += 1
        return monitored

    @invariant()
    def every_call_is_recorded_once(self) -> None:
        assert len(self.heard) == self.made

    @rule(key=KEYS, default=VALUES, version=VERSIONS)
    def get(self, key: str, default: object, version: int | None) -> None:
        there = self.pair.bare.has_key(key, version)
        self.both(lambda c: c.get(key, default, version=version))
        assert self.heard[-1].outcome is there

    @rule(key=KEYS, value=VALUES, timeout=TIMEOUTS, version=VERSIONS)
    def set(self, key: str, value: object, timeout: int | None, version: int | None) -> None:
        self.both(lambda c: c.set(key, value, timeout, version))

    @rule(key=KEYS, value=VALUES, timeout=TIMEOUTS)
    def add(self, key: str, value: object, timeout: int | None) -> None:
        self.both(lambda c: c.add(key, value, timeout=timeout))

    @rule(key=KEYS, value=VALUES, lazy=st.booleans())
    def get_or_set(self, key: str, value: object, lazy: bool) -> None:
        there = self.pair.bare.has_key(key)
        self.both(lambda c: c.get_or_set(key, (lambda: value) if lazy else value))
        assert self.heard[-1].outcome is there

    @rule(keys=st.lists(KEYS), lazy=st.booleans(), version=VERSIONS)
    def get_many(self, keys: list[str], lazy: bool, version: int | None) -> None:
        there = tuple(self.pair.bare.has_key(key, version) for key in keys)
        self.both(lambda c: c.get_many(iter(keys) if lazy and keys else keys, version))
        assert self.heard[-1].outcome == there

    @rule(data=st.dictionaries(KEYS, VALUES), timeout=TIMEOUTS)
    def set_many(self, data: dict[str, object], timeout: int | None) -> None:
        self.both(lambda c: c.set_many(data, timeout))

    @rule(keys=st.lists(KEYS), lazy=st.booleans())
    def delete_many(self, keys: list[str], lazy: bool) -> None:
        self.both(lambda c: c.delete_many(iter(keys) if lazy else keys))

    @rule(key=KEYS, version=VERSIONS)
    def delete(self, key: str, version: int | None) -> None:
        self.both(lambda c: c.delete(key, version=version))

    @rule(key=KEYS, timeout=TIMEOUTS)
    def touch(self, key: str, timeout: int | None) -> None:
        self.both(lambda c: c.touch(key, timeout))

    @rule(key=KEYS, delta=st.integers(-2, 2))
    def incr(self, key: str, delta: int) -> None:
        self.both(lambda c: c.incr(key, delta))

    @rule(key=KEYS, delta=st.integers(-1, 1))
    def incr_version(self, key: str, delta: int) -> None:
        self.both(lambda c: c.incr_version(key, delta))

    @rule(key=KEYS)
    def contains(self, key: str) -> None:
        self.both(lambda c: key in c)

    @rule()
    def clear(self) -> None:
        self.both(lambda c: c.clear())


@pytest.fixture(
    params=parameters(
        "dummy",
        "database",
        "django_redis_herd",
        "django_redis_shard",
        "django_redis_sentinel",
        "native",
        "odd",
        "delegating",
        "pylibmc",
        "memcached",
    )
)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    with open_pair(request.param, request, tmp_path) as pair:
        yield pair


def test_any_sequence_of_calls_gives_what_the_bare_cache_gives(pair: Pair) -> None:
    shared = pair.name not in {"locmem", "files"}
    machine = type("Calls", (Calls,), {"pair": pair})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25 if shared else 40,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert caches["default"] is pair.monitored
