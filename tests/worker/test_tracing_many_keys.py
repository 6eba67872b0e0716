"""What of very many keys a process writes down for the trace: most it need not even look at."""

import json
import os
import subprocess
import sys
import tracemalloc
from typing import Any
from unittest.mock import Mock

import pytest

from cache_monitor.calls import Call, Source
from cache_monitor.keys.naming import name_plain_key
from cache_monitor.trace import Plan, hash_of, level_of
from cache_monitor.trace.codec import decode_slices
from cache_monitor.worker.batch import deduplicate
from cache_monitor.worker.trace_events import CacheIdentity
from cache_monitor.worker.trace_writer import Tracer

GET = Source("default", "get")
FACTS = CacheIdentity("store", 300, "1")


def _tracer(plan: Plan | None = None) -> Tracer:
    tracer = Tracer("process", 1, lambda alias: FACTS)
    tracer.follow({"store": plan or Plan()})
    return tracer


def _hear(tracer: Tracer, *calls: Any) -> None:
    tracer.trace(deduplicate(calls), 1_800_000_000.0, {})


def _told(tracer: Tracer) -> list[str]:
    """The key of each event."""
    return [
        key.name.partition("\0")[2]
        for _, part in tracer.slices
        for stored in [part.stored()]
        for keys in [stored.decode_keys()]
        for event in stored.decode_events(keys, frozenset())
        for key in keys
        if key.hash == event.key
    ]


@pytest.mark.parametrize("outcome", [True, False])
def test_of_keys_that_are_not_in_nothing_is_remembered(
    outcome: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = Mock(wraps=name_plain_key)
    monkeypatch.setattr("cache_monitor.worker.trace_writer.name_plain_key", looked_at)
    keys = [f"user:{number}" for number in range(1000)]
    hot = hash_of("\0user:7")
    within = {key for key in keys if level_of(hash_of(f"\0{key}")) >= 4} | {"user:7"}
    tracer = _tracer(Plan(1, 4, frozenset({hot})))
    for turn in range(3):
        _hear(tracer, *(Call(GET, turn + 1.0, 0.1, key, outcome=outcome) for key in keys))
    assert len(within) < 200
    assert {*_told(tracer)} == within
    assert sorted(call.args[0] for call in looked_at.mock_calls) == sorted(within)


def test_a_slice_that_had_to_let_keys_go_has_forgotten_their_names() -> None:
    tracer = _tracer()
    for first in range(0, 100_000, 10_000):
        keys = [f"user:{number}" for number in range(first, first + 10_000)]
        _hear(tracer, *(Call(GET, 1.0, 0.1, key, outcome=False) for key in keys))
    [(_, part)] = tracer.slices
    assert part.level > 0
    assert len(part._keys_by_number) == len(part._numbers) == len({*part._event_keys}) <= 20_000
    told = _told(tracer)
    assert len(told) == len(part)
    assert all(level_of(hash_of(f"\0{key}")) >= part.level for key in told)


def test_a_slice_goes_on_at_the_level_of_the_one_before_and_comes_back_step_by_step() -> None:
    tracer = _tracer()
    for number in range(40_000):
        _hear(tracer, Call(GET, 1.0, 0.1, f"user:{number}", outcome=False))
    for turn in range(1, 5):
        _hear(tracer, Call(GET, 10.0 * turn + 1, 0.1, "user:1", outcome=False))
    levels = [part.level for _, part in tracer.slices]
    assert levels == [3, 2, 1, 0, 0]


@pytest.mark.slow
def test_what_a_minute_of_very_many_keys_leaves_in_memory_is_bounded() -> None:
    tracer = _tracer()
    _hear(tracer, Call(GET, 0.5, 0.1, "first", outcome=False))
    tracemalloc.start()
    try:
        for turn in range(20):
            keys = (f"user:{turn * 5000 + number}:profile" for number in range(5000))
            _hear(tracer, *(Call(GET, 1 + turn, 0.001, key, outcome=False) for key in keys))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Two slices and the keys that are remembered: 100,000 keys would take 45 MB.
    assert held < 20_000_000


def _calls(number: int, keys: int) -> list[Call]:
    return [Call(GET, 1.0, 0.1, f"user:{n * 7919 % keys}", outcome=False) for n in range(number)]


def test_without_a_plan_a_process_writes_what_it_may_of_all_keys_of_its_level() -> None:
    tracer = Tracer("process", 1, lambda alias: FACTS, allowed=100.0)
    now, keys, written = 1_800_000_010.0, 3000, 0
    for turn in range(12):
        _hear(tracer, *(each._replace(started=10.0 * turn + 1) for each in _calls(3000, keys)))
        for store, part in list(tracer.slices):
            payload = tracer.slices.encode(part, now + 10 * turn)
            [stored] = decode_slices(payload)
            assert stored.level == part.level > 0
            expected = {f"user:{n}" for n in range(keys)}
            hashes = {hash_of(f"\0{key}") for key in expected}
            assert {key.hash for key in stored.decode_keys()} == {
                each for each in hashes if level_of(each) >= part.level
            }
            written += len(payload)
            tracer.slices.forget(store, part)
    # What it may at first, what it may in that time, and a little in each slice.
    assert written <= 100.0 * (45 + 110 + 12)


def test_a_process_of_few_keys_writes_all_of_them_before_there_is_a_plan() -> None:
    tracer = Tracer("process", 1, lambda alias: FACTS, allowed=1800.0 / 6)
    _hear(tracer, *_calls(2000, 600))
    [(_, part)] = tracer.slices
    [stored] = decode_slices(tracer.slices.encode(part, 1_800_000_010.0))
    assert (stored.level, stored.count) == (0, 2000)


def test_what_was_traced_without_a_plan_is_as_the_plan_has_it_when_that_is_read() -> None:
    tracer = Tracer("process", 1, lambda alias: FACTS)
    _hear(tracer, *_calls(1000, 1000))
    hot = hash_of("\0user:7")
    tracer.follow({"store": Plan(4, 5, frozenset({hot}))})
    _hear(tracer, *_calls(1000, 1000))
    [(_, part)] = tracer.slices
    stored = part.stored()
    assert (stored.plan, stored.level) == (4, 5)
    within = {
        each for n in range(1000) if level_of(each := hash_of(f"\0user:{n}")) >= 5 or each == hot
    }
    assert {key.hash for key in stored.decode_keys()} == within
    assert stored.count == 2 * len(within)


BESIDE = """
import os
from tests.programs.hosts import configure
configure()
from cache_monitor.worker.wiring import _processes_beside
go, start = os.pipe()
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        os.close(start)
        os.read(go, 1)
        os._exit(_processes_beside())
    children.append(child)
os.close(start)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


def test_a_process_knows_how_many_others_its_server_has_started() -> None:
    site = {"CACHES": {}, "DATABASES": {}, "CACHE_MONITOR": {"ENABLED": False}}
    out = subprocess.run(
        [sys.executable, "-c", BESIDE],
        env={**os.environ, "SITE": json.dumps(site)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # One that has begun sees all; another may have ended by then.
    assert max(json.loads(out)) == 3
