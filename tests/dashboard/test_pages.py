"""Every page of the dashboard over a report made by hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.test import Client, override_settings
from django.urls import reverse
from msgspec.structs import replace

from cache_monitor import api
from cache_monitor.reports import Finding, Memory, Report
from tests.dashboard.conftest import ShowReport
from tests.dashboard.reports import (
    HOSTILE,
    busy_cache,
    hot_key,
    predicted_cache,
    quiet_cache,
    report_of,
)

PAGES = ["dashboard", "findings", "keys", "groups", "views", "memory", "stale"]


@pytest.fixture(autouse=True)
def _utc() -> Iterator[None]:
    with override_settings(TIME_ZONE="UTC"):
        yield


def page_of(client: Client, name: str, /, **query: str) -> str:
    response = client.get(reverse(f"admin:cache_monitor_{name}", query=query))
    assert response.status_code == 200
    text: str = response.content.decode()
    return text


@pytest.fixture
def deleter(make_user: Callable[..., User]) -> Client:
    """A client that may delete whatever there is to delete."""
    user = make_user("deleter")
    user.user_permissions.add(
        *Permission.objects.filter(
            codename__in=["delete_entry", "delete_group", "delete_stale", "clear_cache"]
        )
    )
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.usefixtures("full_report")
@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("dashboard", ["12.5", "70", "Hit ratio", "polyline", "Misses per request", "0.25"]),
        ("keys", ["user:1:profile", "7 never set, 3 expired", "75.0%", "17.8", "2.0"]),
        ("groups", ["user:1:profile", "70 never set, 30 expired", "91.7%"]),
        ("views", ["shop:product", "0.25", "2.5%", "20.0"]),
        (
            "memory",
            [
                "every entry was scanned (30)",
                "within an hour",
                "25.0%",
                "Largest",
                "django-redis",
            ],
        ),
        ("stale", ["idle, never read", "2.0", "2\u202fh", "Not read for"]),
    ],
)
def test_a_page_shows_its_figures(viewer: Client, name: str, texts: list[str]) -> None:
    page = page_of(viewer, name)
    for text in texts:
        assert text in page, text


@pytest.mark.usefixtures("full_report")
@pytest.mark.parametrize("name", PAGES)
def test_links_between_the_pages_carry_the_period_and_the_cache(viewer: Client, name: str) -> None:
    page = page_of(viewer, name, range="6h", alias="default")
    for other in PAGES:
        url = reverse(f"admin:cache_monitor_{other}")
        assert f'href="{url}?range=6h&amp;alias=default"' in page
    here = reverse(f"admin:cache_monitor_{name}")
    assert f'href="{here}?range=6h&amp;alias=default" aria-current="page"' in page


@pytest.mark.parametrize("name", PAGES)
def test_a_hostile_key_breaks_out_of_no_page(
    deleter: Client, show_report: ShowReport, name: str
) -> None:
    show_report(report_of(default=busy_cache(HOSTILE), other=busy_cache("\u202eevil" * 20_000)))
    page = page_of(deleter, name)
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "x" * 1001 not in page
    assert len(page) < 250_000


@pytest.mark.parametrize("name", PAGES)
def test_a_page_without_figures_says_what_to_do(
    viewer: Client, show_report: ShowReport, name: str
) -> None:
    report = report_of(default=quiet_cache())
    show_report(replace(report, quality=replace(report.quality, newest_record_at=None)))
    page = page_of(viewer, name)
    steps = {"memory": "<code>manage.py cache_scan</code>", "stale": "manage.py cache_scan"}
    assert steps.get(name, "Use any page of your site that caches something.") in page


@pytest.mark.parametrize("name", ["keys", "groups", "findings", "dashboard"])
def test_a_page_about_a_cache_that_nobody_called_leads_to_the_others(
    viewer: Client, show_report: ShowReport, name: str
) -> None:
    show_report(report_of(default=quiet_cache()))
    page = page_of(viewer, name, alias="default")
    assert "No calls of the cache default in this period" in page
    assert f'{reverse(f"admin:cache_monitor_{name}")}?range=1h">Look at all caches' in page


@pytest.mark.parametrize("name", PAGES)
def test_of_a_store_that_fails_nothing_is_said_to_be_known(
    viewer: Client, show_report: ShowReport, name: str
) -> None:
    report = report_of(default=quiet_cache())
    problem = "The server is away."
    quality = replace(report.quality, store_problem=problem, processes=0, newest_record_at=None)
    show_report(replace(report, quality=quality))
    page = page_of(viewer, name)
    assert problem in page
    assert "There is nothing to show until the store answers" in page
    figures = re.findall(r"<dt>([^<]+)</dt>\s*<dd>([^<]*)</dd>", page)
    assert {label: text for label, text in figures if label != "Period"} == {
        "Processes reporting": "–",
        "Newest record": "–",
        "Dropped calls": "–",
        "Corrupt windows": "–",
        "Counts": "–",
    }
    assert "No findings" not in page
    assert "canned yet" not in page


def test_of_a_store_that_fails_an_entry_shows_what_the_cache_itself_tells(
    viewer: Client, show_report: ShowReport
) -> None:
    report = report_of(default=quiet_cache())
    quality = replace(report.quality, store_problem="The server is away.")
    show_report(replace(report, quality=quality))
    page = page_of(viewer, "entry", alias="default", key="user:1")
    assert "In the cache now" in page
    assert "in this period" not in page


def test_a_file_of_a_store_that_fails_is_refused(viewer: Client, show_report: ShowReport) -> None:
    report = report_of(default=quiet_cache())
    quality = replace(report.quality, store_problem="The server is away.")
    show_report(replace(report, quality=quality))
    url = reverse("admin:cache_monitor_keys", query={"table": "hot_keys", "format": "csv"})
    response = viewer.get(url)
    assert (response.status_code, response.content) == (503, b"The server is away.")


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"table": "hot_keys"}, "format"),
        ({"format": "csv"}, "table"),
        ({"table": "hot_keys", "format": "xml"}, "format"),
    ],
)
def test_a_file_takes_a_table_and_a_format(
    viewer: Client, show_report: ShowReport, query: dict[str, str], parameter: str
) -> None:
    show_report(report_of(default=busy_cache()))
    response = viewer.get(reverse("admin:cache_monitor_keys", query=query))
    assert response.status_code == 400
    assert f"<code>{parameter}</code>" in response.content.decode()


def test_where_nothing_is_stale_it_is_said(viewer: Client, show_report: ShowReport) -> None:
    seen = replace(quiet_cache(), memory=Memory(measured_at="2026-01-01T00:00:00Z", entries=0))
    show_report(report_of(default=seen))
    assert "The last scan of the caches found no stale entry" in page_of(viewer, "stale")


@pytest.mark.usefixtures("full_report")
def test_a_group_leads_to_its_keys(viewer: Client, show_report: ShowReport) -> None:
    keys = [replace(hot_key(f"item:{n}"), group="even" if n % 2 == 0 else "odd") for n in range(4)]
    show_report(report_of(default=replace(busy_cache(), hot_keys=keys)))
    page = page_of(viewer, "keys", alias="default", group="odd")
    assert "item:1" in page
    assert "item:3" in page
    assert "item:2" not in page
    assert "Only the keys of the group" in page


def test_a_session_leads_to_no_entry_page(viewer: Client, show_report: ShowReport) -> None:
    key = replace(hot_key("session:••••"), group="session")
    show_report(report_of(default=replace(busy_cache(), hot_keys=[key])))
    assert reverse("admin:cache_monitor_entry") not in page_of(viewer, "keys")


def test_only_who_may_delete_sees_how(
    viewer: Client, deleter: Client, show_report: ShowReport
) -> None:
    show_report(report_of(default=busy_cache(), files=quiet_cache()))
    for name, action in (
        ("memory", "clear"),
        ("memory", "delete_group"),
        ("stale", "delete_stale"),
    ):
        url = reverse(f"admin:cache_monitor_{action}")
        assert url not in page_of(viewer, name)
        assert f'href="{url}?alias=default' in page_of(deleter, name)
        # There is nothing stale in the other cache.
        if action == "delete_stale":
            assert f'href="{url}?alias=files' not in page_of(deleter, name)


def finding(number: int) -> Finding:
    return Finding(
        code="no-expiry",
        severity="warning",
        alias="default",
        group=f"<b>user:{number}</b>",
        key=None,
        evidence={"entries": 1200, "held_bytes": 2048, "share": 0.5, "operation": "<i>set</i>"},
        evidence_errors={"entries": 30, "share": None},
        advice="Set a timeout.",
        docs="https://example.com/#no-expiry",
    )


def test_findings_stand_on_top(viewer: Client, show_report: ShowReport) -> None:
    every = [finding(number) for number in range(5)]
    show_report(replace(report_of(default=busy_cache()), findings=every))
    page = page_of(viewer, "dashboard")
    assert page.index("Set a timeout.") < page.index("cm-strips")
    assert page.count("Set a timeout.") == 3
    assert "3 of 5" in page
    assert "&lt;b&gt;user" in page


def test_a_finding_has_its_evidence_and_where_to_read_more(
    viewer: Client, show_report: ShowReport
) -> None:
    script = replace(finding(1), severity="error", docs="javascript:alert(1)", group=None)
    show_report(replace(report_of(default=busy_cache()), findings=[finding(0), script]))
    page = page_of(viewer, "findings")
    for text in ("~1,200 ±30", "held", "2.0", "~50.0%", "&lt;i&gt;set", "warning", "error"):
        assert text in page, text
    assert page.count("Read more") == 2
    assert "javascript:" not in page
    assert page.count('#finding-no-expiry"') == 1
    assert 'id="finding-no-expiry"' in page
    url = reverse("admin:cache_monitor_findings", query={"table": "findings", "format": "json"})
    rows = viewer.get(url).json()
    assert [row["severity"] for row in rows] == ["warning", "error"]
    assert rows[0]["evidence"].startswith("entries: ~1200 ±30, held: 2048, ")


def test_a_young_site_says_from_when_its_charts_are(
    viewer: Client, show_report: ShowReport
) -> None:
    busy = busy_cache()
    empty = [replace(p, lookups=0, calls=0, p99=None, memory_bytes=None) for p in busy.series[:100]]
    report = report_of(default=replace(busy, series=[*empty, *busy.series[100:]]))
    show_report(report)
    page = page_of(viewer, "dashboard", since=report.since, until=report.until)
    assert "Nothing was recorded before 11/22/2026 11:50:00" in page


@pytest.mark.usefixtures("full_report")
@pytest.mark.parametrize("name", PAGES)
def test_a_partial_page_has_no_frame(viewer: Client, name: str) -> None:
    inside = page_of(viewer, name, partial="1")
    assert "<html" not in inside
    assert "cm-quality" in inside


def test_a_period_is_compared_with_the_one_before(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = busy_cache()
    before = replace(now, lookups=1000, hits=500, misses=500, hit_ratio=0.5)
    periods: list[tuple[datetime, datetime | None]] = []

    def report(since: datetime, until: datetime | None, alias: str | None) -> Report:
        periods.append((since, until))
        return report_of(default=now if until is None else before)

    monkeypatch.setattr(api, "report", report)
    page = page_of(viewer, "dashboard", compare="1", range="6h")
    for text in ("+41.7 points", "+20.0%", "\u221280.0%", "checked"):
        assert text in page, text
    (this, _), (since, until) = periods
    assert until == this
    assert this - since == timedelta(hours=6)
    assert "range=6h&amp;compare=1" in page  # the links to the other pages keep it
    assert " points<" not in page_of(viewer, "dashboard", range="6h")


def test_a_period_that_nothing_can_come_before_is_not_compared(
    viewer: Client, show_report: ShowReport
) -> None:
    show_report(report_of(default=busy_cache()))
    query = {"since": "1980-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z", "compare": "1"}
    assert " points<" not in page_of(viewer, "dashboard", **query)


def test_what_all_sessions_are_shown_as_leads_nowhere(
    viewer: Client, show_report: ShowReport
) -> None:
    masked, cache = "session:••••", busy_cache()
    found = replace(cache.memory, largest=[replace(cache.memory.largest[0], key=masked)])
    show_report(report_of(default=replace(cache, memory=found)))
    page = page_of(viewer, "memory")
    assert masked in page
    assert f'"><code><bdi>{masked}' not in page


def test_views_are_asked_for_where_the_middleware_is_missing(
    viewer: Client, show_report: ShowReport
) -> None:
    show_report(report_of(default=replace(busy_cache(), views=[])))
    assert "cache_monitor.middleware.CacheMonitorMiddleware" in page_of(viewer, "views")


# The admin's, a project's, or what only some pages and includes are given.
OPTIONAL = {"csp_nonce", "subtitle", "crumb", "label", "anchor", "history", "samples", "pages"}
OPTIONAL |= {"processes"}


@pytest.mark.parametrize("name", [*PAGES, "what_if", "entry", "delete_group", "clear"])
def test_a_template_names_nothing_that_it_is_not_given(
    deleter: Client, show_report: ShowReport, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    show_report(report_of(default=predicted_cache(), other=quiet_cache()))
    targets = {
        "entry": {"alias": "default", "key": "user:1:profile"},
        "delete_group": {"alias": "default", "group": "user:{int}:profile"},
        "clear": {"alias": "default"},
    }
    # As pytest-django's --fail-on-template-vars sets it.
    templates: Any = deepcopy(settings.TEMPLATES)
    templates[0]["OPTIONS"]["string_if_invalid"] = "not-given-%s"
    with caplog.at_level("DEBUG", "django.template"), override_settings(TEMPLATES=templates):
        page = page_of(deleter, name, **targets.get(name, {}))
    assert re.findall("not-given-.{30}", page) == []
    missing = {
        record.args[0]
        for record in caplog.records
        if isinstance(record.args, tuple) and str(record.args[1]).startswith("cache_monitor/")
    }
    assert missing <= OPTIONAL
