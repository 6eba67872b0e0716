"""What is traced is replayed once, whoever does it and wherever that one is stopped."""

from collections import Counter
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from cache_monitor.reports.traced import Newer, newer, newer_rows
from cache_monitor.stats.codec import decode
from cache_monitor.stats.sketches import add_counts
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Kind, Row, StoreError
from cache_monitor.stores.memory import MemoryStore
from cache_monitor.stores.rows import TraceSettings, plans, state_of
from cache_monitor.trace import SECOND, Plan, TraceLimits, slices
from cache_monitor.trace.codec import decode_slices, encode_slices
from cache_monitor.trace.replay import Replay
from cache_monitor.trace.state import ReplayResult
from cache_monitor.worker import rollup
from cache_monitor.worker.rollup import merge_processes, roll_trace, roll_up
from tests.trace.world import START, World

CONF = TraceSettings(TraceLimits(), 0.05, 30, 100)
LATER = START + 600


def busy_world() -> World:
    """Two misses of each of several reasons, over three minutes."""
    world = World(1)
    world.read()
    for n in range(2):
        world.get(f"never:{n}", 1)
        world.set(f"expired:{n}", 0, 5 * SECOND)
        world.set(f"deleted:{n}", 2)
        world.pass_by(0.2)
        world.delete(f"deleted:{n}", 4)
        world.pass_by(80)
        world.get(f"expired:{n}", 3)
        world.get(f"deleted:{n}", 5)
    world.read()
    return world


EXPECTED = {"never_set": 2, "expired": 2, "deleted": 2}


def rows_of(world: World, name: str = "store") -> list[Row]:
    return [
        Row("trace", part.process, name, part.start, 10, encode_slices([part]))
        for part in world.stored()
    ]


def told(store: MemoryStore) -> Counter[str]:
    """The reasons in all windows."""
    found: dict[str, int] = {}
    for row in store.read("window", 0, 2**40, None):
        add_counts(found, decode(row.payload, Window).reasons)
    return Counter(found)


def test_each_minute_is_replayed_as_it_closes_and_counts_once() -> None:
    store = MemoryStore()
    store.put(rows_of(busy_world()), START)
    for now in range(START, LATER, 20):
        roll_trace(store, now, CONF)
        merge_processes(store, now, 30)
    roll_up(store, LATER + 3600)
    assert told(store) == EXPECTED
    assert not store.read("trace", 2, 2**40, None, seconds=10)
    assert store.read("trace", 2, 2**40, None, seconds=60)


class Writing(MemoryStore):
    """A store that says whether it is being written."""

    is_writing = False

    def replace(self, remove: Sequence[Row], add: Sequence[Row], now: int) -> None:
        self.is_writing = True
        super().replace(remove, add, now)
        self.is_writing = False


def test_a_replay_may_pause_all_the_time_but_while_it_writes() -> None:
    """Another thread that wants to compute waits until this one pauses."""
    world = World(1)
    for n in range(200):
        world.get(f"never:{n}", n % 4)
    paced, plain = Writing(), MemoryStore()
    pauses: list[bool] = []
    for store in (paced, plain):
        store.put(rows_of(world), START)
    roll_trace(paced, LATER, CONF, lambda: pauses.append(paced.is_writing))
    roll_trace(plain, LATER, CONF)
    assert told(paced) == told(plain) == {"never_set": 200}
    assert len(pauses) >= 20
    assert not any(pauses)


def test_a_replay_that_takes_long_does_not_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be given up, and the next one would be of fewer keys."""
    pauses: list[float] = []
    now = 100.0
    haste = rollup._Haste(now + rollup._TIME_LIMIT, lambda: pauses.append(now))
    monkeypatch.setattr(rollup, "time", SimpleNamespace(monotonic=lambda: now))
    for _ in range(3):
        haste.pace()
        now += rollup._TIME_LIMIT * 0.4
    assert pauses == [100.0, 106.0]


class Interrupted(MemoryStore):
    """A store whose ``at``-th write is the last that this process makes."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at
        self.writes = 0

    def replace(self, remove: Sequence[Row], add: Sequence[Row], now: int) -> None:
        self.writes += 1
        if self.writes == self.at:
            raise StoreError("killed")
        super().replace(remove, add, now)


@pytest.mark.parametrize("at", range(1, 12))
def test_who_is_killed_while_rolling_up_leaves_nothing_undone_or_done_twice(at: int) -> None:
    store = Interrupted(0)
    store.put(rows_of(busy_world()), START)
    store.at, store.writes = at, 0
    stopped = 0
    for now in range(START, LATER, 20):
        try:
            roll_trace(store, now, CONF)
            merge_processes(store, now, 30)
        except StoreError:
            stopped += 1
    # What waits for its last write for too long is rolled up as it is.
    roll_up(store, LATER + 3 * 3600)
    assert told(store) == EXPECTED
    assert stopped <= 1


def test_of_two_who_roll_up_at_once_one_is_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    store.put(rows_of(busy_world()), START)
    other = state_of
    has_come = False

    def be_overtaken(asked: MemoryStore, name: str) -> object:
        nonlocal has_come
        state = other(asked, name)
        if not has_come:
            has_come = True
            roll_trace(store, LATER, CONF)
        return state

    monkeypatch.setattr(rollup, "state_of", be_overtaken)
    roll_trace(store, LATER, CONF)
    assert told(store) == EXPECTED


def test_rows_that_come_late_are_replayed_when_they_come() -> None:
    store = MemoryStore()
    rows = rows_of(busy_world())
    late = [row for row in rows if row.process == "1-1"]
    store.put([row for row in rows if row not in late], START)
    roll_trace(store, LATER, CONF)
    store.put(late, START)
    roll_trace(store, LATER + 60, CONF)
    assert told(store) == EXPECTED


def test_a_row_that_cannot_be_read_is_skipped() -> None:
    store = MemoryStore()
    store.put([*rows_of(busy_world()), Row("trace", "x", "store", START, 10, b"x")], START)
    roll_trace(store, LATER, CONF)
    assert told(store) == EXPECTED
    assert not store.read("trace", 2, 2**40, None, seconds=10)


def test_a_state_that_cannot_be_read_is_begun_anew() -> None:
    store = MemoryStore()
    store.put([*rows_of(busy_world()), Row("trace", "", "store", 1, 0, b"x")], START)
    roll_trace(store, LATER, CONF)
    assert told(store) == EXPECTED


def test_a_process_that_does_not_finish_its_rows_is_waited_for_and_then_not() -> None:
    store = MemoryStore()
    world = busy_world()
    parts = world.stored()
    for part in parts:
        part.final = part.process != "0-0"
    store.put(
        [
            Row("trace", each.process, "store", each.start, 10, encode_slices([each]))
            for each in parts
        ],
        START,
    )
    roll_trace(store, START + 95, CONF)
    assert not told(store)
    roll_trace(store, LATER, CONF)
    assert told(store).total() == sum(EXPECTED.values())
    assert told(store)["unknown"] > 0


def test_more_keys_than_are_wanted_are_sampled() -> None:
    world = World(1)
    for n in range(300):
        world.get(f"key:{n}", n % 6)
    store = MemoryStore()
    store.put(rows_of(world), START)
    assert plans(store) == {}
    roll_trace(store, LATER, CONF._replace(limits=TraceLimits(keys=100)))
    plan = plans(store)["store"]
    assert plan.level > 0
    assert 0 < len(plan.hot) <= 256


def test_of_a_burst_of_keys_no_more_are_replayed_than_are_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each takes 1.7 KB meanwhile, in a worker of the site."""
    monkeypatch.setattr(slices, "MOST_KEYS", 40)
    world = World(1)
    for n in range(300):
        world.get(f"key:{n}", n % 6)
    store = MemoryStore()
    store.put(rows_of(world), START)
    few = CONF._replace(limits=TraceLimits(keys=20))
    assert 0 < reasons(newer(store, few, LATER))["never_set"] <= 40
    roll_trace(store, LATER, few)
    assert 0 < len(state_of(store, "store").keys) <= 20
    assert 100 < told(store)["never_set"] < 900


def test_what_is_old_goes() -> None:
    store = MemoryStore()
    store.put(rows_of(busy_world()), START)
    roll_trace(store, LATER, CONF)
    world = World(2)
    world.now += 2 * 86400 * SECOND
    world.get("never:1")
    store.put(rows_of(world), START)
    now = (world.now // SECOND + 600) // 600 * 600
    roll_trace(store, now, CONF)
    kept = store.read("trace", 2, 2**40, None)
    assert {row.start // 86400 for row in kept} == {world.now // SECOND // 86400}


def reasons(told_now: Iterable[Newer]) -> Counter[str]:
    return Counter(miss.reason for each in told_now for miss in each.result.misses)


def test_a_report_tells_what_is_not_rolled_up_yet() -> None:
    store = MemoryStore()
    rows = rows_of(busy_world())
    store.put(rows, START)
    assert reasons(newer(store, CONF, LATER)) == EXPECTED
    kinds: set[Kind] = {row.kind for row in newer_rows(store, CONF, LATER)}
    assert kinds == {"window", "details"}
    roll_trace(store, LATER, CONF)
    assert not reasons(newer(store, CONF, LATER))


def test_rows_are_made_anew_only_where_there_is_something_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replays = []
    run = Replay.run

    def counted(replay: Replay, *args: Any) -> ReplayResult:
        replays.append(args)
        return run(replay, *args)

    monkeypatch.setattr(Replay, "run", counted)
    store, world = MemoryStore(), busy_world()
    first, *others = rows_of(world)
    store.put([first], START)
    made = newer_rows(store, CONF, LATER)
    assert newer_rows(store, CONF, LATER + 1) == made
    assert len(replays) == 1
    store.put(others, START)
    more = newer_rows(store, CONF, LATER)
    assert more != made
    assert len(replays) == 2
    # Who waits for others takes in more as time goes by, without a new row.
    begun = world.now // SECOND - 60
    assert newer_rows(store, CONF, begun) != more
    assert newer_rows(store, CONF, LATER) == more


def test_a_report_does_not_judge_what_others_may_still_tell_of() -> None:
    store = MemoryStore()
    world = World(1)
    world.get("never:1", 0)
    world.get("never:2", 1)
    store.put(rows_of(world), START)
    now = world.now // SECOND + 12
    [found] = newer(store, CONF, now)
    assert found.result.misses == []
    [found] = newer(store, CONF, now + 30)
    assert len(found.result.misses) == 2


def test_one_process_alone_waits_for_nobody() -> None:
    store = MemoryStore()
    world = World(1)
    world.get("never:1", 0)
    store.put(rows_of(world), START)
    [found] = newer(store, CONF, world.now / SECOND)
    assert reasons([found]) == {"never_set": 1}


def test_more_than_can_be_replayed_in_time_is_sampled_before_it_is_replayed() -> None:
    """Otherwise whoever rolled up would take too long, leave it to the next one, and so on."""
    world = World(1)
    for n in range(600):
        world.get(f"key:{n}", n % 6)
    store = MemoryStore()
    store.put(rows_of(world), START)
    few = TraceLimits(events=1)
    # What waits counts, not what is in a minute of it.
    [*_] = roll_trace(store, LATER, CONF._replace(limits=few))
    state = state_of(store, "store")
    assert 0 < len(state.keys) <= 120
    figures = told(store)
    assert 300 < figures["never_set"] < 1200
    assert plans(store)["store"].level >= 2
    kept = [
        part
        for row in store.read("trace", 2, 2**40, None, seconds=60)
        for part in decode_slices(row.payload)
    ]
    assert sum(part.count for part in kept) <= 120
    assert not store.read("trace", 2, 2**40, None, seconds=10)


def test_the_hottest_keys_leave_room_for_others() -> None:
    world = World(1)
    for n in range(100):
        for _ in range(3):
            world.get(f"key:{n}", n % 6)
    store = MemoryStore()
    store.put(rows_of(world), START)
    roll_trace(store, LATER, CONF._replace(limits=TraceLimits(keys=20, events=1)))
    # Half of what there may be: 60 events in the minutes from the first to the last.
    assert 0 < 3 * len(plans(store)["store"].hot) <= 0.5 * 60 * 11


@pytest.mark.parametrize(("seconds_of_cpu", "level"), [(2.0, 1), (0.0, 0)])
def test_what_takes_too_long_is_less_for_the_next_one(
    seconds_of_cpu: float, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it was the work that took long, not a process that was stopped meanwhile."""
    store, spent = MemoryStore(), iter([0.0, seconds_of_cpu])
    store.put(rows_of(busy_world()), START)
    with monkeypatch.context() as patch:
        patch.setattr(rollup, "_TIME_LIMIT", -1.0)
        clock = "cache_monitor.worker.rollup.time.thread_time"
        patch.setattr(clock, lambda: next(spent))
        roll_trace(store, LATER, CONF)
    assert not told(store)
    assert plans(store).get("store", Plan()).level == level
    roll_trace(store, LATER, CONF)
    assert told(store).total()
    assert not store.read("trace", 2, 2**40, None, seconds=10)


def told_on(store: MemoryStore, worlds: dict[str, World], now: int) -> Counter[str]:
    """The reasons that are told of what happened in ``worlds``, by the names of the stores: the
    same to who asks before it is rolled up as after."""
    before = told(store)
    store.put([row for name, world in worlds.items() for row in rows_of(world, name)], START)
    asked = reasons(newer(store, CONF, now))
    roll_trace(store, now, CONF)
    found = told(store) - before
    assert asked == found
    return found


def test_hosts_whose_servers_are_one_are_told_so_and_what_they_tell_is_unknown_until_then() -> None:
    store, first, second = MemoryStore(), busy_world(), busy_world()
    unknown = Counter({"unknown": 2 * 6})
    assert told_on(store, {"f.s1": first, "f.s2": second}, LATER) == unknown
    assert plans(store)["f"].merged
    assert plans(store)["f"].name_of("f.s1") == "f"
    for world in (first, second):
        world.slices.clear()
        world.pass_by(600)
        world.read()
        world.set("deleted:2")
        world.pass_by(1)
        world.delete("deleted:2")
        world.pass_by(1)
        world.get("deleted:2")
        world.read()
    # One of them has not heard of it yet.
    assert told_on(store, {"f": first, "f.s2": second}, LATER + 700) == {"unknown": 2}
    first.slices.clear()
    first.pass_by(120)
    first.set("deleted:3", 0)
    first.pass_by(1)
    first.delete("deleted:3", 2)
    first.pass_by(1)
    first.get("deleted:3", 4)
    first.get("never:3", 4)
    assert told_on(store, {"f": first}, LATER + 900) == {"deleted": 1, "unknown": 1}


def test_two_addresses_of_one_server_make_what_is_told_of_both_unknown_for_an_hour() -> None:
    store, world = MemoryStore(), busy_world()
    assert told_on(store, {"f": world, "g": world}, LATER) == {"unknown": 12}
    world.slices.clear()
    world.pass_by(600)
    world.get("never:3")
    assert told_on(store, {"f": world}, LATER + 700) == {"unknown": 1}


def test_hosts_with_a_server_each_have_their_own_reasons() -> None:
    first, second = busy_world(), busy_world()
    second.boot = "another"
    for part in second.slices.values():
        part.readings = [each._replace(boot="another") for each in part.readings]
    found = told_on(MemoryStore(), {"f.s1": first, "f.s2": second}, LATER)
    assert found == {name: 2 * count for name, count in EXPECTED.items()}
