"""What every inspector does, whatever its backend: the same for the looks, the full scan and the
dashboard."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import pytest
from django.db import router, transaction

from cache_monitor.calls import recorder
from cache_monitor.instrument.probes import watch_culls
from cache_monitor.reports.caches import memory_of
from cache_monitor.scan import recorded as known
from cache_monitor.scan.backends import NO, RECORDED, scanner_for
from cache_monitor.scan.base import BackendScanner, BadCursor, Bounds, Scan, ScanLimits
from cache_monitor.scan.recorded import RecordedUses
from cache_monitor.scan.schedule import ScanState, advance
from cache_monitor.scan.snapshot import Snapshot
from cache_monitor.stats.codec import decode, encode
from cache_monitor.stores.memory import MemoryStore
from tests.scan.inspection import capability_of, inspect_cache
from tests.scan.places import FilePlace, MemcachedPlace, Place
from tests.scan.recorded import Recorded

MANY = 1200


def look(
    place: Place, cache: Any, limit: int = 1_000_000, uses: RecordedUses | None = None
) -> Snapshot:
    stale_after = place.stale_after
    if uses is not None:
        uses.stale_after = stale_after
    found = inspect_cache(
        "default", cache, limit=limit, seconds=60, stale_after=stale_after, uses=uses
    )
    cache.close()
    return found


def source(cache: Any) -> BackendScanner:
    made = scanner_for("default", cache, Bounds())
    assert made is not None
    return made


def keys_of(cache: Any, limit: int = 1_000_000, cursor: str = "") -> tuple[list[str], str | None]:
    """The stored names from ``cursor`` on, and where to go on."""
    opened = source(cache)
    scan = Scan(opened, ScanLimits("default", limit, time.monotonic() + 60, 60), cursor)
    names = [entry.stored for part in scan for entry in part.entries]
    opened.close()
    return names, scan.cursor


def fill(cache: Any, entries: int = MANY) -> None:
    table = getattr(cache, "cache_model_class", None)
    values = {f"item:{number}": "x" * (number % 50) for number in range(entries)}
    # One transaction: SQLite waits for the disk at the end of each.
    with nullcontext() if table is None else transaction.atomic(router.db_for_write(table)):
        cache.set_many(values, 300)


def told_of(place: Place, cache: Any, is_recorded: bool) -> set[str]:
    """What the table promises an answer to; without a record of the calls, what the backend has
    one of its own to."""
    cells = capability_of(cache).cells
    promised = {name for name, cell in cells.items() if cell != NO}
    recorded = {name for name, cell in cells.items() if cell == RECORDED}
    return promised if is_recorded else promised - recorded | place.tells_roughly


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """A store of one test's own, from which the keys of files are known too."""
    made = MemoryStore()
    monkeypatch.setattr(known, "get_store", lambda: made)
    return made


def test_every_planted_stale_entry_is_found_under_its_kind_and_no_other_entry(
    place: Place, store: MemoryStore
) -> None:
    cache = place.cache()
    recorded = Recorded(cache, store)
    for number in range(5):
        recorded.set(f"old:{number}", "x" * 100, 5000)
    place.age()
    recorded.age(place.aged_by)
    for number in range(50):
        recorded.set(f"fine:{number}", "x", 5000)
    recorded.set("forever", "x", None)
    if place.keeps_expired:
        recorded.set("gone", "x", -100)
    for key in ["forever", *(f"fine:{number}" for number in range(50))]:
        assert recorded.get(key) == "x"
        assert recorded.get(key) == "x"  # memcached notes the time of the second read
    place.foreign()
    _assert_planted(place, cache, None)
    pauses: list[float] = []
    _assert_planted(place, cache, recorded.uses(lambda: pauses.append(time.time())))
    # With every tenth key at least, so that the threads of the site have their turn.
    assert len(pauses) >= 6


def _assert_planted(place: Place, cache: Any, uses: RecordedUses | None) -> None:
    found = look(place, cache, uses=uses)
    told = told_of(place, cache, uses is not None)
    expected = {
        "old": {"idle", "never_read"} & told,
        "forever": {"no_expiry"} & told,
        # Nobody can read what has expired: a read would remove it.
        "gone": {"expired", "never_read"} & told,
    }
    assert found.problem is None
    by_size = {100: "old"}
    seen: dict[str, set[str]] = {}
    for entry in found.stale:
        name = by_size.get(entry.bytes or 0) or _name(place, cache, entry.key)
        seen.setdefault(name.split(":")[0], set()).update(entry.why)
    if not place.keeps_expired:
        del expected["gone"]
    assert seen == {name: why for name, why in expected.items() if why}
    assert found.no_expiry == 1
    assert found.expired == (1 if place.keeps_expired else None)
    unread = 5 + place.keeps_expired
    assert found.idle == (5 if "idle" in told else None)
    if uses is None and "idle" in place.tells_roughly:
        # Of what was read a short while ago, a file system may note no time.
        assert found.idle_error in {0, 51}
    else:
        assert found.idle_error == (0 if "idle" in told else None)
    never_read = (unread, 0) if "never_read" in told else (None, None)
    assert (found.never_read, found.never_read_error) == never_read
    assert found.entries == 56 + place.keeps_expired
    assert found.exact


def _name(place: Place, cache: Any, shown: str) -> str:
    """The user's key of a file that is only known by its digest."""
    if not isinstance(place, FilePlace):
        return shown
    from cache_monitor.scan.local import file_name

    planted = [*(f"old:{number}" for number in range(5)), "forever", "gone"]
    return next((key for key in planted if file_name(cache, key)[:16] in shown), shown)


@pytest.mark.parametrize("is_recorded", [True, False], ids=["recorded", "alone"])
def test_what_the_table_of_abilities_promises_is_what_is_found(
    place: Place, store: MemoryStore, is_recorded: bool, counts_culls: Callable[[Any], bool]
) -> None:
    cache = place.cache()
    recorded = Recorded(cache, store)
    recorded.set("menu", "x", None)
    found = look(place, cache, uses=recorded.uses() if is_recorded else None)
    # What goes to make room is counted as it goes: none yet, where it is.
    culled = 0 if is_recorded and counts_culls(cache) else None
    answers = {
        "entries": found.entries,
        "bytes": found.bytes,
        "evictions": memory_of(found, culled).evictions,
        "expired": found.expired,
        "idle": found.idle,
        "never_read": found.never_read,
        "no_expiry": found.no_expiry,
        "age": found.stale[0].age,
    }
    told = told_of(place, cache, is_recorded)
    assert {name for name, each in answers.items() if each is not None} == told & set(answers)


@pytest.fixture
def counts_culls() -> Iterator[Callable[[Any], bool]]:
    """Whether the process counts what a cache throws out to make room."""
    alias = "of the contract"

    def counts(cache: Any) -> bool:
        watch_culls(cache, alias)
        return alias in recorder.culling

    yield counts
    recorder.culling.discard(alias)


def test_an_empty_cache_is_known_to_be_empty(place: Place) -> None:
    found = look(place, place.cache())
    assert (found.entries, found.bytes, found.exact, found.examined) == (0, 0, True, 0)


def test_of_others_in_the_same_place_nothing_is_counted_or_shown(place: Place) -> None:
    prefixes = ("mine", "mine:eu", "other", "")
    for prefix in prefixes:
        place.cache(prefix).set(f"of:{prefix}", "x", None)
    place.cache("mine", VERSION=2).set("of:another:version", "x", None)
    place.foreign()
    for prefix in prefixes:
        cache = place.cache(prefix)
        found = look(place, cache)
        assert found.entries == 1, prefix
        assert found.largest[0].key in {f"of:{prefix}", _digest_of(place, cache, f"of:{prefix}")}


def _digest_of(place: Place, cache: Any, key: str) -> str:
    from cache_monitor.scan.local import UNKNOWN_KEY, file_name

    return f"{UNKNOWN_KEY} {file_name(cache, key)[:16]}" if isinstance(place, FilePlace) else ""


def test_stretches_of_any_length_together_give_every_entry_once(place: Place) -> None:
    cache = place.cache()
    fill(cache)
    whole, end = keys_of(cache)
    assert (len(whole), len(set(whole)), end) == (MANY, MANY, None)
    for limit in (333, 700):
        names: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            some, cursor = keys_of(cache, limit, cursor)
            assert len(some) <= limit
            names += some
        assert sorted(names) == sorted(whole), limit


def test_a_pass_of_several_looks_ends_with_exact_figures(place: Place) -> None:
    cache = place.cache()
    fill(cache)
    terms = ScanLimits("default", 500, time.monotonic() + 60, 60)
    progress = ScanState(scanned_at=time.time())
    found: list[Snapshot] = []
    while not found or not found[-1].exact:
        snapshot, progress = advance(cache, terms, progress)
        # It may be gone on with by another process.
        progress = decode(encode(progress), ScanState)
        found.append(snapshot)
        assert len(found) < 10
    cache.close()
    once = look(place, cache)
    stretches = [0, *(each.examined for each in found)]
    assert all(0 <= after - before <= 500 for before, after in pairwise(stretches)), stretches
    assert found[-1].entries == once.entries == MANY
    # What Redis uses for a key changes by some bytes as it likes.
    assert found[-1].bytes == pytest.approx(once.bytes, rel=0.01)
    assert [(each.group, each.entries) for each in found[-1].groups] == [
        (each.group, each.entries) for each in once.groups
    ]
    assert progress.whole == found[-1]
    assert progress.cursor == ""


def test_a_part_is_brought_up_to_the_whole_and_says_so(place: Place) -> None:
    cache = place.cache()
    fill(cache)
    found = look(place, cache, limit=400)
    assert 100 < found.examined <= 400
    assert not found.exact
    # memcached counts what was flushed and is still to be reclaimed among the entries of others.
    off = 1.0 if isinstance(place, MemcachedPlace) else 0.25
    assert found.entries == pytest.approx(MANY, rel=off)
    assert (found.bytes or 0) / (found.entries or 1) == pytest.approx(
        (look(place, cache).bytes or 0) / MANY, rel=0.2
    )


def test_one_entry_can_be_looked_at_without_the_others(place: Place) -> None:
    cache = place.cache()
    fill(cache, 10)
    cache.set("menu", "x" * 1000, 500)
    cache.set("menu", "x", 50, version=7)
    opened = source(cache)
    entry, other = opened.entry("menu", None), opened.entry("menu", 7)
    assert opened.entry("missing", None) is None
    opened.close()
    assert entry is not None
    assert other is not None
    assert (entry.key, entry.known, entry.no_expiry) == ("menu", True, False)
    assert (entry.bytes or 0) > (other.bytes or 0)
    # A herd client keeps entries for a minute longer.
    assert entry.expires_in == pytest.approx(500, abs=65)


def test_bytes_are_told_by_when_expiry_will_free_them(place: Place) -> None:
    cache = place.cache()
    # A herd client keeps entries for a minute longer.
    herd = "Herd" in str(cache._params) if hasattr(cache, "_params") else False
    value = random.randbytes(2000)
    for key, timeout in (("m", 30), ("h", 1800), ("d", 40_000), ("week", 600_000), ("n", None)):
        cache.set(key, value, timeout)
    found = look(place, cache)
    freed, each = found.freed_within, (found.bytes or 0) / 5
    assert freed.minute == pytest.approx(0 if herd else each, rel=0.1)
    assert freed.hour == pytest.approx(2 * each, rel=0.3)
    assert freed.day == pytest.approx(3 * each, rel=0.3)
    assert freed.never == pytest.approx(each, rel=0.3)


def test_looking_is_no_use_of_an_entry_and_leaves_no_trace(place: Place) -> None:
    """In what the backend itself notes: times of use and of expiry, the order of eviction, whether
    an entry was ever fetched."""
    cache = place.cache()
    cache.set("forever", "x", None)
    cache.set("unread", "x", 5000)
    place.age()
    cache.set("new", "x", 5000)
    before = place.trace(cache)
    assert len(before) >= 3
    first = look(place, cache)
    for _ in range(2):
        look(place, cache)
        opened = source(cache)
        for key in ("forever", "unread", "new", "missing"):
            opened.entry(key, None)
        opened.limits()
        opened.close()
    last = look(place, cache)
    # Servers count in whole seconds.
    assert place.trace(cache) == pytest.approx(before, abs=2.5)
    assert (last.idle, last.never_read) == (first.idle, first.never_read)
    assert [each.why for each in last.stale] == [each.why for each in first.stale]


@pytest.mark.parametrize("key", ["ключ", "a<b>&'\"", "x" * 150, "a:b:c", "%20+%"])
def test_odd_keys_are_undone(place: Place, key: str) -> None:
    cache = place.cache()
    cache.set(key, "x", None)
    names = [each.key for each in look(place, cache).largest]
    assert names in ([key], [_digest_of(place, cache, key)])


@pytest.mark.filterwarnings("ignore::django.core.cache.CacheKeyWarning")
def test_keys_with_newlines_and_controls_are_shown_in_one_line(place: Place) -> None:
    cache = place.cache()
    try:
        cache.set(
            "a\nb \x00\u202e<script>" if "Database" not in type(cache).__name__ else "a\nb", 1
        )
    except ValueError:
        pytest.skip("this backend refuses such keys")
    (large,) = look(place, cache).largest
    assert large.key.isprintable()


@pytest.mark.parametrize(
    "cursor", ["x", "1:x:", "9999999999999999", "-1", "0:1:2", "1:2", "9" * 600]
)
def test_a_place_to_go_on_from_that_nobody_gave_is_refused_or_leads_nowhere(
    place: Place, cursor: str
) -> None:
    cache = place.cache()
    fill(cache, 5)
    try:
        names, _ = keys_of(cache, cursor=cursor)
    except BadCursor:
        return
    assert len(names) <= 5


def test_a_pass_whose_place_was_lost_begins_anew(place: Place) -> None:
    cache = place.cache()
    fill(cache, 5)
    terms = ScanLimits("default", 500, time.monotonic() + 60, 60)
    lost = ScanState(scanned_at=time.time(), cursor="nonsense")
    snapshot, after = advance(cache, terms, lost)
    cache.close()
    assert (snapshot.entries, snapshot.exact, after.cursor) == (5, True, "")


def test_sessions_are_masked(place: Place) -> None:
    cache = place.cache()
    cache.set("django.contrib.sessions.cachek7fz0q2m9x4b1v8c", {}, None)
    assert "k7fz" not in repr(look(place, cache))
