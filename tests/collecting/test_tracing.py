"""What a process writes down for the trace, and what it need not even look at."""

from typing import Any
from unittest.mock import Mock

import pytest

from cache_monitor.calls import Call, Source
from cache_monitor.collecting.condensing import condense
from cache_monitor.collecting.names import name_and_hash
from cache_monitor.collecting.telling import Facts
from cache_monitor.collecting.tracing import Tracer
from cache_monitor.trace.events import HIT, MISS, WRITE, hash_of, level_of
from cache_monitor.trace.plan import Plan

GET, SET = Source("default", "get"), Source("default", "set")
FACTS = Facts("store", 300, "1")


def _tracer(plan: Plan | None = None) -> Tracer:
    tracer = Tracer("process", 1, lambda alias: FACTS)
    tracer.follow({"store": plan or Plan()})
    return tracer


def _hear(tracer: Tracer, *calls: Any) -> None:
    tracer.hear(condense(calls), 1_800_000_000.0, {})


def _told(tracer: Tracer) -> list[tuple[int, str, int]]:
    """Of each event its kind, its key, and how many times it happened."""
    return [
        (event.form.kind, key.name.partition("\0")[2], event.times)
        for _, part in tracer.parts()
        for stored in [part.stored()]
        for keys in [stored.traced()]
        for event in stored.events(keys, frozenset())
        for key in keys
        if key.hash == event.key
    ]


def test_hits_of_a_batch_are_one_event_a_key_and_all_else_is_one_a_call() -> None:
    tracer = _tracer()
    _hear(
        tracer,
        Call(GET, 1.0, 0.1, "a", outcome=False),
        Call(GET, 1.2, 0.1, "c", outcome=True),
        Call(SET, 1.4, 0.1, "b", timeout=5),
        Call(GET, 1.6, 0.1, "b", outcome=True),
        Call(GET, 1.8, 0.1, "a", outcome=False),
        Call(GET, 2.0, 0.1, "c", outcome=True),
    )
    assert _told(tracer) == [
        (MISS, "a", 1),
        (WRITE, "b", 1),
        (HIT, "b", 1),
        (MISS, "a", 1),
        (HIT, "c", 2),
    ]


@pytest.mark.parametrize("outcome", [True, False])
def test_of_keys_that_are_not_in_nothing_is_remembered(
    outcome: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = Mock(wraps=name_and_hash)
    monkeypatch.setattr("cache_monitor.collecting.tracing.name_and_hash", looked_at)
    keys = [f"user:{number}" for number in range(1000)]
    hot = hash_of("\0user:7")
    within = {key for key in keys if level_of(hash_of(f"\0{key}")) >= 4} | {"user:7"}
    tracer = _tracer(Plan(1, 4, frozenset({hot})))
    for turn in range(3):
        _hear(tracer, *(Call(GET, turn + 1.0, 0.1, key, outcome=outcome) for key in keys))
    assert len(within) < 200
    assert {key for _, key, _ in _told(tracer)} == within
    assert sorted(call.args[0] for call in looked_at.mock_calls) == sorted(within)


def test_a_slice_that_had_to_let_keys_go_has_forgotten_their_names() -> None:
    tracer = _tracer()
    for first in range(0, 100_000, 10_000):
        keys = [f"user:{number}" for number in range(first, first + 10_000)]
        _hear(tracer, *(Call(GET, 1.0, 0.1, key, outcome=False) for key in keys))
    [(_, part)] = tracer.parts()
    assert part.level > 0
    assert len(part._named) == len(part._keys) == len({*part._key}) <= 20_000
    told = _told(tracer)
    assert len(told) == len(part)
    assert all(level_of(hash_of(f"\0{key}")) >= part.level for _, key, _ in told)
