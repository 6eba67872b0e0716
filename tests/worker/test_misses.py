"""Why gets missed, on real caches: every miss gets its reason, and the reasons add up."""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.http import HttpResponse
from django.test import RequestFactory, override_settings
from django.views.decorators.cache import cache_page

import cache_monitor
from cache_monitor.reports import REASONS, MissReasons
from cache_monitor.scan.backends import read_evictions
from cache_monitor.stats.codec import encode
from cache_monitor.stats.groups import GroupStats
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import get_store
from cache_monitor.trace import takes
from cache_monitor.worker import wiring
from cache_monitor.worker.trace_events import shown_name
from tests.anew import begin_anew
from tests.clocks import Clock, timing_clock
from tests.services import Server

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
def fresh() -> Iterator[None]:
    """A process that has recorded nothing."""
    with override_settings(CACHES=CACHES, CACHE_MONITOR=MEMORY):
        begin_anew()
        yield
        caches["default"].clear()
        caches["small"].clear()
        begin_anew()


def _reasons(alias: str = "default") -> dict[str, int]:
    """The reasons that were found, once it is sure that they add up to the misses."""
    cache = cache_monitor.report().caches[alias]
    reasons = _known(cache.miss_reasons)
    assert sum(reasons.values()) == cache.misses
    return reasons


# One process


@pytest.mark.parametrize("odd", ["\ud800", "\u202e"])
def test_an_odd_key_or_version_takes_no_reason_from_others(odd: Any) -> None:
    # A version may come from whoever asks for the page, and no store takes a lone surrogate.
    cache = caches["default"]
    cache.get("a")
    cache.get("a", version=odd)
    cache.set("a", 1, version=odd)
    cache.get("a", version=odd)
    cache.get(f"search:{odd}")
    cache.delete("a", version=odd)
    cache.get("a", version=odd)
    assert _reasons() == {"never_set": 3, "deleted": 1}


def test_without_misses_every_reason_is_zero() -> None:
    reasons = cache_monitor.report().caches["default"].miss_reasons
    assert {getattr(reasons, name) for name in (*REASONS, "unknown")} == {0}
    assert (reasons.judged, reasons.error) == (0, None)


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


def test_a_cached_page_among_the_hot_keys_has_its_reasons_and_a_pattern_may_be_of_it() -> None:
    view: Any = cache_page(60)(lambda request: HttpResponse("page"))
    for _ in range(2):
        view(RequestFactory().get("/somewhere/"))
        caches["default"].clear()
    view(RequestFactory().get("/somewhere/"))
    [lists] = [
        each
        for each in cache_monitor.report().caches["default"].hot_keys
        if each.key.startswith("page headers ")
    ]
    assert _known(lists.miss_reasons) == {"never_set": 1, "cleared": 2}
    assert takes("\0views.*", shown_name(lists.key, "page_headers")) is None


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


def test_what_was_thrown_out_was_evicted_however_empty_the_cache_is_by_then(tmp_path: Path) -> None:
    files = {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": str(tmp_path),
        "OPTIONS": {"MAX_ENTRIES": 30},
    }
    with override_settings(CACHES={**CACHES, "files": files}):
        cache = caches["files"]
        keys = [f"{n}" for n in range(31)]
        cache.get("none")
        assert cache_monitor.report().caches["files"].misses == 1
        for key in keys:
            cache.set(key, 1)
        gone = [key for key in keys if not cache.delete(key)]
        assert gone
        for key in gone:
            cache.get(key)
        assert _reasons("files") == {"never_set": 1, "evicted": len(gone)}


def test_what_is_taken_away_while_there_is_room_was_not_evicted(tmp_path: Path) -> None:
    options = {"OPTIONS": {"MAX_ENTRIES": 30}}
    directory = "django.core.cache.backends.filebased.FileBasedCache"
    own_way = {"BACKEND": "tests.backends.test_culls.OwnWay", "LOCATION": "own", **options}
    more = {
        "roomy": {"BACKEND": LOCMEM, "LOCATION": "roomy", **options},
        "files": {"BACKEND": directory, "LOCATION": str(tmp_path), **options},
        "own": own_way,
    }
    with override_settings(CACHES={**CACHES, **more}):
        for alias in more:
            caches[alias].get("none")
        assert cache_monitor.report().caches["files"].misses == 1
        for alias in more:
            for number in range(40):
                caches[alias].set(f"{number % 25}", 1)
        for alias in ("roomy", "own"):
            caches[alias]._delete(caches[alias].make_key("7"))  # type: ignore[attr-defined]  # not in the stubs
            caches[alias].get("7")
        Path(caches["files"]._key_to_file("7")).unlink()  # type: ignore[attr-defined]  # likewise
        caches["files"].get("7")
        assert _reasons("roomy") == {"never_set": 1, "lost": 1}
        # It may have been full meanwhile, or make room in a way of its own.
        assert _reasons("own") == _reasons("files") == {"never_set": 1, "unknown": 1}
        for alias in more:
            caches[alias].clear()


@pytest.mark.parametrize(("back", "reason"), [(0, "lost"), (8, "unknown"), (20, "unknown")])
def test_of_what_was_written_before_the_clock_was_set_back_the_age_is_unknown(
    back: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it expires by another clock, a server's, it is gone before it seems to be due."""
    clock, began = timing_clock(monkeypatch), time.time()
    unix = Clock(began)
    monkeypatch.setattr(time, "perf_counter", clock)
    monkeypatch.setattr(time, "time", unix)

    def go_on(seconds: float) -> None:
        clock.go_on(seconds)
        unix.go_on(seconds)

    cache: Any = caches["default"]
    cache.set("a", 1, timeout=600)
    cache_monitor.flush()
    go_on(1)
    unix.go_on(-back)
    for _ in range(3):  # a clock that was read wrong once is not believed
        cache.get("a")
        cache_monitor.flush()
        go_on(1)
    go_on(back)
    cache._delete(cache.make_key("a"))
    cache.get("a")
    found = cache_monitor.report(until=datetime.fromtimestamp(began + 60, UTC)).caches["default"]
    assert (found.lookups, found.misses) == (4, 1)
    assert _known(found.miss_reasons) == {reason: 1}


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


def test_a_cache_that_keeps_nothing_loses_what_is_written() -> None:
    caches["dummy"].set("a", 1)
    caches["dummy"].get("a")
    caches["dummy"].get("b")
    # What was never there has not expired.
    caches["dummy"].set("c", 1, timeout=0)
    caches["dummy"].get("c")
    assert _reasons("dummy") == {"lost": 2, "never_set": 1}


def test_a_false_value_that_get_or_set_produced_was_written() -> None:
    caches["default"].get_or_set("a", False)
    caches["default"].clear()
    caches["default"].get_or_set("a", lambda: False)
    assert _reasons() == {"never_set": 1, "cleared": 1}


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
        assert sum(_known(reasons).values()) == misses
    for parts in (keys, groups):
        in_all: Counter[str] = Counter()
        for reasons, _ in parts:
            in_all.update(_known(reasons))
        assert in_all == Counter(_known(report.miss_reasons))
    assert _reasons() == {
        "never_set": 2,
        "expired": 1,
        "deleted": 1,
        "cleared": 3,
        "version_changed": 1,
    }


def _known(reasons: MissReasons) -> dict[str, int]:
    """The reasons that there were; ``judged`` and ``error`` are none."""
    counts = {name: getattr(reasons, name) for name in (*REASONS, "unknown")}
    return {name: misses for name, misses in counts.items() if misses}


def test_the_reasons_of_groups_add_up() -> None:
    one, other = (GroupStats("key", reasons=reasons) for reasons in ({"expired": 1}, {}))
    for more in ({"expired": 2}, {"deleted": 3}):
        other.merge(GroupStats("key", reasons=more))
    one.merge(other)
    assert one.reasons == {"expired": 3, "deleted": 3}
    assert other.reasons == {"expired": 2, "deleted": 3}


def _groups() -> dict[str, dict[str, int]]:
    groups = cache_monitor.report().caches["default"].key_groups
    return {group.group: _known(group.miss_reasons) for group in groups if group.misses}


def test_a_group_tells_what_ended_its_entries() -> None:
    cache = caches["default"]
    for n in range(4):
        cache.set(f"page:{n}", 1)
    cache.get("page:0")
    wiring.background_worker.drain()
    cache.set("page:0", 2)  # the first value was read
    cache.set("page:1", 2)
    cache.delete("page:2")
    cache.touch("page:3", 0)
    cache.get("page:3")
    cache.clear()
    [group] = cache_monitor.report().caches["default"].key_groups
    lives = group.lives
    assert (lives.overwritten, lives.overwritten_unread) == (2, 1)
    assert (lives.deleted, lives.deleted_unread) == (1, 1)
    assert (lives.expired, lives.cleared, lives.evicted, lives.lost) == (1, 2, 0, 0)
    assert (lives.unread, lives.ended) == (5, 6)
    assert lives.lifetime_p50 is not None
    assert lives.first_read_p50 is not None
    assert lives.evicted_age_p50 is None


def test_after_a_fork_nothing_of_the_parents_is_judged() -> None:
    caches["default"].get("a")
    wiring.background_worker.after_fork()
    assert _reasons() == {}


def test_reasons_never_exceed_the_misses() -> None:
    """A reason that was found late is counted in a later stretch, which may have no misses."""
    caches["default"].get("a")
    cache_monitor.flush()
    [row] = get_store().read("window", 0, 2**40, None)
    window = Window(row.start, row.seconds, reasons={"never_set": 1, "deleted": 2, "of later": 3})
    get_store().put([row._replace(process="late", payload=encode(window))], now=1)
    assert _reasons() == {"never_set": 1}


def _look() -> None:
    """Ask the servers for their evictions, as is done once a minute."""
    wiring.background_worker.drain()
    reading = read_evictions("default")
    assert reading is not None
    wiring.background_worker.jobs._readings.append(("default", reading))


# Several processes


def test_what_redis_had_no_room_for_was_evicted(small_redis: Server) -> None:
    redis = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": small_redis.url,
    }
    with override_settings(CACHES={"default": redis}):
        cache = caches["default"]
        _look()
        for n in range(100):
            cache.set(f"key:{n}", b"x" * 50_000)
        gone = [n for n in range(100) if cache.get(f"key:{n}") is None]
        assert gone
        assert _reasons() == {"unknown": len(gone)}
        _look()
        assert _reasons() == {"evicted": len(gone)}
