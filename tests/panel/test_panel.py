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
from django.test import Client, override_settings
from django.utils import translation

from tests.panel.visits import VisitDoing, visit

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
    assert row[3:5] == ["hit first miss second hit third", "2 hits 1 miss"]


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


def test_a_call_with_many_keys_shows_some_and_counts_all(visit_doing: VisitDoing) -> None:
    def work() -> None:
        for _ in range(200):
            cache.get_many([f"key:{number}" for number in range(3000)])

    told = visit_doing(work, without_toolbars_own=True)

    assert told.stats["total"]["misses"] == 600_000
    first = told.stats["calls"][0]
    assert (len(first["keys"]), first["more_keys"], first["misses"]) == (20, 2980, 3000)
    assert len(told.stats["calls"][-1]["keys"]) == 1
    assert "and 2,980 more keys" in told.rows("cm-calls")[1][3]
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


def test_a_call_that_raised_is_shown_with_its_error(visit_doing: VisitDoing) -> None:
    def work() -> None:
        with pytest.raises(ValueError, match="absent"):
            cache.incr("absent")

    told = visit_doing(work)

    assert told.stats["total"]["errors"] == 1
    assert told.rows("cm-calls")[1][2:5] == ["incr", "absent", "raised ValueError"]


def test_a_view_that_raises_shows_its_calls() -> None:
    told = visit(Client(raise_request_exception=False), "/failing/")
    assert told.response.status_code == 500
    assert told.keys == ["before:the-failure"]


def test_a_redirect_shows_its_calls() -> None:
    assert visit(Client(), "/redirecting/").calls == [
        ("files", "get", [("before:the-redirect", False)])
    ]


def test_a_stream_is_sent_whole_and_its_calls_are_said_to_be_missing() -> None:
    told = visit(Client(), "/streaming/")
    assert b"".join(told.response.streaming_content) == b"None\nNone\nNone\n"
    assert told.keys == ["before:the-stream"]
    assert "The response is a stream" in told.html()


def test_nobody_listens_after_the_request(visit_doing: VisitDoing) -> None:
    from cache_monitor.scope import current

    visit_doing(lambda: cache.get("a"))
    assert current() is None


def test_the_server_timing_header_has_an_entry(visit_doing: VisitDoing) -> None:
    header = visit_doing(lambda: cache.get("a")).response.headers["Server-Timing"]
    assert 'desc="Cache calls: 1, hits: 0 of 1 lookups"' in header
    assert "CacheMonitorPanel_total_time;dur=" in header


def test_the_toolbars_own_count_is_explained_where_it_differs(visit_doing: VisitDoing) -> None:
    def work() -> None:
        cache.set("nothing", None)
        cache.get("nothing")

    told = visit_doing(work)

    assert told.stats["toolbar_counts"] == {"hits": 0, "misses": 1}
    assert "own cache panel counts 0 hits and 1 misses" in told.html()


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
    client = Client()
    client.cookies["djdtCacheMonitorPanel"] = "off"
    assert visit(client, "/redirecting/").stats == {}


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
    assert subtitle.startswith("1.234 calls in ")
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
import cache_monitor.capture, cache_monitor.testing
from django.core.cache import cache
with cache_monitor.testing.capture_cache_calls() as captured:
    cache.get("a")
assert len(captured) == 1
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
