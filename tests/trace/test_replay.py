"""What a replay makes of what the record does not cover: unknown, and nothing twice."""

import gc

from cache_monitor.stats.codec import compress, decode
from cache_monitor.trace import MISS, NEVER, SECOND, WRITE, CallType, Plan
from cache_monitor.trace.codec import StoredSlice
from cache_monitor.trace.replay import Replay
from cache_monitor.trace.state import ReplayResult, State
from tests.trace.world import START, TOLERANCE, World, key_of


def run(
    state: State, parts: list[StoredSlice], until: int, ahead: list[StoredSlice] | None = None
) -> tuple[ReplayResult, State]:
    told = Replay(state, TOLERANCE).run(parts, ahead or [], until)
    return told, decode(compress(state), State)


def reasons(told: ReplayResult) -> list[str]:
    return [each.reason for each in sorted(told.misses, key=lambda each: each.at)]


def test_a_state_is_carried_on_from_one_replay_to_the_next() -> None:
    world = World(1)
    world.set("page:1", 0, 5 * SECOND)
    _, state = run(State(), world.stored(), world.now // SECOND)
    world.slices.clear()
    world.pass_by(3600)
    world.get("page:1", 3)
    told, state = run(state, world.stored(), world.now // SECOND)
    assert reasons(told) == ["expired"]


def test_the_garbage_collector_visits_neither_events_nor_changes_nor_misses() -> None:
    """Of the site's process: it would visit hundreds of thousands each time."""
    world = World(1)
    world.set("page:1", 0, 5 * SECOND)
    world.pass_by(60)
    world.get("page:1", 3)
    slices = world.stored()
    told, state = run(State(), slices, world.now // SECOND)
    events = [event for each in slices for event in each.decode_events(each.decode_keys())]
    changes = [
        change
        for key in state.keys.values()
        for version in key.versions
        for change in version.changes
    ]
    assert events
    assert changes
    assert told.misses
    assert not any(map(gc.is_tracked, [*events, *changes, *told.misses]))


def test_of_a_process_that_died_the_last_calls_are_not_known() -> None:
    world = World(1)
    world.set("page:1", 0)
    world.get("page:2", 1)
    parts = world.stored()
    for part in parts:
        part.final = part.process != "0-0"
    _, state = run(State(), parts, world.now // SECOND)
    world.slices.clear()
    world.pass_by(30)
    world.take_away("page:1", "lost")
    world.get("page:1", 3)
    world.get("page:3", 3)
    told, state = run(state, world.stored(), world.now // SECOND)
    assert reasons(told) == ["unknown", "unknown"]
    world.slices.clear()
    world.set("page:4", 2, SECOND)
    world.pass_by(5)
    world.get("page:4", 3)
    told, state = run(state, world.stored(), world.now // SECOND)
    assert reasons(told) == ["expired"]


def test_a_slice_that_was_taken_before_it_was_final_does_not_count_twice() -> None:
    world = World(1)
    world.get("page:1", 0)
    parts = world.stored()
    parts[0].final = False
    told, state = run(State(), parts, world.now // SECOND)
    assert len(told.misses) == 1
    world.get("page:2", 0)
    told, state = run(state, world.stored(), world.now // SECOND + 10)
    assert [each.name for each in told.misses] == ["page:2"]
    assert not state.taken


def test_keys_that_come_in_with_a_lower_level_are_unknown_at_first() -> None:
    names = [f"page:{number}" for number in range(64)]
    world = World(1)
    world.plan = Plan(1, 2)
    for name in names:
        world.set(name, 0, SECOND)
    _, state = run(State(), world.stored(), world.now // SECOND)
    world.slices.clear()
    world.plan = Plan(2, 0)
    world.pass_by(30)
    for name in names:
        world.get(name, 3)
    told, state = run(state, world.stored(), world.now // SECOND)
    found = {each.name: each.reason for each in told.misses}
    before = {name for name in names if Plan(level=2).takes(key_of(name).hash)}
    assert before
    assert found == {name: "expired" if name in before else "unknown" for name in names}


def test_rows_of_different_levels_merge_at_the_higher_one() -> None:
    names = [f"page:{number}" for number in range(64)]
    world = World(1)
    for number, name in enumerate(names):
        world.plan = Plan(1, number % 2)
        world.set(name, number % 2)
    world.pass_by(1)
    world.plan = Plan(2, 0)
    for name in names:
        world.get(f"{name}:never", 3)
    told, _state = run(State(), world.stored(), world.now // SECOND + 30)
    left_out = [
        each.reason for each in told.misses if not Plan(level=1).takes(key_of(each.name).hash)
    ]
    kept = [each.reason for each in told.misses if Plan(level=1).takes(key_of(each.name).hash)]
    assert set(left_out) == {"unknown"}
    assert set(kept) == {"never_set"}


def test_late_rows_are_judged_by_what_is_known_and_change_nothing_told() -> None:
    world = World(1)
    world.set("page:1", 0, 5 * SECOND)
    world.pass_by(12)
    world.get("page:1", 3)
    late = [part for part in world.stored() if part.process == "1-1"]
    rest = [part for part in world.stored() if part.process != "1-1"]
    _, state = run(State(), rest, world.now // SECOND + 60)
    told, state = run(state, late, world.now // SECOND + 60)
    assert reasons(told) == ["expired"]


def test_a_miss_just_before_the_end_is_judged_by_what_comes_after() -> None:
    world = World(1)
    world.get("page:1", 3)
    world.pass_by(10)
    world.set("page:1", 0)
    first, second = sorted(world.stored(), key=lambda each: each.start)
    told, state = run(State(), [first], first.end, [second])
    assert reasons(told) == ["never_set"]
    assert not any(version.changes for key in state.keys.values() for version in key.versions)


def test_a_hit_without_a_write_on_record_makes_the_next_miss_unknown() -> None:
    world = World(1)
    world.entries["page:1", 1].reason = ""
    world.get("page:1", 3)
    world.pass_by(1)
    world.entries["page:1", 1].reason = "lost"
    world.get("page:1", 3)
    told, _ = run(State(), world.stored(), world.now // SECOND)
    assert reasons(told) == ["unknown"]


def test_what_waits_for_the_backends_word_gets_it_later_or_none() -> None:
    world = World(1)
    world.read()
    world.set("page:1", 0)
    world.pass_by(5)
    world.take_away("page:1", "lost")
    world.get("page:1", 3)
    told, state = run(State(), world.stored(), world.now // SECOND)
    assert not told.misses
    world.slices.clear()
    world.pass_by(60)
    world.read()
    told, _ = run(decode(compress(state), State), world.stored(), world.now // SECOND)
    assert reasons(told) == ["lost"]
    told, state = run(state, [], world.now // SECOND + 3600)
    assert reasons(told) == ["unknown"]
    assert not state.pending


def test_a_restart_of_the_server_loses_what_it_held() -> None:
    world = World(1)
    world.read()
    world.set("page:1", 0)
    world.pass_by(5)
    world.restart()
    world.get("page:1", 3)
    world.pass_by(5)
    world.read()
    told, _ = run(State(), world.stored(), world.now // SECOND)
    assert reasons(told) == ["lost"]


def test_ages_are_those_of_the_last_write_of_any_process() -> None:
    world = World(1)
    world.set("page:1", 0)
    world.pass_by(8)
    world.set("page:1", 3)
    world.pass_by(4)
    world.touch("page:1", 1, NEVER)
    world.pass_by(4)
    world.get("page:1", 5)
    told, _ = run(State(), world.stored(), world.now // SECOND)
    [figures] = [each for each in told.groups.values() if each.ages]
    from cache_monitor.stats.sketches import middle_of

    [(bucket, times)] = figures.ages.items()
    assert times == 1
    assert abs(middle_of(bucket) - 8) < 0.5


def test_computing_one_value_at_once_in_two_processes_is_a_stampede() -> None:
    world = World(1)
    world.pass_by(5)
    world.set("page:1", 0, computed=SECOND)
    world.pass_by(0.3)
    world.set("page:1", 3, computed=SECOND)
    world.compute("page:1", 5, 1.0)
    world.pass_by(2)
    world.set("page:1", 0, computed=SECOND)
    told, _ = run(State(), world.stored(), world.now // SECOND)
    assert sum(each.stampedes for each in told.groups.values()) == 2


def test_values_of_two_versions_computed_at_once_are_no_stampede() -> None:
    world = World(1)
    world.pass_by(5)
    world.set("page:1", 0, version=1, computed=SECOND)
    world.set("page:1", 3, version=2, computed=SECOND)
    told, state = run(State(), world.stored(), world.now // SECOND)
    assert not any(each.stampedes for each in told.groups.values())
    world.slices.clear()
    world.set("page:1", 4, version=1, computed=SECOND)
    told, _ = run(state, world.stored(), world.now // SECOND)
    assert sum(each.stampedes for each in told.groups.values()) == 1


def test_a_call_that_misses_and_writes_misses_before_it_writes() -> None:
    world = World(1)
    part, began = world._slice(0), START * SECOND
    for kind in (MISS, WRITE):
        part.add(key_of("page:1"), CallType(kind, "default", 1), began, began + SECOND // 20)
    told, _ = run(State(), world.stored(), world.now // SECOND)
    assert reasons(told) == ["never_set"]
