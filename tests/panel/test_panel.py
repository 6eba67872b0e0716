"""The panel, from a request to the HTML that the toolbar fetches for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Final

import pytest
from django.conf import settings
from django.core.cache import cache, caches
from django.template.loader import render_to_string
from django.test import Client, override_settings
from django.utils import translation

from cache_monitor.panel.site import MissesOfRequests
from tests import forked
from tests.anew import begin_anew
from tests.clocks import timing_clock
from tests.panel.visits import PANEL, VisitDoing, visit

pytestmark = pytest.mark.usefixtures("toolbar_site")
QUOTES: Final = "'" * 230
UNUSUAL_KEYS: Final = pytest.mark.filterwarnings("ignore::django.core.cache.CacheKeyWarning")


def test_the_calls_of_a_request_are_listed_in_their_order(visit_doing: VisitDoing) -> None:
    def work() -> None:
        cache.get("absent")
        cache.set("number", 1, 300)
        cache.get("number")
        cache.get_or_set("produced", lambda: cache.get("inside"), None)
        cache.incr("number")
        cache.touch("number")
        cache.delete("number")
        caches["files"].has_key("file")

    assert visit_doing(work).calls == [
        ("default", "get", [("absent", False)]),
        ("default", "set", [("number", None)]),
        ("default", "get", [("number", True)]),
        ("default", "get_or_set", [("produced", False)]),
        ("default", "get", [("inside", False)]),
        ("default", "incr", [("number", None)]),
        ("default", "touch", [("number", None)]),
        ("default", "delete", [("number", None)]),
        ("files", "has_key", [("file", None)]),
    ]


def test_a_get_many_tells_the_outcome_of_each_key(visit_doing: VisitDoing) -> None:
    def work() -> None:
        cache.set_many({"first": 1, "third": 3})
        cache.get_many(["first", "second", "third"])

    told = visit_doing(work)

    keys = [("first", True), ("second", False), ("third", True)]
    assert told.calls[1] == ("default", "get_many", keys)
    row = told.rows("cm-calls")[2]
    assert row[3:5] == ["hit first miss second never set hit third", "2 hits 1 miss"]


def test_timeouts_tell_none_given_from_no_expiry(visit_doing: VisitDoing) -> None:
    def work() -> None:
        cache.set("default", 1)
        cache.set("for-ever", 1, None)
        cache.set("an-hour", 1, timeout=3600)
        cache.set_many({"several": 1}, None)
        cache.get("default")

    told = visit_doing(work)

    timeouts = [call["timeout"] for call in told.stats["calls"]]
    assert timeouts == ["default", None, 3600.0, None, "n/a"]
    shown = [row[7] for row in told.rows("cm-calls")[1:]]
    assert shown == ["default", "no expiry", "3,600 s", "no expiry", "–"]


def test_the_totals_count_all_caches(visit_doing: VisitDoing) -> None:
    def work() -> None:
        cache.set("a", 1)
        cache.get("a")
        cache.get("b")
        caches["files"].get("c")
        caches["files"].delete("c")
        caches["files"].clear()

    total = visit_doing(work).stats["total"]

    counted = {name: total[name] for name in ("calls", "reads", "writes", "deletes", "others")}
    assert counted == {"calls": 6, "reads": 3, "writes": 1, "deletes": 2, "others": 0}
    assert (total["lookups"], total["hits"], total["misses"]) == (3, 1, 2)
    assert total["hit_percent"] == 33
    assert total["milliseconds"] > 0


def test_each_called_cache_has_a_row_and_the_others_a_line(visit_doing: VisitDoing) -> None:
    def work() -> None:
        caches["files"].set("a", 1)
        caches["default"].get("b")

    told = visit_doing(work)

    header, *rows = told.rows("cm-caches")
    first, second = (dict(zip(header, row, strict=True)) for row in rows)
    assert first["Cache"] == "default django.core.cache.backends.locmem.LocMemCache"
    assert (first["Reads"], first["Misses"], first["Hit ratio"]) == ("1", "1", "0 %")
    assert second["Cache"] == "files django.core.cache.backends.filebased.FileBasedCache"
    assert (second["Writes"], second["Hit ratio"]) == ("1", "–")
    assert told.stats["not_called"] == ["database", "dummy"]
    assert "Configured, but not called: database, dummy" in told.html()


def test_the_side_bar_has_the_short_form(visit_doing: VisitDoing) -> None:
    def work() -> None:
        cache.set("a", 1)
        cache.get_many(["a", "b"])
        cache.get("a")

    told = visit_doing(work)

    assert told.panel.nav_subtitle.startswith("3 calls in ")
    assert told.panel.nav_subtitle.endswith(" ms · 67 % hits")
    assert told.panel.nav_subtitle in told.response.content.decode()


@pytest.mark.parametrize(
    ("work", "short"),
    [(lambda: None, "no calls"), (lambda: cache.set("a", 1), "1 call in")],
    ids=["nothing called", "nothing looked up"],
)
def test_the_side_bar_shows_no_ratio_without_lookups(
    visit_doing: VisitDoing, work: Callable[[], None], short: str
) -> None:
    subtitle = visit_doing(work).panel.nav_subtitle
    assert subtitle.startswith(short)
    assert "%" not in subtitle


def test_a_request_without_calls_says_so(visit_doing: VisitDoing) -> None:
    assert "This request made no cache calls." in visit_doing(lambda: None).html()


def test_one_miss_among_a_thousand_hits_is_not_a_hundred_per_cent(visit_doing: VisitDoing) -> None:
    def work() -> None:
        cache.set("a", 1)
        for _ in range(1000):
            cache.get("a")
        cache.get("b")

    assert visit_doing(work, without_toolbars_own=True).stats["total"]["hit_percent"] == 99


def test_keys_that_grow_when_they_are_encoded_leave_the_page_small(visit_doing: VisitDoing) -> None:
    def work() -> None:
        for number in range(500):
            cache.get_many([f"{number}:{each}{'深' * 200}" for each in range(2)])

    html = visit_doing(work, without_toolbars_own=True).html()
    assert len(html.encode()) < 1_000_000


@UNUSUAL_KEYS
def test_ten_thousand_calls_are_counted_and_five_hundred_listed(visit_doing: VisitDoing) -> None:
    def work() -> None:
        cache.set("a", 1)
        for number in range(9999):
            cache.get("a" if number % 2 else f"key:{number}:{'x' * 600}")

    told = visit_doing(work, without_toolbars_own=True)

    total = told.stats["total"]
    assert (total["calls"], total["hits"], total["misses"]) == (10_000, 4999, 5000)
    assert len(told.stats["calls"]) == 500
    html = told.html()
    assert "The first 500 of 10,000 calls are listed; all of them are in the totals." in html
    assert len(html) < 1_000_000


@pytest.mark.slow
def test_a_call_with_many_keys_shows_some_and_counts_all(visit_doing: VisitDoing) -> None:
    def work() -> None:
        for _ in range(200):
            cache.get_many([f"key:{number}" for number in range(300)])

    told = visit_doing(work, without_toolbars_own=True)

    assert told.stats["total"]["misses"] == 60_000
    first = told.stats["calls"][0]
    assert (len(first["keys"]), first["more_keys"], first["misses"]) == (20, 280, 300)
    assert len(told.stats["calls"][-1]["keys"]) == 1
    assert "and 280 more keys" in told.rows("cm-calls")[1][3]
    assert len(told.html()) < 1_000_000


def test_a_session_key_is_nowhere() -> None:
    client = Client()
    visit(client, "/session/")
    told = visit(client, "/session/")

    session_key = client.session.session_key
    assert session_key
    assert "session:••••" in told.keys
    assert session_key not in json.dumps(told.stats)
    assert session_key not in told.html()


@UNUSUAL_KEYS
def test_a_hostile_key_is_text(visit_doing: VisitDoing) -> None:
    from tests.panel.site import HOSTILE_KEY

    told = visit_doing(lambda: cache.get(HOSTILE_KEY))

    html = told.html()
    assert "<script" not in html
    assert "\u202e" not in html
    assert "&lt;/td&gt;&lt;script&gt;alert(&#x27;key&#x27;)&lt;/script&gt;\\u202e\\n" in html


def test_values_are_not_kept(visit_doing: VisitDoing) -> None:
    def work() -> None:
        cache.set("a", "a secret value", 10)
        cache.get("a", "a secret default")
        cache.get_or_set("b", "a secret product")

    told = visit_doing(work)

    assert "secret" not in json.dumps(told.stats)
    assert [call["bytes"] for call in told.stats["calls"][:2]] == [29, 29]
    assert [call["type"] for call in told.stats["calls"]] == ["str", "str", "str"]


def test_a_call_that_raised_is_shown_with_its_error(visit_doing: VisitDoing) -> None:
    def work() -> None:
        cache.set("text", "no number")
        with pytest.raises(TypeError):
            cache.incr("text")

    told = visit_doing(work)

    assert told.stats["total"]["errors"] == 1
    assert told.rows("cm-calls")[2][2:5] == ["incr", "text", "raised TypeError"]


def test_a_view_that_raises_shows_its_calls() -> None:
    told = visit(Client(raise_request_exception=False), "/failing/")
    assert told.response.status_code == 500
    assert told.keys == ["before:the-failure"]


def test_a_redirect_shows_its_calls() -> None:
    assert visit(Client(), "/redirecting/").calls == [
        ("files", "get", [("before:the-redirect", False)])
    ]


def test_a_stream_tells_its_calls_when_it_has_ended() -> None:
    told = visit(Client(), "/streaming/")
    assert told.keys == ["before:the-stream"]
    assert "a stream that has not ended" in told.html()

    assert b"".join(told.response.streaming_content) == b"None\nNone\nNone\n"

    assert told.keys == ["before:the-stream", "stream:0", "stream:1", "stream:2"]
    assert told.stats["total"]["calls"] == 4
    assert "3 of the calls were made while it was sent" in told.html()


def test_a_stream_that_the_store_has_forgotten_is_not_stored_again() -> None:
    from debug_toolbar.store import get_store

    told = visit(Client(), "/streaming/")
    get_store().delete(told.request_id)
    assert b"".join(told.response.streaming_content) == b"None\nNone\nNone\n"
    assert not get_store().exists(told.request_id)


def test_nobody_listens_after_the_request(visit_doing: VisitDoing) -> None:
    from cache_monitor.context import current

    visit_doing(lambda: cache.get("a"))
    assert current() is None


def test_the_server_timing_header_has_an_entry(visit_doing: VisitDoing) -> None:
    header = visit_doing(lambda: cache.get("a")).response.headers["Server-Timing"]
    assert 'desc="Cache calls: 1, hits: 0 of 1 lookups"' in header
    assert "CacheMonitorPanel_total_time;dur=" in header


@pytest.mark.parametrize(
    ("work", "hits", "misses", "because"),
    [
        (lambda: (cache.set_many({"a": None}), cache.get("a")), 0, 1, "a stored None, for a miss"),
        (lambda: (cache.set_many({"a": 5}), cache.get("a", 5)), 0, 1, "equals the default"),
        (lambda: cache.get_or_set("a", 5), 1, 0, "to produce its value for a hit"),
    ],
    ids=["none", "default", "get_or_set"],
)
def test_the_toolbars_own_count_is_explained_where_it_differs(
    work: Callable[[], object], hits: int, misses: int, because: str, visit_doing: VisitDoing
) -> None:
    told = visit_doing(work)
    assert told.stats["toolbar_counts"] == {"hits": hits, "misses": misses}
    assert f"own cache panel counts {hits} hits and {misses} misses" in told.html()
    assert because in told.html()


def test_the_toolbars_own_count_is_not_mentioned_where_it_is_the_same(
    visit_doing: VisitDoing,
) -> None:
    told = visit_doing(lambda: cache.get("absent"))
    assert told.stats["toolbar_counts"] is None
    assert "own cache panel" not in told.html()


def test_the_toolbars_own_count_is_not_mentioned_where_its_panel_is_off(
    visit_doing: VisitDoing,
) -> None:
    def work() -> None:
        cache.set("nothing", None)
        cache.get("nothing")

    told = visit_doing(work, without_toolbars_own=True)

    assert len(told.calls) == 2
    assert told.stats["toolbar_counts"] is None


def test_a_panel_switched_off_records_nothing() -> None:
    from debug_toolbar.store import get_store

    client = Client()
    client.cookies["djdtCacheMonitorPanel"] = "off"
    told = visit(client, "/redirecting/")
    assert get_store().panel(told.request_id, PANEL) == {}


@override_settings(CACHE_MONITOR={"INSTRUMENT": "explicit"})
def test_caches_left_out_by_the_setting_are_named(visit_doing: VisitDoing) -> None:
    told = visit_doing(lambda: None)
    assert told.stats["not_called"] == []
    assert "by the setting CACHE_MONITOR: default, files, database, dummy" in told.html()


def test_numbers_follow_the_language(visit_doing: VisitDoing) -> None:
    def work() -> None:
        for _ in range(1234):
            cache.get("a")

    with translation.override("de"):
        told = visit_doing(work, without_toolbars_own=True)
        subtitle = told.panel.nav_subtitle
    assert subtitle.startswith("1.234 ")
    assert "," in subtitle


def test_there_is_no_inline_script_or_style(visit_doing: VisitDoing) -> None:
    html = visit_doing(lambda: cache.get("a")).html()
    assert "<script" not in html
    assert "<style" not in html
    assert "style=" not in html
    assert '<link rel="stylesheet" href="/static/cache_monitor/panel/panel.css">' in html


def test_a_check_explains_a_panel_without_its_app() -> None:
    from cache_monitor.panel import CacheMonitorPanel

    assert CacheMonitorPanel.run_checks() == []
    others = [app for app in settings.INSTALLED_APPS if app != "cache_monitor"]
    with override_settings(INSTALLED_APPS=others):
        [problem] = CacheMonitorPanel.run_checks()
    assert problem.id == "cache_monitor.E005"
    assert problem.hint == 'Add "cache_monitor" to INSTALLED_APPS.'


def test_only_the_panel_imports_the_toolbar() -> None:
    code = """
import sys, django
sys.modules["debug_toolbar"] = None
django.setup()
import cache_monitor.listeners, cache_monitor.testing
from django.core.cache import cache
with cache_monitor.testing.capture_cache_calls() as captured:
    cache.get("a")
assert len(captured) == 1
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_each_call_names_the_line_that_made_it(visit_doing: VisitDoing) -> None:
    def work() -> None:
        cache.get("a")
        cache.set("a", 1)

    rows = visit_doing(work).rows("cm-calls")

    line = work.__code__.co_firstlineno
    for offset, (row, source) in enumerate(
        zip(rows[1:], ['cache.get("a")', 'cache.set("a", 1)'], strict=True), 1
    ):
        assert row[8].startswith(f"tests/panel/test_panel.py:{line + offset} ")
        assert source in row[8]


def test_the_stack_leads_from_the_call_to_the_toolbar(visit_doing: VisitDoing) -> None:
    row = visit_doing(lambda: cache.get("a")).rows("cm-calls")[1][8]
    assert "tests/panel/site.py" in row
    assert "return HttpResponse(PAGE)" not in row
    for hidden in ("core/cache/", "core/handlers/", "debug_toolbar/", "cache_monitor/capture.py"):
        assert hidden not in row


def test_calls_from_one_place_share_the_stack_of_the_first(visit_doing: VisitDoing) -> None:
    def work() -> None:
        for number in range(3):
            cache.get(f"a:{number}")

    html = visit_doing(work).html()
    assert html.count('class="cm-stack"') == 1
    assert html.count('data-same-as="1"') == 2
    assert "The same stack as call 1." in html


@override_settings(USE_THOUSAND_SEPARATOR=True)
def test_a_stack_is_found_by_a_number_without_separators() -> None:
    call = {"same_as": 1234, "trace": [], "caller": None}
    html = render_to_string("cache_monitor/panel/trace.html", {"call": call})
    assert 'data-same-as="1234"' in html
    assert "The same stack as call 1,234." in html


def test_without_stack_traces_no_line_is_named(visit_doing: VisitDoing) -> None:
    with override_settings(DEBUG_TOOLBAR_CONFIG={"ENABLE_STACKTRACES": False}):
        told = visit_doing(lambda: cache.get("a"))
        assert told.stats["calls"][0]["stack"] is None
        assert told.rows("cm-calls")[1][8] == "–"


def test_a_miss_tells_its_reason(visit_doing: VisitDoing) -> None:
    def work() -> None:
        cache.set("reason:deleted", 1)
        cache.delete("reason:deleted")
        cache.get("reason:deleted")
        cache.get("reason:never")

    # Processes of earlier tests, which have ended without a word, might have written the key.
    begin_anew()
    memory = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}
    with override_settings(CACHE_MONITOR=memory):
        told = visit_doing(work)

    outcomes = [row[4] for row in told.rows("cm-calls")[1:]]
    assert outcomes == ["–", "–", "miss deleted", "miss never set"]
    assert "1 deleted, 1 never set" in told.html()


def test_in_another_process_the_reason_of_a_miss_is_unknown(
    visit_doing: VisitDoing, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = visit_doing(lambda: cache.get("reason:unknown"))
    monkeypatch.setattr("cache_monitor.panel.misses_of_requests", MissesOfRequests())
    assert told.rows("cm-calls")[1][4] == "miss reason unknown"
    assert told.rows("cm-calls")[1][8].startswith("tests/panel/test_panel.py:")


def test_hits_save_what_the_misses_before_them_took(
    visit_doing: VisitDoing, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = timing_clock(monkeypatch)

    def work() -> None:
        if cache.get("saved:value") is None:
            clock.go_on(0.05)
            cache.set("saved:value", 1)

    missed, hit = visit_doing(work), visit_doing(work)

    assert "no hits" in missed.totals["Time saved"]
    saved = hit.totals["Time saved"].split()[0]
    assert saved.startswith("~")
    assert float(saved[1:]) == pytest.approx(50)


def test_what_nobody_saw_being_produced_is_not_known_yet(visit_doing: VisitDoing) -> None:
    cache.set("saved:unseen", 1)
    told = visit_doing(lambda: cache.get("saved:unseen"))
    assert told.totals["Time saved"] == "– not known yet"


def test_the_share_of_the_request_is_told(
    visit_doing: VisitDoing, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = timing_clock(monkeypatch)

    class Heavy:
        def __reduce__(self) -> tuple[type, tuple[()]]:
            clock.go_on(0.005)
            return int, ()

    def work() -> None:
        cache.set("a", Heavy())
        clock.go_on(0.015)

    told = visit_doing(work)
    assert told.stats["total"]["request_milliseconds"] == pytest.approx(20)
    assert "25 % of the request" in told.totals["Time in caches"]


def test_producing_a_value_is_no_time_in_the_cache(
    visit_doing: VisitDoing, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = timing_clock(monkeypatch)

    def produce() -> int:
        clock.go_on(0.05)
        return 1

    told = visit_doing(lambda: cache.get_or_set("slow", produce))
    assert told.stats["total"]["milliseconds"] == 0
    assert told.stats["calls"][0]["produced"] == pytest.approx(50)
    assert " to produce" in told.rows("cm-calls")[1][5]


def test_a_hint_names_the_line_and_the_calls(visit_doing: VisitDoing) -> None:
    def work() -> None:
        for number in range(6):
            cache.get(f"hinted:{number}")

    html = " ".join(visit_doing(work).html().split())
    line = work.__code__.co_firstlineno + 2
    assert 'data-code="single-gets"' in html
    assert "hinted:{int}" in html
    assert f"tests/panel/test_panel.py:{line}" in html.split('id="cm-timeline"')[0]
    assert "calls 1, 2, 3, 4, 5, 6" in html


def test_a_sensible_request_has_no_hints(visit_doing: VisitDoing) -> None:
    def work() -> None:
        if cache.get("product:1") is None:
            cache.set("product:1", {"name": "a product"}, 300)
        cache.get_many([f"price:{number}" for number in range(20)])

    assert "data-code" not in visit_doing(work).html()


def test_a_page_from_the_cache_shows_its_calls_under_its_route() -> None:
    first, again = visit(Client(), "/cached/4/"), visit(Client(), "/cached/4/")
    assert [operation for _, operation, _ in first.calls] == ["get", "set", "set"]
    assert [operation for _, operation, _ in again.calls] == ["get", "get"]
    assert [call["keys"][0]["route"] for call in again.stats["calls"]] == [
        "/cached/<int:number>/"
    ] * 2
    assert "/cached/&lt;int:number&gt;/" in again.html()


def test_a_page_that_middleware_serves_shows_its_calls() -> None:
    toolbar, *rest = settings.MIDDLEWARE
    per_site = [
        toolbar,
        "django.middleware.cache.UpdateCacheMiddleware",
        *rest,
        "django.middleware.cache.FetchFromCacheMiddleware",
    ]
    with override_settings(MIDDLEWARE=per_site, CACHE_MIDDLEWARE_SECONDS=60):
        visit(Client(), "/page/")
        again = visit(Client(), "/page/")
        [headers, page] = again.rows("cm-calls")[1:]
    assert [row[4] for row in (headers, page)] == ["hit", "hit"]
    assert "/page/" in page[3]
    assert "django/middleware/cache.py:" in page[8]


def test_keys_that_grow_when_they_are_escaped_leave_the_page_small(visit_doing: VisitDoing) -> None:
    def work() -> None:
        for number in range(500):
            cache.get_many([f"{number}:{each}{QUOTES}" for each in range(2)])

    html = visit_doing(work, without_toolbars_own=True).html()
    assert len(html) < 1_000_000
    assert "of 500 calls are listed" in html


def test_ten_thousand_calls_from_many_places_leave_the_page_small(visit_doing: VisitDoing) -> None:
    def nested(levels: int) -> None:
        if levels:
            nested(levels - 1)
        else:
            cache.get("a")

    def work() -> None:
        for number in range(10_000):
            nested(number % 40)

    told = visit_doing(work, without_toolbars_own=True)
    assert told.stats["total"]["calls"] == 10_000
    assert len(told.html()) < 1_000_000


def test_panels_that_are_rendered_with_the_page_wait_for_nothing(
    visit_doing: VisitDoing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("waited, or read the report")

    monkeypatch.setattr("cache_monitor.panel.of_the_last_hour", refuse)
    monkeypatch.setattr("cache_monitor.panel.site.time.sleep", refuse)
    with override_settings(DEBUG_TOOLBAR_CONFIG={"RENDER_PANELS": True}):
        told = visit_doing(lambda: caches["files"].get("a"), without_toolbars_own=True)
    page = told.response.content.decode()
    assert 'class="cm-calls"' in page
    assert "/static/cache_monitor/panel/panel.js" in page


def test_a_fault_of_the_panels_own_does_not_reach_the_site(
    visit_doing: VisitDoing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("cache_monitor.panel.request_rows", fail)
    noted: list[BaseException] = []
    monkeypatch.setattr("cache_monitor.calls.recorder.failed", noted.append)
    told = visit_doing(lambda: cache.get("a"))
    assert told.response.status_code == 200
    assert [str(fault) for fault in noted] == ["a fault of ours"]
    assert "CacheMonitorPanel_total_time" not in told.response.headers["Server-Timing"]


@pytest.mark.parametrize("lost", ["total", "calls"])
def test_rows_of_another_version_are_no_error_of_the_site(
    visit_doing: VisitDoing, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """A toolbar that keeps requests in a database, or in a cache, has them after an upgrade."""
    noted: list[BaseException] = []
    monkeypatch.setattr("cache_monitor.calls.recorder.failed", noted.append)
    panel = visit_doing(lambda: cache.get("a")).panel
    rows = {name: each for name, each in panel.get_stats().items() if name != lost}
    monkeypatch.setattr(panel, "get_stats", lambda: rows)
    assert panel.content == ""
    assert (panel.nav_subtitle == "") == (lost == "total")
    assert {str(fault) for fault in noted} == {repr(lost)}


def test_the_panels_script_is_a_static_file(visit_doing: VisitDoing) -> None:
    assert visit_doing(lambda: None).panel.scripts[-1] == "/static/cache_monitor/panel/panel.js"


def test_the_app_need_not_be_installed_for_the_check_to_explain_it() -> None:
    code = """
import django
from django.conf import settings
settings.configure(
    DEBUG=True,
    SECRET_KEY="x",
    STATIC_URL="/static/",
    INSTALLED_APPS=["django.contrib.staticfiles", "debug_toolbar"],
    DEBUG_TOOLBAR_PANELS=["cache_monitor.panel.CacheMonitorPanel"],
)
django.setup()
from debug_toolbar.toolbar import DebugToolbar
[panel] = DebugToolbar.get_panel_classes()
print(panel.run_checks()[0].id)
"""
    assert forked.printed(["-c", code]).strip() == "cache_monitor.E005"
