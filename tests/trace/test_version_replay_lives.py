"""How long entries lasted and what ended them, against what really happened."""

from collections import Counter

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cache_monitor.stats import sketches
from cache_monitor.stats.groups import LifeStats
from cache_monitor.trace import HIT, NEVER, SECOND, WRITE, CallType, Event
from cache_monitor.trace.miss_reasons import EntryChange
from cache_monitor.trace.state import ReplayResult
from cache_monitor.trace.version_replay import LifeTracker
from tests.trace.test_against_world import replayed
from tests.trace.world import TOLERANCE, World


class Truth:
    """The lives of keys as somebody sees them who sees everything, one step after the other."""

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()
        self.unread: Counter[str] = Counter()
        self.reads = 0
        self._lives: dict[str, tuple[int, bool, str]] = {}
        """When they expire, whether they were read, and why they are gone, if they are."""

    def end(self, name: str, how: str) -> None:
        _, is_read, _ = self._lives.pop(name)
        self.ends[how] += 1
        self.unread[how] += not is_read

    def expire(self, now: int) -> None:
        for name, (expires, _, _) in list(self._lives.items()):
            if expires != NEVER and expires <= now:
                self.end(name, "expired")

    def set(self, name: str, now: int, timeout: int) -> None:
        if name in self._lives:
            self.end(name, "overwritten")
        self._lives[name] = (NEVER if timeout == NEVER else now + timeout, False, "")

    def get(self, name: str) -> None:
        if name in self._lives:
            expires, is_read, gone = self._lives[name]
            if gone:
                self.end(name, gone)
            else:
                self.reads += not is_read
                self._lives[name] = expires, True, ""

    def remove(self, name: str, how: str) -> None:
        # Nobody deletes what is not there: that is no deletion.
        if name in self._lives and (how == "cleared" or not self._lives[name][2]):
            self.end(name, how)

    def clear(self) -> None:
        for name in list(self._lives):
            self.remove(name, "cleared")

    def take_away(self, name: str, reason: str) -> None:
        if name in self._lives:
            expires, is_read, gone = self._lives[name]
            self._lives[name] = expires, is_read, gone or reason


def of_all(told: list[ReplayResult]) -> LifeStats:
    total = LifeStats()
    for each in told:
        for figures in each.groups.values():
            if figures.lives is not None:
                total.merge(figures.lives)
    return total


steps = st.tuples(
    st.sampled_from(["get"] * 4 + ["set"] * 3 + ["delete", "clear", "take_away"]),
    st.sampled_from(["page:1", "page:2"]),
    st.integers(0, 5),
    st.sampled_from([NEVER, 30 * SECOND, 100 * SECOND]),
    st.sampled_from([2, 5, 50]),
)


@settings(max_examples=60, phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink))
@given(
    st.integers(0, 2**20),
    st.lists(steps, min_size=3, max_size=40),
    st.sampled_from(["evicted", "lost"]),
    st.integers(1, 5),
)
def test_of_calls_that_are_apart_every_life_is_told(
    seed: int, happened: list[tuple[str, str, int, int, int]], gone: str, batches: int
) -> None:
    world, truth = World(seed), Truth()
    for action, name, process, timeout, pause in happened:
        world.read()
        truth.expire(world.now)
        if action == "get":
            world.get(name, process)
            truth.get(name)
        elif action == "set":
            world.set(name, process, timeout)
            truth.set(name, world.now, timeout)
        elif action == "delete":
            world.delete(name, process)
            truth.remove(name, "deleted")
        elif action == "clear":
            world.clear(process)
            truth.clear()
        else:
            world.take_away(name, gone)
            truth.take_away(name, gone)
        # Off the seconds in which things expire: a server's clock may tick in those.
        world.pass_by(pause + 0.25)
    world.read()
    truth.expire(world.now + 3600 * SECOND)
    told = of_all(replayed(world.stored(), batches, world.now // SECOND + 3600))
    assert told.ends == +truth.ends
    assert told.unread == +truth.unread
    assert sum(told.first_read.values()) == truth.reads
    assert sum(told.lasted.values()) == sum(told.ends.values())
    assert sum(told.evicted_at.values()) == told.ends.get("evicted", 0)


def test_a_life_lasts_from_its_write_to_its_end() -> None:
    world = World(1, spread=0)
    world.read()
    world.set("page:1", 0)
    world.pass_by(8)
    world.get("page:1", 3)
    world.pass_by(8)
    world.set("page:1", 2, 64 * SECOND)
    world.pass_by(200)
    told = of_all(replayed(world.stored(), 3, world.now // SECOND))
    assert told.ends == {"overwritten": 1, "expired": 1}
    assert told.unread == {"expired": 1}
    lasted = sorted(sketches.middle_of(each) for each in told.lasted)
    assert [round(each / expected, 1) for each, expected in zip(lasted, (16, 64), strict=True)] == [
        1,
        1,
    ]
    [read] = [sketches.middle_of(each) for each in told.first_read]
    assert round(read / 8, 1) == 1


def _followed(changes: list[EntryChange], asked: list[Event]) -> LifeStats:
    told = LifeStats()
    living = LifeTracker(None, lambda alias, at: told, TOLERANCE)
    living.replay([(each, "default", 1) for each in changes], asked)
    return told


def _write(at: int, process: int, host: int) -> EntryChange:
    return EntryChange(at, at - 10, WRITE, NEVER, at, process, host)


def test_of_two_writes_at_once_on_two_hosts_no_life_is_told() -> None:
    """Which of the two lasted is not known."""
    at = 100 * SECOND
    near, far = _write(at, 1, 1), _write(at + 100, 2, 2)
    assert _followed([near, far, _write(at + SECOND, 1, 1)], []).ends == {}
    apart = _write(at + SECOND, 2, 2)
    assert _followed([near, apart], []).ends == {"overwritten": 1}


def test_of_reads_that_go_on_over_a_write_it_is_not_known_which_value_they_found() -> None:
    at = 100 * SECOND
    changes = [_write(at, 1, 1), _write(at + SECOND, 1, 1), _write(at + 2 * SECOND, 1, 1)]
    run = Event(1, CallType(HIT, "default", 1), at + 1000, at + SECOND + 5000, 2, 1, times=9)
    told = _followed(changes, [run])
    assert told.ends == {"overwritten": 2}
    assert told.unread == {}


def test_what_a_restart_took_away_is_told_with_its_time() -> None:
    world = World(1, spread=0)
    world.read()
    for name in ("page:1", "page:2", "page:3"):
        world.set(name, 0)
    world.pass_by(30)
    world.take_away("page:3", "lost")
    world.get("page:3", 1)
    world.read()
    world.restart()
    world.pass_by(30)
    world.get("page:1", 2)
    world.get("page:1", 2)
    world.read()
    seen = world.now
    world.pass_by(700)
    told = of_all(replayed(world.stored(), 1, world.now // SECOND))
    assert told.ends == {"lost": 2}
    assert told.causes == {"restart": 2}
    assert abs(told.restarted_at - seen / SECOND) < 1
