"""Why gets missed, on real caches: every miss gets its reason, and the reasons add up."""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.core.cache import caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.test import override_settings
from msgspec.structs import asdict

import cache_monitor
from cache_monitor.calls import Call, Source
from cache_monitor.collecting import joining
from cache_monitor.collecting.misses import MOST_WAITING, Judge
from cache_monitor.collecting.telling import Facts
from cache_monitor.faults import Faults
from cache_monitor.ledger import Busy, Ledger
from cache_monitor.reports.schema import MissReasons
from cache_monitor.stats.details import GroupStats
from cache_monitor.stats.encoding import encode
from cache_monitor.stats.window import Window
from cache_monitor.stores.opening import get_store
from tests.conftest import find_or_leave
from tests.services import LOOPBACK, MEMCACHED, Server, answers_line, free_port, run_process
from tests.stored import stored_details
from tests.test_processes import Site

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
CACHES = {
    "default": {"BACKEND": LOCMEM},
    "twin": {"BACKEND": LOCMEM, "VERSION": 2},
    "prefixed": {"BACKEND": LOCMEM, "KEY_PREFIX": "site"},
    "small": {"BACKEND": LOCMEM, "LOCATION": "small", "OPTIONS": {"MAX_ENTRIES": 3}},
    "dummy": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
}
MEMORY = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that has recorded nothing and has no others to wait for."""
    monkeypatch.setattr("cache_monitor.collecting.misses.GRACE", 0.0)
    with override_settings(CACHES=CACHES, CACHE_MONITOR=MEMORY):
        joining.collector.drain()
        joining.collector.after_fork()
        yield
        caches["default"].clear()
        caches["small"].clear()
        joining.collector.after_fork()


def _reasons(alias: str = "default") -> dict[str, int]:
    """The reasons that were found, once it is sure that they add up to the misses."""
    cache = cache_monitor.report().caches[alias]
    reasons = asdict(cache.miss_reasons)
    assert sum(reasons.values()) == cache.misses
    return {name: misses for name, misses in reasons.items() if misses}


# One process


def test_without_misses_every_reason_is_zero() -> None:
    reasons = cache_monitor.report().caches["default"].miss_reasons
    assert set(asdict(reasons).values()) == {0}


def test_a_key_that_nobody_wrote_was_never_set() -> None:
    caches["default"].get("a")
    caches["default"].get_many(["b", "c"])
    assert _reasons() == {"never_set": 3}


def test_a_key_whose_timeout_has_passed_has_expired() -> None:
    cache = caches["default"]
    cache.set("a", 1, timeout=1)
    while cache.get("a") is not None:
        time.sleep(0.05)
    assert _reasons() == {"expired": 1}


def test_a_touch_gives_an_entry_its_new_expiry() -> None:
    cache = caches["default"]
    cache.set("a", 1, timeout=300)
    cache.touch("a", 0)
    cache.get("a")
    assert _reasons() == {"expired": 1}


@override_settings(CACHES={"default": {"BACKEND": LOCMEM, "TIMEOUT": 0}})
def test_the_timeout_of_the_cache_counts_where_the_caller_gave_none() -> None:
    caches["default"].set("a", 1)
    caches["default"].get("a")
    assert _reasons() == {"expired": 1}


def test_deleted_keys_were_deleted() -> None:
    cache = caches["default"]
    cache.set_many({"a": 1, "b": 2, "c": 3})
    cache.delete("a")
    cache.delete_many(["b", "c"])
    cache.get_many(["a", "b", "c"])
    assert _reasons() == {"deleted": 3}


def test_after_a_clear_keys_are_cleared_and_others_are_still_never_set() -> None:
    cache = caches["default"]
    cache.set("a", 1)
    cache.clear()
    cache.get_many(["a", "b"])
    assert _reasons() == {"cleared": 1, "never_set": 1}


def test_another_version_than_it_was_written_with_is_a_version_changed() -> None:
    cache = caches["default"]
    cache.set("a", 1, version=2)
    cache.get("a")
    cache.get("a", version=3)
    cache.get("a", version=2)
    assert _reasons() == {"version_changed": 2}


@pytest.mark.parametrize(("operation", "new"), [("incr_version", 2), ("decr_version", 0)])
def test_an_entry_that_moved_has_changed_its_version(operation: str, new: int) -> None:
    cache = caches["default"]
    cache.set("a", 1)
    getattr(cache, operation)("a")
    cache.get("a")
    cache.delete("a", version=new)
    cache.get("a", version=new)
    assert _reasons() == {"version_changed": 1, "deleted": 1}


def test_what_the_cache_had_no_room_for_was_evicted() -> None:
    cache = caches["small"]
    for n in range(20):
        cache.set(f"key:{n}", n)
    found = cache.get_many([f"key:{n}" for n in range(20)])
    assert _reasons("small") == {"evicted": 20 - len(found)}


def test_get_or_set_misses_before_it_writes() -> None:
    cache = caches["default"]
    cache.get_or_set("a", 1)
    cache.get_or_set("a", 1)
    cache.delete("a")
    cache.get_or_set("a", lambda: 1)
    assert _reasons() == {"never_set": 1, "deleted": 1}


def test_an_add_makes_an_entry_too() -> None:
    caches["default"].add("a", 1)
    caches["default"].clear()
    caches["default"].get("a")
    assert _reasons() == {"cleared": 1}


def test_aliases_that_share_their_entries_share_what_is_known() -> None:
    caches["twin"].set("a", 1)
    caches["default"].get("a")
    caches["default"].set("b", 1, version=2)
    caches["default"].delete("b", version=2)
    caches["twin"].get("b")
    assert _reasons("default") == {"version_changed": 1}
    assert _reasons("twin") == {"deleted": 1}


def test_prefixes_part_the_keys_but_not_the_clears_of_a_place() -> None:
    caches["prefixed"].set("a", 1)
    caches["default"].get("a")
    caches["default"].clear()
    caches["prefixed"].get("a")
    assert _reasons("default") == {"never_set": 1}
    assert _reasons("prefixed") == {"cleared": 1}


def test_a_cache_that_keeps_nothing_gives_no_reasons() -> None:
    caches["dummy"].set("a", 1)
    caches["dummy"].get("a")
    assert _reasons("dummy") == {"unknown": 1}


def test_the_toolbars_own_misses_are_none() -> None:
    caches["default"].get("djdt:requests")
    assert _reasons() == {}


def test_a_session_is_judged_by_its_own_key_and_counted_for_the_group() -> None:
    caches["default"].get("django.contrib.sessions.cache" + "a" * 32)
    assert _groups() == {"session": {"never_set": 1}}


def test_the_reasons_are_counted_for_the_group_of_the_key() -> None:
    cache = caches["default"]
    cache.get("user:1")
    cache.set("page:1", 1)
    cache.delete("page:1")
    cache.get_many(["page:1", "page:2"])
    assert _groups() == {
        "user:{int}": {"never_set": 1},
        "page:{int}": {"deleted": 1, "never_set": 1},
    }


def test_every_miss_has_one_reason_whatever_it_is_counted_for() -> None:
    """In all, for its group and for its key, unless the key is a session's."""
    cache = caches["default"]
    cache.set_many({"page:1": 1, "page:2": 2, "page:3": 3, "user:1": 1})
    cache.delete("page:1")
    cache.touch("page:2", 0)
    cache.incr_version("page:3")
    cache.get_many(["page:1", "page:2", "page:3", "page:4", "user:1"])
    cache.clear()
    for _ in range(3):
        cache.get("user:1")
    cache.get_or_set("user:2", 1)
    report = cache_monitor.report().caches["default"]
    of_keys = {key.key: _known(key.miss_reasons) for key in report.hot_keys}
    assert of_keys == {
        "page:1": {"deleted": 1},
        "page:2": {"expired": 1},
        "page:3": {"version_changed": 1},
        "page:4": {"never_set": 1},
        "user:1": {"cleared": 3},
        "user:2": {"never_set": 1},
    }
    keys = [(key.miss_reasons, key.misses) for key in report.hot_keys]
    groups = [(group.miss_reasons, group.misses) for group in report.key_groups]
    for reasons, misses in (*keys, *groups):
        assert sum(asdict(reasons).values()) == misses
    for parts in (keys, groups):
        in_all: Counter[str] = Counter()
        for reasons, _ in parts:
            in_all.update(asdict(reasons))
        assert in_all == Counter(asdict(report.miss_reasons))
    assert _reasons() == {
        "never_set": 2,
        "expired": 1,
        "deleted": 1,
        "cleared": 3,
        "version_changed": 1,
    }


def _known(reasons: MissReasons) -> dict[str, int]:
    return {name: misses for name, misses in asdict(reasons).items() if misses}


def test_the_reasons_of_groups_add_up() -> None:
    one, other = (GroupStats("key", reasons=reasons) for reasons in ({"expired": 1}, {}))
    for more in ({"expired": 2}, {"deleted": 3}):
        other.merge(GroupStats("key", reasons=more))
    one.merge(other)
    assert one.reasons == {"expired": 3, "deleted": 3}
    assert other.reasons == {"expired": 2, "deleted": 3}


def _groups() -> dict[str, dict[str, int]]:
    return {name: group.reasons for name, group in stored_details().groups.items()}


def test_a_miss_that_waits_is_unknown_until_it_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    # However long the machine keeps the test waiting.
    monkeypatch.setattr("cache_monitor.collecting.misses.GRACE", 3600.0)
    caches["default"].get("a")
    cache_monitor.flush()
    assert _reasons() == {"unknown": 1}
    monkeypatch.setattr("cache_monitor.collecting.misses.GRACE", 0.0)
    cache_monitor.flush()
    assert _reasons() == {"never_set": 1}


def test_at_the_end_of_the_process_no_miss_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cache_monitor.collecting.misses.GRACE", 60.0)
    caches["default"].get("a")
    joining.collector.drain(last=True)
    assert _reasons() == {"never_set": 1}


def test_after_a_fork_nothing_of_the_parents_is_judged() -> None:
    caches["default"].get("a")
    joining.collector.after_fork()
    assert _reasons() == {}


def test_windows_of_an_older_version_have_misses_of_unknown_reason() -> None:
    caches["default"].get("a")
    cache_monitor.flush()
    [row] = get_store().read("window", 0, 2**40, None)
    version, fields = row.payload[:1], msgspec.msgpack.decode(row.payload[1:], strict=False)
    older = version + msgspec.msgpack.encode(fields[: Window.__struct_fields__.index("reasons")])
    get_store().put([row._replace(process="older", payload=older)], now=1)
    assert _reasons() == {"never_set": 1, "unknown": 1}


def test_reasons_never_exceed_the_misses() -> None:
    """A reason that was found late is counted in a later stretch, which may have no misses."""
    caches["default"].get("a")
    cache_monitor.flush()
    [row] = get_store().read("window", 0, 2**40, None)
    window = Window(row.start, row.seconds, reasons={"never_set": 1, "deleted": 2, "of later": 3})
    get_store().put([row._replace(process="late", payload=encode(window))], now=1)
    assert _reasons() == {"never_set": 1}


def test_the_judges_faults_stop_no_counting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Ledger, "judge", _fail)
    monkeypatch.setattr(Judge, "hear", _fail)
    monkeypatch.setattr("cache_monitor.recorder.recorder.faults", Faults())
    caches["default"].get("a")
    assert _reasons() == {"unknown": 1}
    joining.collector.stop()
    assert ["ZeroDivisionError" in each.getMessage() for each in caplog.records] == [True]


def _fail(*_: object) -> None:
    raise ZeroDivisionError


# The judge by itself

FACTS = Facts("shared", default_timeout=300.0, version=1)
GET, SET, ADD, TOUCH = (Source("default", name) for name in ("get", "set", "add", "touch"))
NOW = 1_800_000_000.0


def _call(
    source: Source, at: float, *, hit: bool | None = None, timeout: object = None, **extra: Any
) -> Any:
    error, effect = extra.get("error"), extra.get("effect")
    return Call(source, at, 0.0, "a", hit, None, timeout, error=error, effect=effect)


def _judged(*calls: Any, facts: Facts = FACTS, ledger: Ledger | None = None) -> list[str]:
    used = Ledger(None, slots=64) if ledger is None else ledger
    judge = Judge(used, lambda _: facts)
    judge.hear(calls, NOW)
    reasons = [judged.reason for judged in judge.judged(NOW + 100)]
    used.close()
    return list(map(str, reasons))


def test_an_add_that_found_the_key_taken_changes_nothing() -> None:
    written = _call(SET, 0.0, timeout=1)
    refused = _call(ADD, 0.5, timeout=None, effect=False)
    assert _judged(written, refused, _call(GET, 5.0, hit=False)) == ["expired"]
    taken = _call(ADD, 0.5, timeout=None, effect=True)
    assert _judged(written, taken, _call(GET, 5.0, hit=False)) == ["evicted"]


def test_a_touch_that_found_nothing_makes_no_entry() -> None:
    nothing = _call(TOUCH, 0.0, timeout=1, effect=False)
    assert _judged(nothing, _call(GET, 5.0, hit=False)) == ["never_set"]


def test_a_call_that_failed_tells_nothing() -> None:
    failed = _call(SET, 0.0, error="TimeoutError")
    assert _judged(failed, _call(GET, 1.0, hit=False)) == ["never_set"]


@pytest.mark.parametrize(("renews", "reason"), [(True, "evicted"), (False, "expired")])
def test_incr_keeps_the_expiry_unless_the_backend_writes_anew(renews: bool, reason: str) -> None:
    calls = [
        _call(SET, 0.0, timeout=2),
        _call(Source("default", "incr"), 0.5),
        _call(GET, 5.0, hit=False),
    ]
    assert _judged(*calls, facts=FACTS._replace(incr_renews=renews)) == [reason]


@pytest.mark.parametrize("timeout", ["never", float("nan"), 10**400, object()])
def test_a_timeout_that_makes_no_sense_harms_nobody(timeout: object) -> None:
    assert _judged(_call(SET, 0.0, timeout=timeout), _call(GET, 1.0, hit=False)) == ["evicted"]


def test_a_default_timeout_is_that_of_the_cache() -> None:
    calls = [_call(SET, 0.0, timeout=DEFAULT_TIMEOUT), _call(GET, 5.0, hit=False)]
    assert _judged(*calls) == ["evicted"]
    assert _judged(*calls, facts=FACTS._replace(default_timeout=2.0)) == ["expired"]


def test_while_the_ledger_is_busy_everything_waits_in_its_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger = Ledger(None, slots=64)
    judge = Judge(ledger, lambda _: FACTS)
    judge.hear([_call(SET, 0.0), _call(GET, 1.0, hit=False)], NOW)
    for method in ("post", "judge"):
        with monkeypatch.context() as context:
            context.setattr(ledger, method, _be_busy)
            assert list(judge.judged(NOW + 100)) == []
    assert [judged.reason for judged in judge.judged(NOW + 100)] == ["evicted"]
    ledger.close()


def _be_busy(_: Iterable[object]) -> None:
    raise Busy


def test_a_clock_that_is_set_back_keeps_no_miss_waiting() -> None:
    judge = Judge(Ledger(None, slots=64), lambda _: FACTS)
    judge.hear([_call(GET, 3600.0, hit=False), _call(GET, 0.0, hit=False)], NOW)
    assert [judged.at for judged in judge.judged(NOW + 10)] == [NOW + 3600, NOW]


def test_a_miss_waits_for_a_process_that_has_fallen_behind() -> None:
    ledger = Ledger(None, slots=64)
    now = time.time()
    slow = Judge(ledger, lambda _: FACTS, "slow")
    slow.heard_all(now - 5)
    assert list(slow.judged(now)) == []
    quick = Judge(ledger, lambda _: FACTS, "quick")
    quick.hear([_call(GET, -3.0, hit=False)], now)
    assert list(quick.judged(now)) == []
    slow.hear([_call(SET, -4.0)], now)
    slow.heard_all(now)
    assert list(slow.judged(now)) == []
    assert [judged.reason for judged in quick.judged(now)] == ["evicted"]
    ledger.close()


def test_a_delete_that_found_nothing_explains_no_miss() -> None:
    nothing = _call(Source("default", "delete"), 0.0, effect=False)
    assert _judged(nothing, _call(GET, 5.0, hit=False)) == ["never_set"]


def test_what_waits_is_bounded() -> None:
    judge = Judge(Ledger(None, slots=64), lambda _: FACTS)
    calls = [_call(SET, 0.0), _call(GET, 1.0, hit=False)] * (MOST_WAITING + 10)
    judge.hear(calls, NOW)
    assert len(judge._events) == len(judge._misses) == MOST_WAITING


def test_without_a_common_ledger_only_what_a_process_has_for_itself_is_judged(
    tmp_path: Path,
) -> None:
    miss = _call(GET, 1.0, hit=False)
    assert _judged(miss, ledger=Ledger(tmp_path)) == []
    own = FACTS._replace(is_own=True)
    assert _judged(miss, ledger=Ledger(tmp_path), facts=own) == ["never_set"]


def test_processes_of_one_project_share_a_ledger_and_other_projects_do_not(
    settings: Any,
) -> None:
    path = joining._ledger_path()
    assert joining._ledger_path() == path
    settings.CACHES = {**CACHES, "more": {"BACKEND": LOCMEM, "LOCATION": "elsewhere"}}
    other = joining._ledger_path()
    settings.BASE_DIR = Path("another")
    assert len({path, other, joining._ledger_path()}) == 3


def test_what_is_known_of_a_cache_comes_from_its_backend_and_settings(
    settings: Any, tmp_path: Path
) -> None:
    files = "django.core.cache.backends.filebased.FileBasedCache"
    wrapped = {"BACKEND": "cache_monitor.backends.MonitoredCache", "WRAPS": files}
    settings.CACHES = {
        "default": {"BACKEND": LOCMEM, "TIMEOUT": 7, "VERSION": 3, "KEY_PREFIX": "site"},
        "files": {"BACKEND": files, "LOCATION": str(tmp_path), "TIMEOUT": None},
        "wrapped": {**wrapped, "LOCATION": str(tmp_path)},
    }
    memory, plain, monitored = (joining.facts_of("one", alias) for alias in settings.CACHES)
    assert memory is not None
    assert plain is not None
    assert monitored is not None
    assert memory[1:] == (7, 3, "site", True, False)
    assert plain[1:] == (None, 1, "", False, True)
    assert monitored == plain._replace(default_timeout=300)
    assert joining.facts_of("another", "files") == plain
    assert joining.facts_of("another", "default") != memory
    assert joining.facts_of("one", "nowhere") is None


def test_the_name_of_the_ledger_tells_nothing_of_passwords(settings: Any) -> None:
    paths = set()
    for user in ("", "me:secret@", ":other@"):
        redis = {"BACKEND": LOCMEM, "LOCATION": [f"redis://{user}host:6379/1"]}
        settings.CACHES = {"default": redis}
        paths.add(joining._ledger_path())
    assert len(paths) == 1


# Several processes


def test_what_redis_had_no_room_for_was_evicted(small_redis: Server) -> None:
    redis = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": small_redis.url,
    }
    with override_settings(CACHES={"default": redis}):
        cache = caches["default"]
        for n in range(100):
            cache.set(f"key:{n}", b"x" * 50_000)
        gone = [n for n in range(100) if cache.get(f"key:{n}") is None]
        assert gone
        assert _reasons() == {"evicted": len(gone)}


def _reasons_in_four_workers(var: Path, backend: str, location: str = "") -> dict[str, Any]:
    site = Site(var)
    site.environment = {**site.environment, "SERVER": location, "TMPDIR": str(var)}
    site.run("django", "migrate", "--verbosity", "0")
    out, _ = site.run("tests.programs.misses", backend)
    found: dict[str, Any] = json.loads(out)
    return found


def _assert_right(found: dict[str, Any]) -> None:
    """At least 99 % right; wrong, rather than unknown, at most 1 % of any reason."""
    misses = found["misses"]
    assert set(misses) == {
        "cleared",
        "deleted",
        "moved",
        "both",
        "elsewhere",
        "expired",
        "never",
        "evicted",
    }
    for name, expected in {
        "cleared": {"cleared": 600},
        "deleted": {"deleted": 600},
        "moved": {"version_changed": 600},
        "both": {"version_changed": 300, "deleted": 300},
        "elsewhere": {"version_changed": 600},
        # Written by get_or_set, which misses itself: at first, and after each clear().
        "expired": {"expired": 600, "never_set": 200, "cleared": 400},
        "never": {"never_set": 600},
        "evicted": {"evicted": misses["evicted"]["misses"]},
    }.items():
        counts = dict(misses[name])
        total = counts.pop("misses")
        assert total == sum(expected.values()) > 0, name
        right = sum(min(counts.get(reason, 0), each) for reason, each in expected.items())
        assert right >= 0.99 * total, (name, counts)
        assert sum(counts.values()) - right <= 0.01 * total, (name, counts)
    for cache in found["reported"].values():
        assert sum(cache["reasons"].values()) == cache["misses"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["locmem", "files", "database"])
def test_four_forked_workers_know_why_they_miss(tmp_path: Path, backend: str) -> None:
    _assert_right(_reasons_in_four_workers(tmp_path, backend))


@pytest.mark.slow
def test_four_forked_workers_know_why_they_miss_in_redis(
    tmp_path: Path, small_redis: Server
) -> None:
    _assert_right(_reasons_in_four_workers(tmp_path, "redis", small_redis.url))


@pytest.mark.slow
@pytest.mark.memcached
def test_four_forked_workers_know_why_they_miss_in_a_small_memcached(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    server = Server("memcached", LOOPBACK, free_port())
    command = find_or_leave(MEMCACHED, pytestconfig)
    argv = [command, "-l", server.host, "-p", str(server.port), "-U", "0", "-m", "4"]
    argv += ["-u", "nobody"] if os.geteuid() == 0 else []
    with run_process(argv, lambda: answers_line(server, b"version", b"VERSION")):
        _assert_right(_reasons_in_four_workers(tmp_path, "memcached", server.address))


@pytest.mark.skipif(sys.platform == "win32", reason="needs fcntl")
def test_processes_that_are_not_forked_from_each_other_share_the_ledger(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.environment = {**site.environment, "TMPDIR": str(tmp_path)}
    site.run("django", "migrate", "--verbosity", "0")
    work = "from django.core.cache import caches; files = caches['files']; "
    for calls in ("files.set('a', 1)", "files.delete('a')", "files.get('a'); files.get('b')"):
        site.run("django", "shell", "--no-imports", "-c", work + calls)
    reasons = site.stats()["caches"]["files"]["miss_reasons"]
    assert (reasons["deleted"], reasons["never_set"], reasons["unknown"]) == (1, 1, 0)
