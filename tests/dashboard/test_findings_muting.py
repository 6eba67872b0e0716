"""Muting a finding: asked first, by POST, with a reason and a permission, written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import unescape

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Permission, User
from django.core.cache import caches
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import reverse

import cache_monitor
from cache_monitor import api
from tests.anew import begin_anew

MEMORY = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}
PLACE = {"code": "large-values", "alias": "default", "group": "<b>:{int}", "key": "<b>:1"}


@pytest.fixture(autouse=True)
def found() -> Iterator[None]:
    """A site with one finding, on a key that is no harmless text."""
    with override_settings(CACHE_MONITOR=MEMORY):
        begin_anew()
        caches["default"].set("<b>:1", "x" * 300_000, timeout=60)
        yield
        begin_anew()
        caches["default"].clear()


@pytest.fixture
def muter(make_user: Callable[..., User]) -> Client:
    user = make_user("ann")
    user.user_permissions.add(Permission.objects.get(codename="mute_finding"))
    client = Client()
    client.force_login(user)
    return client


def page_of(client: Client) -> str:
    return client.get(reverse("admin:cache_monitor_findings")).text


def ask(client: Client, **more: str) -> HttpResponse:
    url = reverse("admin:cache_monitor_mute_finding", query={**PLACE, **more})
    return client.get(url)  # type: ignore[return-value]  # the test client's response has attributes more


def mute(client: Client, reason: str = "It <i>must</i> be.", **more: str) -> HttpResponse:
    url = reverse("admin:cache_monitor_mute_finding")
    return client.post(url, {**PLACE, "reason": reason, **more})  # type: ignore[return-value]  # as above


def unmute(client: Client, name: str) -> HttpResponse:
    return client.post(reverse("admin:cache_monitor_unmute_finding"), {"id": name})  # type: ignore[return-value]  # as above


def codes() -> list[str]:
    return [each.code for each in cache_monitor.report().findings]


def test_the_page_leads_to_the_question_which_mutes_nothing(muter: Client) -> None:
    [href] = [
        unescape(part.partition('"')[0])
        for part in page_of(muter).split('href="')
        if "mute-finding" in part.partition('"')[0]
    ]
    question = muter.get(href)
    assert question.status_code == 200
    assert "&lt;b&gt;:1" in question.text
    assert codes() == ["large-values"]


def test_a_finding_is_muted_with_a_reason_and_shown_again(muter: Client) -> None:
    assert mute(muter).status_code == 302
    assert codes() == []
    page = page_of(muter)
    assert "No findings" in page
    assert "Muted by ann: It &lt;i&gt;must&lt;/i&gt; be." in page
    [name] = api.muted()
    assert (
        "must" in muter.get(reverse("admin:cache_monitor_unmute_finding", query={"id": name})).text
    )
    assert codes() == []
    assert unmute(muter, name).status_code == 302
    assert codes() == ["large-values"]


def test_what_was_muted_is_in_the_history(muter: Client) -> None:
    mute(muter)
    [name] = api.muted()
    unmute(muter, name)
    shown, muted = LogEntry.objects.all()
    assert (muted.action_flag, muted.user.get_username()) == (CHANGE, "ann")
    assert muted.object_repr == "large-values, default, <b>:{int}, <b>:1"
    assert muted.change_message == "Muted: It <i>must</i> be."
    assert shown.change_message == "Shown again."


def test_a_reason_is_one_line_that_can_be_read(muter: Client) -> None:
    mute(muter, reason=" One\r\n\ttwo\x00\x1b[2J\u202e ")
    [muted] = api.muted().values()
    assert muted.reason == r"One two\x00\x1b[2J\u202e"
    assert LogEntry.objects.get().change_message == f"Muted: {muted.reason}"


def test_without_a_reason_nothing_is_muted(muter: Client) -> None:
    answer = mute(muter, reason="  ")
    assert answer.status_code == 200
    assert "Write a reason." in answer.content.decode()
    assert codes() == ["large-values"]
    assert not LogEntry.objects.exists()


def test_who_may_not_mute_is_refused_and_not_led_there(viewer: Client, muter: Client) -> None:
    assert "mute-finding" not in page_of(viewer)
    assert ask(viewer).status_code == mute(viewer).status_code == 403
    assert codes() == ["large-values"]
    mute(muter)
    [name] = api.muted()
    assert unmute(viewer, name).status_code == 403
    assert "Muted by ann" in page_of(viewer)
    assert "unmute-finding" not in page_of(viewer)


@pytest.mark.parametrize(
    "more",
    [
        {"code": "no-such-code"},
        {"alias": "no-such-cache"},
        {"alias": "files"},
        {"code": "no-expiry"},
        {"group": "made up: <script>"},
        {"group": "session:0123456789abcdefghijklmnopqrstuv"},
        # From before the entry was written.
        {"back": "since=2020-01-01T00:00:00Z&until=2020-01-01T01:00:00Z"},
    ],
    ids=str,
)
def test_what_is_no_finding_is_refused_and_nothing_of_it_is_kept(
    muter: Client, more: dict[str, str]
) -> None:
    assert ask(muter, **more).status_code == mute(muter, **more).status_code == 400
    assert api.muted() == {}
    assert not LogEntry.objects.exists()


def test_a_text_of_the_url_is_not_taken_for_the_findings_own(muter: Client) -> None:
    """The group tells which finding it is; another key beside it is somebody's invention."""
    assert mute(muter, key="call 555-0100").status_code == 302
    [muted] = api.muted().values()
    assert muted.key == "<b>:1"
    assert "555" not in page_of(muter) + LogEntry.objects.get().object_repr


def test_what_is_muted_already_is_not_muted_again(muter: Client) -> None:
    assert mute(muter).status_code == 302
    assert mute(muter, reason="Once more.").status_code == 400
    [muted] = api.muted().values()
    assert "must" in muted.reason


def test_what_is_not_muted_cannot_be_shown_again(muter: Client) -> None:
    assert unmute(muter, "0123").status_code == 400


def test_a_form_without_its_token_is_refused(muter: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = muter.cookies
    assert mute(strict).status_code == 403
