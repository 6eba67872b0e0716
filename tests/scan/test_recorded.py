"""What is known of the uses of entries from the record of the site's calls."""

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cache_monitor.scan.base import Entry
from cache_monitor.scan.recorded import RecordedUses, TraceNames
from cache_monitor.trace import SECOND, Plan, hash_of
from cache_monitor.trace.codec import StoredSlice
from cache_monitor.trace.replay import Replay
from cache_monitor.trace.state import State
from tests import forked
from tests.services import Server
from tests.trace.world import TOLERANCE, World, key_of

ROOT = Path(__file__).parents[2]
DJANGO = "django.core.cache.backends"
UNREAD = {"unread", "again", "made", "some", "forever", "late"}
ALIASES = ["default", "files", "database", "redis", "django-redis", "memcached", "own-keys"]
HIDES_EXPIRED = {"redis", "django-redis", "memcached"}


def _site(tmp_path: Path, redis: Server, memcached: Server) -> str:
    address = f"redis://{redis.address}"
    caches = {
        "default": {"BACKEND": f"{DJANGO}.locmem.LocMemCache"},
        "files": {
            "BACKEND": f"{DJANGO}.filebased.FileBasedCache",
            "LOCATION": str(tmp_path / "files"),
        },
        "database": {"BACKEND": f"{DJANGO}.db.DatabaseCache", "LOCATION": "planted"},
        "redis": {"BACKEND": f"{DJANGO}.redis.RedisCache", "LOCATION": f"{address}/8"},
        "django-redis": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"{address}/9"},
        "memcached": {
            "BACKEND": f"{DJANGO}.memcached.PyMemcacheCache",
            "LOCATION": memcached.address,
            "KEY_PREFIX": f"planted-{os.getpid()}",
        },
        "own-keys": {
            "BACKEND": f"{DJANGO}.locmem.LocMemCache",
            "LOCATION": "own-keys",
            "KEY_FUNCTION": "tests.programs.planted.own_key",
        },
    }
    store = {
        "BACKEND": "cache_monitor.stores.sqlite.SQLiteStore",
        "OPTIONS": {"PATH": str(tmp_path / "monitor.sqlite3")},
    }
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db.sqlite3")}
    return json.dumps(
        {
            "CACHES": caches,
            "CACHE_MONITOR": {"STORE": store, "STALE_AFTER": 1, "FLUSH_INTERVAL": 60},
            "DATABASES": {"default": database},
        }
    )


@pytest.fixture(scope="module")
def planted(
    tmp_path_factory: pytest.TempPathFactory, redis_server: Server, memcached_server: Server
) -> dict[str, Any]:
    site = _site(tmp_path_factory.mktemp("planted"), redis_server, memcached_server)
    found: dict[str, Any] = json.loads(
        forked.printed(["-m", "tests.programs.planted"], {"SITE": site})
    )
    return found


@pytest.mark.parametrize("alias", ALIASES)
def test_of_every_backend_it_is_told_what_was_never_read_and_what_is_idle(
    planted: dict[str, Any], alias: str
) -> None:
    told = planted[alias]
    assert told["problem"] is None
    names = set(told["real"]) - ({"expired"} if alias in HIDES_EXPIRED else set())
    assert set(told["entries"]) == names
    unread = UNREAD | ({"expired"} & names)
    assert {name for name, each in told["entries"].items() if each["never_read"]} == unread
    assert {name for name, each in told["entries"].items() if each["never_read"] is None} == set()
    counts = told["counts"]
    assert (counts["never_read"], counts["never_read_error"]) == (len(unread), 0)
    # Those used last may be idle too by now, on a slow machine.
    assert len(names) - 2 <= counts["idle"] <= len(names)
    assert (counts["idle_error"], counts["no_expiry"]) == (0, 1)


@pytest.mark.parametrize("alias", ALIASES)
def test_of_every_backend_ages_are_told(planted: dict[str, Any], alias: str) -> None:
    told = planted[alias]
    for name, each in told["entries"].items():
        written, used = told["real"][name]
        # The servers' clocks tick in seconds.
        assert each["age"] == pytest.approx(written, abs=0.5), name
        assert each["idle"] == pytest.approx(used, abs=1.5), name


# What really happened, on any number of hosts


class Reality:
    """When each entry of a world was written and read."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.read: dict[tuple[str, int], bool] = {}

    def set(self, name: str, process: int) -> None:
        self.world.set(name, process)
        self.read[name, 1] = False

    def get(self, name: str, process: int) -> None:
        if self.world.get(name, process):
            self.read[name, 1] = True


def uses_of(state: State, world: World, plan: Plan | None = None) -> RecordedUses:
    uses = RecordedUses(TraceNames("", "1"), plan or Plan(), state, world.now / SECOND)
    uses.tolerance, uses.stale_after, uses.kept = TOLERANCE, 60.0, 86400.0
    return uses


def replayed(parts: list[StoredSlice], until: int, state: State | None = None) -> State:
    state = state or State()
    Replay(state, TOLERANCE).run(parts, [], until)
    return state


@pytest.mark.parametrize("seed", range(20))
def test_what_is_said_to_be_unread_was_not_read_on_any_host(seed: int) -> None:
    random, world = Random(seed), World(seed)
    reality = Reality(world)
    names = [f"page:{number}" for number in range(40)]
    for _ in range(400):
        name, process = random.choice(names), random.randrange(6)
        if random.random() < 0.4:
            reality.set(name, process)
        else:
            reality.get(name, process)
        if random.random() < 0.3:
            world.pass_by(random.choice([0.01, 0.2, 2.0]))
    world.pass_by(5)
    uses = uses_of(replayed(world.stored(), world.now // SECOND), world)
    told = {name: uses.use_of(key_of(name).hash, "1").unread for name, _ in reality.read}
    wrong = [name for name, unread in told.items() if unread is reality.read[name, 1]]
    assert wrong == []
    known = [name for name, unread in told.items() if unread is not None]
    assert len(known) >= 0.6 * len(told)


def _written(world: World) -> State:
    world.pass_by(1)  # the clocks of its hosts differ
    for name in ("page:1", "page:2"):
        world.set(name, 0)
        world.pass_by(1)
    world.get("page:2", 3)
    return replayed(world.stored(), world.now // SECOND)


def test_what_was_used_in_a_gap_of_the_record_is_not_known() -> None:
    world = World(1)
    state = _written(world)
    world.slices.clear()
    world.pass_by(30)
    world.get("page:3", 1)
    parts = world.stored()
    parts[0].gap = True
    world.pass_by(120)
    state = replayed(parts, world.now // SECOND, state)
    use = uses_of(state, world).use_of(key_of("page:1").hash, "1")
    assert (use.unread, use.written) == (None, None)
    # It may have been used in the gap, which is longer ago than an entry may be idle.
    assert use.idle_since == parts[0].end * SECOND


def test_what_was_written_before_the_record_began_is_only_known_to_be_idle() -> None:
    world = World(1)
    state = _written(world)
    world.pass_by(300)
    old = key_of("page:old").hash
    assert uses_of(state, world).use_of(old, "1").idle_since == state.since * SECOND
    assert uses_of(state, world).use_of(old, "1").unread is None


def test_what_is_not_on_record_may_have_been_written_a_moment_ago_until_it_is_seen_again() -> None:
    world = World(1)
    state = _written(world)
    world.pass_by(300)
    new = key_of("page:new").hash
    uses = uses_of(state, world)
    uses.reported_until = world.now - 20 * SECOND
    assert uses.use_of(new, "1").idle_since is None
    seen = uses.unrecorded
    world.pass_by(60)
    uses = uses_of(state, world)
    uses.reported_until, uses.first_scanned = world.now - 20 * SECOND, seen
    assert uses.use_of(new, "1").idle_since == state.since * SECOND


def test_what_another_process_may_still_have_to_tell_of_is_not_said_to_be_unread() -> None:
    world = World(1)
    uses = uses_of(_written(world), world)
    assert uses.use_of(key_of("page:1").hash, "1").unread is True
    uses.reported_until = world.now - 20 * SECOND
    assert uses.use_of(key_of("page:1").hash, "1").unread is None
    assert uses.use_of(key_of("page:2").hash, "1").unread is False


def test_of_keys_left_out_of_the_trace_others_stand_for_them() -> None:
    world = World(1)
    plan = Plan(1, 1, frozenset({hash_of("\0hot")}))
    uses = uses_of(_written(world), world, plan)
    names = [f"key:{number}" for number in range(200)]
    told = [uses.with_uses(Entry(name, 10)).traced for name in names]
    taken = [plan.takes(hash_of(f"\0{name}")) for name in names]
    assert told == ["sample" if each else "out" for each in taken]
    assert uses.with_uses(Entry("hot", 10)).traced == "whole"


SAMPLED = """
import json, time
from tests.programs.hosts import configure
configure()
from django.core.cache import cache
from cache_monitor.stores.rows import trace_settings
from cache_monitor.worker import wiring, rollup
from cache_monitor.scan.schedule import ScanScheduler
from cache_monitor.scan.recorded import Reporter
from cache_monitor.calls import recorder
from cache_monitor.stores.base import get_store

for number in range(2000):
    cache.set(f"user:{number}", number, 600)
    if number % 4:
        cache.get(f"user:{number}")
wiring.background_worker.stop()  # what it has traced is final then
rollup.roll_trace(get_store(), int(time.time()) + 200, trace_settings())
reporter = Reporter(recorder.process, time.time())
look = ScanScheduler().scan_due(recorder.process, get_store(), reporter=reporter)["default"]
print(json.dumps([look.entries, look.never_read, look.never_read_error]))
"""


def test_of_more_keys_than_the_trace_takes_the_figure_is_right_to_its_error(tmp_path: Path) -> None:
    options = {"MAX_ENTRIES": 5000}
    site = {
        "CACHES": {"default": {"BACKEND": f"{DJANGO}.locmem.LocMemCache", "OPTIONS": options}},
        "CACHE_MONITOR": {
            "STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"},
            "TRACE_KEYS": 400,
            "FLUSH_INTERVAL": 60,
        },
        "DATABASES": {},
    }
    out = subprocess.run(
        [sys.executable, "-c", SAMPLED],
        cwd=ROOT,
        env={**os.environ, "SITE": json.dumps(site)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    entries, never_read, error = json.loads(out)
    assert entries == 2000
    assert 0 < error < 500
    assert abs(never_read - 500) <= error
