"""Deleting from the live caches: asked first, by POST, with a permission each, written down."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth.models import Permission, User
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.management import call_command
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import reverse

from cache_monitor.context import muted
from cache_monitor.dashboard import deleting
from cache_monitor.scan import entries

ACTIONS = {
    "delete_entry": ("delete_entry", {"key": "user:1:profile"}),
    "delete_group": ("delete_group", {"group": "user:{int}:profile"}),
    "delete_stale": ("delete_stale", {"why": "no_expiry"}),
    "clear": ("clear_cache", {}),
}
LEFT = {"delete_entry": 6, "delete_group": 2, "delete_stale": 6, "clear": 0}
PRESENT = [*(f"user:{n}:profile" for n in range(5)), "forever", "other"]


@pytest.fixture
def cache() -> BaseCache:
    """Five profiles, an entry that never expires, another one."""
    cache = caches["default"]
    cache.clear()
    cache.set_many(dict.fromkeys(PRESENT, "x" * 100), timeout=3600)
    cache.set("forever", "x", timeout=None)
    return cache


def left_in(cache: BaseCache) -> int:
    return len(cache.get_many(PRESENT))


@pytest.fixture
def client_with(make_user: Callable[..., User]) -> Callable[..., Client]:
    def make(*permissions: str, csrf: bool = False) -> Client:
        user = make_user("-".join(permissions) or "nobody")
        user.user_permissions.add(*Permission.objects.filter(codename__in=permissions))
        client = Client(enforce_csrf_checks=csrf)
        client.force_login(user)
        return client

    return make


def ask(client: Client, action: str, **more: str) -> HttpResponse:
    target = {"alias": "default", **ACTIONS[action][1], **more}
    return client.get(reverse(f"admin:cache_monitor_{action}", query=target))  # type: ignore[return-value]  # the test client's response has attributes more


def post(client: Client, action: str, **more: str) -> HttpResponse:
    target = {"alias": "default", **ACTIONS[action][1], **more}
    return client.post(reverse(f"admin:cache_monitor_{action}"), target)  # type: ignore[return-value]  # as above


@pytest.mark.parametrize("action", ACTIONS)
def test_without_its_permission_an_action_is_refused(
    action: str, cache: BaseCache, client_with: Callable[..., Client]
) -> None:
    others = [permission for permission, _ in ACTIONS.values() if permission != ACTIONS[action][0]]
    client = client_with(*others, "view_value")
    assert ask(client, action).status_code == 403
    assert post(client, action).status_code == 403
    assert left_in(cache) == len(PRESENT)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_question_deletes_nothing(
    action: str, cache: BaseCache, client_with: Callable[..., Client]
) -> None:
    page = ask(client_with(ACTIONS[action][0]), action).content.decode()
    assert "Entries that will go" in page
    assert f"<dd>{len(PRESENT) - LEFT[action]}</dd>" in page
    assert "csrfmiddlewaretoken" in page
    assert "Only the process that answers" in page
    assert left_in(cache) == len(PRESENT)


@pytest.mark.parametrize(
    ("action", "asked"),
    [
        ("delete_entry", "delete this entry of the cache “default”?"),
        ("delete_group", "delete these entries of the cache “default”?"),
        ("delete_stale", "delete these entries of the cache “default”?"),
        ("clear", "clear the cache “default”? It will lose all of its entries."),
    ],
)
def test_a_question_names_what_it_does(
    action: str, asked: str, cache: BaseCache, client_with: Callable[..., Client]
) -> None:
    page = ask(client_with(ACTIONS[action][0]), action).content.decode()
    assert f"Are you sure you want to {asked}" in page
    assert 'value="Yes, I' in page


def test_the_history_says_that_a_cache_was_cleared(
    cache: BaseCache, client_with: Callable[..., Client]
) -> None:
    post(client_with("clear_cache"), "clear")
    assert LogEntry.objects.get().change_message.endswith(": the cache “default” was cleared")


@pytest.mark.parametrize("action", ACTIONS)
def test_a_post_without_the_token_is_refused(
    action: str, cache: BaseCache, client_with: Callable[..., Client]
) -> None:
    assert post(client_with(ACTIONS[action][0], csrf=True), action).status_code == 403
    assert left_in(cache) == len(PRESENT)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_post_deletes_and_the_history_says_who_what_and_how_many(
    action: str, cache: BaseCache, client_with: Callable[..., Client]
) -> None:
    permission = ACTIONS[action][0]
    client = client_with(permission)
    response = post(client, action, back="range=6h&alias=default")
    assert response.status_code == 302
    assert "range=6h&alias=default" in response["Location"]
    assert left_in(cache) == LEFT[action]
    log = LogEntry.objects.get()
    number = len(PRESENT) - LEFT[action]
    assert log.user.username == permission
    assert log.action_flag == DELETION
    assert log.object_id == "default"
    assert log.change_message.startswith(f"{number} entr")
    assert "“default”" in log.change_message
    page = client.get(response["Location"]).content.decode()
    assert f"{number} entr" in page


def test_the_history_is_in_the_admin(cache: BaseCache, client_with: Callable[..., Client]) -> None:
    client = client_with("delete_group")
    post(client, "delete_group")
    index = client.get(reverse("admin:index")).content.decode()
    assert "5 entries" in index
    assert "Cache dashboard" in index


def test_a_large_group_is_deleted_in_steps(
    cache: BaseCache, client_with: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deleting, "STEP_LIMIT", 2)
    client = client_with("delete_group")
    response = post(client, "delete_group")
    steps = 1
    while response.status_code == 200:
        page = response.content.decode()
        assert "scanned" in page
        context = response.context  # type: ignore[attr-defined]  # the test client's
        response = post(client, "delete_group", progress=context["progress"])
        steps += 1
    assert steps > 2
    assert left_in(cache) == LEFT["delete_group"]
    log = LogEntry.objects.get()
    assert log.change_message.startswith("5 entries")


def test_progress_of_somebody_else_or_of_another_target_is_refused(
    cache: BaseCache, client_with: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deleting, "STEP_LIMIT", 2)
    first = post(client_with("delete_group"), "delete_group")
    progress: str = first.context["progress"]  # type: ignore[attr-defined]  # the test client's
    left = left_in(cache)
    other = client_with("delete_group", "view_value")
    mine = client_with("delete_group", "clear_cache")
    for client, more in (
        (other, {"progress": progress}),
        (mine, {"progress": f"{progress}0"}),
        (mine, {"progress": progress, "group": "other"}),
    ):
        response = post(client, "delete_group", **more)
        assert response.status_code == 302
    assert left_in(cache) == left


@pytest.mark.parametrize(
    ("action", "more", "parameter"),
    [
        ("clear", {"alias": "nowhere"}, "alias"),
        ("delete_group", {"group": ""}, "group"),
        ("delete_stale", {"why": "ugly"}, "why"),
        ("delete_entry", {"key": "django.contrib.sessions.cache" + "a" * 32}, "key"),
    ],
)
def test_a_target_that_cannot_be_used_is_named(
    action: str,
    more: dict[str, str],
    parameter: str,
    cache: BaseCache,
    client_with: Callable[..., Client],
) -> None:
    client = client_with(ACTIONS[action][0])
    for send in (ask, post):
        response = send(client, action, **more)
        assert response.status_code == 400
        assert f"<code>{parameter}</code>" in response.content.decode()
    assert left_in(cache) == len(PRESENT)


def test_where_to_go_back_cannot_lead_elsewhere(
    cache: BaseCache, client_with: Callable[..., Client]
) -> None:
    response = post(client_with("clear_cache"), "clear", back="//evil.example/?range=1h&x=1")
    assert response["Location"].startswith(reverse("admin:cache_monitor_memory"))
    assert "evil" not in response["Location"]


def test_sessions_are_deleted_with_a_warning(
    cache: BaseCache, client_with: Callable[..., Client]
) -> None:
    cache.set("django.contrib.sessions.cache" + "a" * 32, {})
    page = ask(client_with("delete_group"), "delete_group", group="session").content.decode()
    assert "logged out" in page
    assert "a" * 32 not in page


def test_a_problem_of_the_backend_is_shown(
    cache: BaseCache, client_with: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that goes away in the middle: what went before is in the history."""
    real = entries.delete_step

    def failing(*args: object, **options: object) -> entries.EntryTotals:
        done = real(*args, **options)  # type: ignore[arg-type]  # passed on as they came
        return entries.EntryTotals(
            entries=done.entries, bytes=None, problem="The server went away."
        )

    monkeypatch.setattr(entries, "delete_step", failing)
    client = client_with("delete_group")
    page = client.get(post(client, "delete_group")["Location"]).content.decode()
    assert "The server went away." in page
    assert LogEntry.objects.get().change_message.startswith("5 entries")


def test_a_file_whose_key_nobody_recorded_is_found_and_deleted(
    client_with: Callable[..., Client],
) -> None:
    """A file's name is a digest: no list of the cache could name it."""
    files = caches["files"]
    files.clear()
    with muted():
        files.set("unheard:of", "x")
    client = client_with("delete_entry")
    target = {"alias": "files", "key": "unheard:of"}
    page = ask(client, "delete_entry", **target).content.decode()
    assert "<dd>1</dd>" in page
    post(client, "delete_entry", **target)
    assert files.get("unheard:of") is None
    assert LogEntry.objects.get().change_message.startswith("1 entry")


@override_settings(CACHE_MONITOR={"KEY_SANITIZER": "tests.dashboard.test_entry.without_numbers"})
def test_a_name_that_several_entries_have_deletes_none(
    cache: BaseCache, client_with: Callable[..., Client]
) -> None:
    client = client_with("delete_entry")
    page = ask(client, "delete_entry", key="user:N:profile").content.decode()
    assert "Several entries are shown under this name" in page
    post(client, "delete_entry", key="user:N:profile")
    assert left_in(cache) == len(PRESENT)


def test_a_session_key_that_a_deletion_stopped_at_is_not_in_its_form(
    client_with: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table of a DatabaseCache is gone on with behind a stored key, and a session's logs in."""
    monkeypatch.setattr(deleting, "STEP_LIMIT", 1)
    call_command("createcachetable", verbosity=0)
    table = caches["database"]
    keys = [f"django.contrib.sessions.cache{letter * 32}" for letter in "abc"]
    table.set_many(dict.fromkeys([*keys, "kept"], 1))
    client = client_with("delete_group")
    response = post(client, "delete_group", alias="database", group="session")
    stops = 0
    while response.status_code == 200:
        stops += 1
        progress = response.context["progress"]  # type: ignore[attr-defined]  # the test client's
        assert "sessions.cache" not in f"{progress} {response.content.decode()}"
        more = {"alias": "database", "group": "session", "progress": progress}
        response = post(client, "delete_group", **more)
    assert stops > 1
    assert set(table.get_many([*keys, "kept"])) == {"kept"}
    assert not client.session[deleting.DELETIONS]
