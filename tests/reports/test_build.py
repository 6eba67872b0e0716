from cache_monitor.reports import build
from cache_monitor.scan.base import Scope
from cache_monitor.scan.snapshot import Snapshot
from cache_monitor.stats.codec import encode
from cache_monitor.stats.hot_keys import HotKeys
from cache_monitor.stats.window import rfc3339
from cache_monitor.stores.base import Row
from cache_monitor.stores.rows import MERGED, window_of
from tests.reports.synthetic import (
    BACKEND,
    BEGIN,
    END,
    calls,
    details,
    merged,
    report_on,
    row,
    window,
)


def _look(process: str, at: float, size: int, scope: Scope = "per process") -> Row:
    seen = Snapshot(alias="default", measured_at=at, scope=scope, bytes=size)
    return Row("scan", process, "default", 0, 1, encode(seen))


def test_what_was_scanned_before_the_alias_got_another_backend_is_not_in_it() -> None:
    """The row of a shared cache stays until it is written anew, which a local one never does."""

    def scanned(process: str, at: float, scope: Scope, backend: str, entries: int) -> Row:
        found = Snapshot(
            alias="default", measured_at=at, scope=scope, entries=entries, backend=backend
        )
        return Row("scan", process, "default", 0, 1, encode(found))

    old = scanned("", END - 600, "shared", "path.of.the.old", 50)
    new = scanned("a", END - 30, "per process", BACKEND, 3)
    memory = report_on(old, new).caches["default"].memory
    assert (memory.entries, memory.scope) == (3, "per process")
    assert report_on(old).caches["default"].memory.entries is None


def test_every_cache_is_reported_and_no_other() -> None:
    report = report_on(
        row(window(get=calls(1, 0, 0.1))),
        row(window(get=calls(5, 0, 0.1)), alias="gone"),
        backends={"default": BACKEND, "quiet": "path"},
    )
    assert {alias: each.lookups for alias, each in report.caches.items()} == {
        "default": 1,
        "quiet": 0,
    }
    assert report.caches["quiet"].backend == "path"


def test_the_period_is_told_as_it_was_asked_for() -> None:
    report = report_on()
    assert (report.since, report.until) == (rfc3339(BEGIN), rfc3339(END))
    assert report.quality.newest_record_at is None


def test_processes_and_newest_records_are_those_of_all_caches() -> None:
    one, two = window(get=calls(1, 0, 0.1)), window(BEGIN + 10)
    two.processes = {1, 2}
    report = report_on(row(one), row(two, alias="b"), backends={"default": BACKEND, "b": BACKEND})
    assert report.quality.processes == 3
    assert report.quality.newest_record_at == rfc3339(BEGIN + 19)


def test_a_process_that_stopped_in_the_midst_of_its_work_is_told_of_once_it_is_silent() -> None:
    finished, killed, busy = window(), window(BEGIN + 10), window(BEGIN + 20)
    finished.final = True
    finished.processes, killed.processes, busy.processes = {1}, {2}, {3}
    now = window(END - 10)
    now.processes = {3, 4}
    alone = report_on(row(finished), row(killed), row(killed, alias="b"), row(busy), row(now))
    assert (alone.quality.processes, alone.quality.cut_off_processes) == (4, 1)
    lasting = window_of(row(killed))
    lasting.final = True
    assert report_on(merged(lasting), row(now)).quality.cut_off_processes == 1


def test_losses_add_up() -> None:
    lossy = window()
    lossy.dropped = 3
    assert report_on(row(lossy), dropped=4).quality.dropped_calls == 7


def test_rows_that_cannot_be_read_are_counted_whatever_they_are_of() -> None:
    rubbish = b"\x01rubbish"
    report = report_on(
        row(window(get=calls(1, 0, 0.1))),
        row(window())._replace(payload=rubbish),
        row(details())._replace(payload=rubbish),
        merged(window(BEGIN + 600))._replace(payload=rubbish),
        Row("scan", "one", "default", 0, 1, rubbish),
    )
    assert report.quality.corrupt_windows == 4
    assert report.caches["default"].lookups == 1


def test_rolled_up_rows_are_counted_like_others_and_the_same_each_time() -> None:
    rows = [merged(window(BEGIN + 60 * n, get=calls(2, 1, 0.5))) for n in range(10)]
    young = row(window(END - 60, get=calls(1, 0, 0.5)))
    first = report_on(*rows, young)
    assert first.caches["default"].lookups == 31
    assert report_on(*rows, young) == first


def test_a_rolled_up_row_that_was_written_again_is_read_again() -> None:
    assert report_on(merged(window(get=calls(1, 0, 0.5)))).caches["default"].hits == 1
    assert report_on(merged(window(get=calls(2, 0, 0.5)))).caches["default"].hits == 2


def test_the_past_that_is_remembered_is_bounded() -> None:
    for n in range(2 * build.STEPS_REMEMBERED):
        report_on(merged(window(BEGIN + n, get=calls(n, 0, 0.5))))
    assert build.step_of_the_past.cache_info().currsize <= build.STEPS_REMEMBERED


def _hour(begin: int, *keys: str) -> Row:
    made = details(begin)
    made.seconds = 3600
    for key in keys:
        made.uses += 1
        made.group("group", "key").count(True, False, 1)
        made.hot_keys.entry(key, "group").count(True, False, 1)
    return merged(made)


def test_details_of_the_past_are_counted_like_others_and_the_same_each_time() -> None:
    young = details(END - 60)
    young.hot_keys.entry("a", "group").count(True, False, 1)
    young.group("group", "key").count(True, False, 1)
    rows = [_hour(BEGIN, "a", "b"), _hour(BEGIN - 3600, "a", "c"), row(young)]
    first = report_on(*rows)
    [group] = first.caches["default"].key_groups
    assert group.lookups == 5
    keys = {each.key: each.lookups for each in first.caches["default"].hot_keys}
    assert keys == {"a": 3, "b": 1, "c": 1}
    assert report_on(*rows) == first


def test_details_of_the_past_that_were_written_again_are_read_again() -> None:
    assert report_on(_hour(BEGIN, "a")).caches["default"].key_groups[0].hits == 1
    assert report_on(_hour(BEGIN, "a", "a")).caches["default"].key_groups[0].hits == 2


def _minute(process: str, begin: int, *keys: str) -> Row:
    made = details(begin)
    for key in keys:
        made.group("group", "key").count(True, False, 1)
        made.hot_keys.entry(key, "group").count(True, False, 1)
    return row(made, process=process)


def test_a_minute_that_is_over_is_reported_the_same_however_often_it_is_asked_for() -> None:
    over = [_minute("one", BEGIN, "a", "b"), _minute("two", BEGIN, "a")]
    now = [_minute("one", END - 60 + 1, "a"), _hour(BEGIN - 3600, "c")]
    first = report_on(*over, *now)
    assert {each.key: each.lookups for each in first.caches["default"].hot_keys} == {
        "a": 3,
        "b": 1,
        "c": 1,
    }
    before = build.details_of_the_past.cache_info().hits
    assert [report_on(*over, *now) for _ in range(3)] == [first] * 3
    # The hour each time, and the minute once it was seen to be asked for again.
    assert build.details_of_the_past.cache_info().hits == before + 3 + 2


def test_rolled_up_details_of_minutes_are_merged_apart_once_they_are_asked_for_again() -> None:
    def taken(row: Row) -> int:
        before = build.details_of_the_past.cache_info().misses
        report_on(row)
        return build.details_of_the_past.cache_info().misses - before

    hour, minute = _hour(BEGIN, "of an hour"), _minute(MERGED, BEGIN, "of a minute")
    assert [taken(hour) for _ in range(3)] == [1, 0, 0]
    assert [taken(minute) for _ in range(3)] == [0, 1, 0]


def test_as_many_keys_are_remembered_as_a_row_has() -> None:
    keys = [f"key:{n}" for n in range(build.KEYS_REMEMBERED + 100)]
    minute = _minute(MERGED, BEGIN, *keys)
    first = report_on(minute)
    assert not first.quality.estimated
    assert [report_on(minute) for _ in range(2)] == [first] * 2


def test_a_minute_that_is_over_and_is_written_again_is_read_again() -> None:
    for hits in (1, 2, 3):
        for _ in range(3):
            cache = report_on(_minute("one", BEGIN, *"a" * hits)).caches["default"]
            assert cache.key_groups[0].hits == hits


def test_details_of_the_past_that_cannot_be_read_are_counted_each_time() -> None:
    rubbish = _hour(BEGIN)._replace(payload=b"rubbish")
    for _ in range(2):
        assert report_on(rubbish, _hour(BEGIN - 3600, "a")).quality.corrupt_windows == 1


def test_figures_are_estimated_where_a_key_may_have_been_missed() -> None:
    exact = details()
    exact.hot_keys.entry("a", "a").count(True, False, 3)
    assert not report_on(row(exact)).quality.estimated
    crowded = details()
    crowded.hot_keys = HotKeys(10, floor=2)
    crowded.hot_keys.entry("b", "b").count(True, False, 3)
    assert report_on(row(crowded)).quality.estimated


def test_the_hottest_keys_of_all_processes_come_first() -> None:
    one, two = details(), details()
    one.hot_keys.entry("a", "group").count(True, False, 3)
    one.hot_keys.entry("b", "group").count(True, False, 2)
    two.hot_keys.entry("b", "group").count(False, False, 2)
    report = report_on(row(one), row(two, process="two"))
    keys = [(each.key, each.lookups, each.misses) for each in report.caches["default"].hot_keys]
    assert keys == [("b", 4, 2), ("a", 3, 0)]


def test_only_so_many_keys_are_shown() -> None:
    many = details()
    for n in range(500):
        many.hot_keys.entry(f"key:{n}", "key:{int}").count(True, False, n + 1)
    keys = report_on(row(many)).caches["default"].hot_keys
    assert len(keys) == 100
    assert [each.key for each in keys[:2]] == ["key:499", "key:498"]


def test_memory_is_what_the_processes_that_still_run_hold() -> None:
    report = report_on(_look("one", END - 10, 5), _look("two", END - 20, 7), _look("old", BEGIN, 9))
    assert report.caches["default"].memory.bytes == 12


def test_what_was_seen_last_stands_for_an_hour_where_nobody_calls_the_cache() -> None:
    seen = [_look("one", END - 600, 5), _look("two", END - 610, 7), _look("old", END - 700, 9)]
    assert report_on(*seen).caches["default"].memory.bytes == 12
    gone = _look("one", END - 3601, 5)
    assert report_on(gone).caches["default"].memory.bytes is None


def test_what_ended_before_the_clock_was_set_back_holds_nothing() -> None:
    before = [_look("ended", END + 3590, 9), _look("runs on", END + 3590, 7)]
    assert report_on(*before).caches["default"].memory.bytes == 16
    after = before[0], _look("runs on", END - 5, 7)
    assert report_on(*after).caches["default"].memory.bytes == 7


def test_of_a_shared_cache_the_latest_look_counts_however_old_it_is() -> None:
    report = report_on(_look("one", BEGIN, 5, "shared"), _look("two", BEGIN + 1, 7, "shared"))
    assert report.caches["default"].memory.bytes == 7


def test_what_is_remembered_does_not_keep_the_rows_that_it_was_made_of() -> None:
    for make, part in (
        (build.details_of_the_past, _hour(BEGIN, "a")),
        (build.step_of_the_past, merged(window(get=calls(1, 0, 0.5)))),
    ):
        make.cache_clear()
        named = build.PastRows([part])
        made = make(named)
        assert named.take() == ()
        assert make(build.PastRows([part])) is made
        assert make(build.PastRows([part._replace(payload=b"")])) is not made
