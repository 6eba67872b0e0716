"""The reasons that the trace tells, against what really happened: right, or unknown."""

from collections.abc import Sequence

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cache_monitor.stats.codec import compress, decode
from cache_monitor.trace import NEVER, SECOND
from cache_monitor.trace.codec import StoredSlice
from cache_monitor.trace.replay import Replay
from cache_monitor.trace.state import ReplayResult, State
from tests.trace.world import START, TOLERANCE, World

KEYS = ["page:1", "page:2", "user:1"]
LASTS = [NEVER, 3 * SECOND, 40 * SECOND]

actions = st.tuples(
    st.sampled_from(
        ["get"] * 6
        + ["set"] * 3
        + ["delete", "touch", "move", "clear", "sweep", "take_away", "read", "read"]
    ),
    st.sampled_from(KEYS),
    st.integers(0, 5),
    st.sampled_from(LASTS),
    st.sampled_from([0.0, 0.0, 0.0005, 0.02, 0.3, 2.0, 7.0]),
    st.sampled_from([1, 1, 1, 2]),
)


def replayed(parts: Sequence[StoredSlice], batches: int, now: int) -> list[ReplayResult]:
    """What is told where the rows are rolled up in ``batches``, the state being stored between."""
    state = State()
    told = []
    end = max((part.end for part in parts), default=START) + 10
    step = max(-(-(end - START) // batches // 10) * 10, 10)
    for until in range(START + step, end + step, step):
        replay = Replay(state, TOLERANCE)
        now_parts = [part for part in parts if until - step <= part.start < until]
        ahead = [part for part in parts if until <= part.start < until + 30]
        told.append(replay.run(now_parts, ahead, until))
        state = decode(compress(state), State)
    told.append(Replay(state, TOLERANCE).run([], [], now))
    return told


def happen(world: World, steps: list[tuple[str, str, int, int, float, int]], gone: str) -> None:
    for action, key, process, timeout, pause, version in steps:
        if action == "get":
            world.get(key, process, version)
        elif action in {"set", "touch"}:
            getattr(world, action)(key, process, timeout, version=version)
        elif action in {"delete", "move"}:
            getattr(world, action)(key, process, version)
        elif action == "clear":
            world.clear(process)
        elif action == "sweep":
            world.sweep("page:", process)
        elif action == "take_away":
            world.take_away(key, gone, version)
        else:
            world.read(process)
        world.pass_by(pause)


@settings(max_examples=100, phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink))
@given(
    st.integers(0, 2**20),
    st.lists(actions, min_size=5, max_size=80),
    st.sampled_from(["evicted", "lost"]),
    st.integers(1, 6),
)
def test_every_reason_is_the_real_one_or_unknown(
    seed: int, steps: list[tuple[str, str, int, int, float, int]], gone: str, batches: int
) -> None:
    world = World(seed)
    world.read()
    world.pass_by(0.2)
    happen(world, steps, gone)
    world.pass_by(0.2)
    world.read()
    now = world.now // SECOND + 3600
    misses = [each for told in replayed(world.stored(), batches, now) for each in told.misses]
    assert len(misses) == len(world.misses)
    told = sorted((each.name, each.at // SECOND, each.at, each.reason) for each in misses)
    for miss in world.misses:
        near = [
            reason
            for name, _, at, reason in told
            if name == miss.name and abs(at - miss.at) <= TOLERANCE
        ]
        allowed = {miss.reason, "unknown", *miss.near}
        assert allowed & set(near), (miss, told)


@pytest.mark.parametrize("batches", [1, 3])
def test_calls_that_are_apart_are_all_judged(batches: int) -> None:
    world = World(1)
    world.read()
    for n in range(30):
        name = f"page:{n}"
        writer, actor, reader = n % 6, (n + 2) % 6, (n + 4) % 6
        world.get(name, reader)
        world.pass_by(0.2)
        world.set(name, writer, 3 * SECOND if n % 3 == 0 else NEVER)
        world.pass_by(0.2)
        if n % 3 == 1:
            world.delete(name, actor)
        if n % 3 == 2:
            world.move(name, actor)
        world.pass_by(4 if n % 3 == 0 else 0.2)
        world.get(name, reader)
    world.read()
    misses = [
        each
        for told in replayed(world.stored(), batches, world.now // SECOND + 3600)
        for each in told.misses
    ]
    assert sorted(each.reason for each in misses) == sorted(each.reason for each in world.misses)
    assert "unknown" not in {each.reason for each in misses}
