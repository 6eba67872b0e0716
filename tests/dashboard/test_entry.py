"""The page of one key."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.test import Client, override_settings
from django.urls import reverse
from msgspec.structs import replace

import cache_monitor
from cache_monitor.calls import recorder
from cache_monitor.dashboard import entry
from cache_monitor.dashboard.entry import find_shown
from cache_monitor.keys.naming import name_key
from cache_monitor.worker.wiring import background_worker
from tests.anew import begin_anew
from tests.dashboard.conftest import ShowReport
from tests.dashboard.reports import busy_cache, quiet_cache, report_of
from tests.reports.test_traced import visit

KEY = "user:1:profile"
SECRET = "the-value-itself"
SESSION_KEY = "k7fz0q2m9x4b1v8c3n6d5g2hk7fz0q2m"


@pytest.fixture
def cache(show_report: ShowReport) -> BaseCache:
    show_report(report_of(default=busy_cache(KEY), files=quiet_cache()))
    cache = caches["default"]
    cache.clear()
    cache.set(KEY, SECRET, timeout=650)
    return cache


@pytest.fixture
def reader(make_user: Callable[..., User]) -> Client:
    """A client that may see values."""
    user = make_user("reader")
    user.user_permissions.add(Permission.objects.get(codename="view_value"))
    client = Client()
    client.force_login(user)
    return client


def page_of(client: Client, **query: str) -> str:
    response = client.get(reverse("admin:cache_monitor_entry", query=query))
    assert response.status_code == 200
    text: str = response.content.decode()
    return text


def test_it_tells_what_was_asked_and_what_is_stored(viewer: Client, cache: BaseCache) -> None:
    page = page_of(viewer, alias="default", key=KEY)
    for text in ("900", "890", "7 never set, 3 expired", "17.8", "Expires in", "10\u202fmin"):
        assert text in page, text
    assert f'aria-current="page">{KEY}' in page


def test_a_key_that_is_not_there_says_so(viewer: Client, cache: BaseCache) -> None:
    page = page_of(viewer, alias="default", key="nothing")
    assert "There is no such entry now" in page
    assert "not among the busiest" in page


def test_the_value_needs_its_permission_and_a_click(
    viewer: Client, reader: Client, cache: BaseCache
) -> None:
    assert SECRET not in page_of(viewer, alias="default", key=KEY, value="1")
    assert "Show the value" not in page_of(viewer, alias="default", key=KEY)
    asked = page_of(reader, alias="default", key=KEY)
    assert SECRET not in asked
    assert "Show the value" in asked
    assert SECRET in page_of(reader, alias="default", key=KEY, value="1")


def test_a_value_with_markup_is_escaped(reader: Client, cache: BaseCache) -> None:
    cache.set(KEY, "<script>alert(1)</script>\u202e")
    page = page_of(reader, alias="default", key=KEY, value="1")
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert "\u202e" not in page


def test_a_session_shows_neither_its_key_nor_its_value(reader: Client, cache: BaseCache) -> None:
    key = "django.contrib.sessions.cache" + "b" * 32
    cache.set(key, {"_auth_user_id": "4711"})
    page = page_of(reader, alias="default", key=key, value="1")
    content = page.partition("<div data-cm-fragment>")[2]
    assert "4711" not in page
    assert "b" * 32 not in content
    assert "Show the value" not in page


def test_a_key_with_a_credential_is_reached_as_it_is_shown(
    make_user: Callable[..., User], cache: BaseCache
) -> None:
    key = f"cart:{SESSION_KEY}"
    cache.set(key, "three of them")
    user = make_user("both")
    user.user_permissions.add(
        *Permission.objects.filter(codename__in=["view_value", "delete_entry"])
    )
    client = Client()
    client.force_login(user)
    asked = {"alias": "default", "key": name_key(key).shown}
    told = page_of(client, **asked, value="1")
    assert "three of them" in told
    url = reverse("admin:cache_monitor_delete_entry")
    told += client.get(url, asked).content.decode()
    done = client.post(url, asked)
    told += done["Location"] + client.get(done["Location"]).content.decode()
    told += "".join(each.change_message + each.object_repr for each in LogEntry.objects.all())
    assert "1 entry" in told
    assert SESSION_KEY not in told
    assert cache.get(key) is None


@pytest.mark.parametrize("page", ["entry", "delete_entry"])
def test_no_address_has_a_credential_in_it(
    admin_client: Client, cache: BaseCache, page: str
) -> None:
    key = f"cart:{SESSION_KEY}"
    cache.set(key, "three of them")
    query = {"alias": "default", "key": key}
    response = admin_client.get(reverse(f"admin:cache_monitor_{page}", query=query))
    assert response.status_code == 400
    assert name_key(key).shown in response.content.decode()
    assert "three of them" not in response.content.decode()


@pytest.mark.filterwarnings("ignore:Cache key:django.core.cache.CacheKeyWarning")
def test_a_key_that_is_shown_in_another_form_is_found(cache: BaseCache) -> None:
    key = "line\nbreak:" + "x" * 400
    cache.set(key, 1)
    answer = find_shown("default", name_key(key).shown)
    assert answer.exists
    assert answer.entry is not None
    assert answer.entry.key == key


@override_settings(CACHE_MONITOR={"KEY_SANITIZER": "tests.dashboard.test_entry.without_numbers"})
def test_a_name_that_several_entries_have_stands_for_none(reader: Client, cache: BaseCache) -> None:
    cache.set("user:2:profile", "another")
    page = page_of(reader, alias="default", key="user:N:profile", value="1")
    assert "Several entries are shown under this name" in page
    assert SECRET not in page
    cache.delete("user:2:profile")
    assert SECRET in page_of(reader, alias="default", key="user:N:profile", value="1")


@pytest.mark.filterwarnings("ignore:Cache key:django.core.cache.CacheKeyWarning")
@pytest.mark.parametrize("key", ["line\nbreak", "zero\u200bwidth", "x" * 400])
def test_a_key_that_is_written_as_another_one_is_shown_stands_for_neither(
    reader: Client, cache: BaseCache, key: str
) -> None:
    """Whoever deletes one of them would delete the other."""
    shown = name_key(key).shown
    cache.set_many({key: "the one", shown: "the other"})
    assert find_shown("default", shown).exists is None
    assert "Several entries are shown under this name" in page_of(
        reader, alias="default", key=shown
    )
    cache.delete(key)
    answer = find_shown("default", shown)
    assert answer.entry is not None
    assert answer.entry.key == shown


def without_numbers(key: str) -> str:
    return re.sub("[0-9]+", "N", key)


def test_looking_is_not_recorded_and_does_not_refresh_itself(
    reader: Client, cache: BaseCache
) -> None:
    background_worker.drain()
    recorder.buffer.clear()
    page = page_of(reader, alias="default", key=KEY, value="1")
    assert 'data-refresh-seconds="0"' in page
    assert [call for call in recorder.buffer if call[0].alias == "default"] == []


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"key": "k"}, "alias"),
        ({"alias": "default"}, "key"),
        ({"alias": "default", "key": "k", "value": "yes"}, "value"),
    ],
)
def test_it_needs_a_cache_and_a_key(
    viewer: Client, cache: BaseCache, query: dict[str, str], parameter: str
) -> None:
    response = viewer.get(reverse("admin:cache_monitor_entry", query=query))
    assert response.status_code == 400
    assert f"<code>{parameter}</code>" in response.content.decode()


def test_only_who_may_delete_it_sees_how(
    viewer: Client, make_user: Callable[..., User], cache: BaseCache
) -> None:
    user = make_user("deleter")
    user.user_permissions.add(Permission.objects.get(codename="delete_entry"))
    deleter = Client()
    deleter.force_login(user)
    url = reverse("admin:cache_monitor_delete_entry")
    assert url not in page_of(viewer, alias="default", key=KEY)
    assert url in page_of(deleter, alias="default", key=KEY)


PAGE_KEY = f"views.decorators.cache.cache_page.shop.GET.{'a1' * 16}.{'b2' * 16}.en-us.UTC"


@pytest.mark.parametrize(
    ("name", "is_there"),
    [
        ("page shop GET /articles/<int:pk>/ #a1a1a1a1-b2b2b2b2 en-us.UTC", True),
        ("page shop GET /articles/<int:pk>/ #a1a1a1a1-c3c3c3c3 en-us.UTC", False),
        ("page other GET /articles/<int:pk>/ #a1a1a1a1-b2b2b2b2 en-us.UTC", False),
        ("page headers shop /articles/<int:pk>/ #a1a1a1a1 en-us.UTC", False),
    ],
)
def test_a_page_is_found_by_the_name_that_another_process_shows_it_by(
    cache: BaseCache, name: str, is_there: bool
) -> None:
    cache.set(PAGE_KEY, "the page")
    answer = find_shown("default", name)
    assert answer.exists is is_there
    if answer.entry is not None:
        assert answer.entry.key == PAGE_KEY


def test_what_was_not_looked_for_everywhere_is_not_said_to_be_gone(
    cache: BaseCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.set_many(dict.fromkeys([f"key:{n}" for n in range(500)], 1))
    monkeypatch.setattr(entry, "SEARCH_LIMIT", 1)
    answer = find_shown("default", "shown in another form")
    assert answer.exists is None
    assert answer.problem


@override_settings(CACHE_MONITOR={"KEY_SANITIZER": "tests.dashboard.test_entry.without_numbers"})
def test_what_the_sanitizer_takes_out_is_nowhere(
    make_user: Callable[..., User], cache: BaseCache
) -> None:
    cache.set("customer:471147:orders", "v")
    user = make_user("both")
    user.user_permissions.add(
        *Permission.objects.filter(codename__in=["view_value", "delete_entry"])
    )
    client = Client()
    client.force_login(user)
    asked = {"alias": "default", "key": "customer:N:orders"}
    told = page_of(client, **asked, value="1")
    assert "There is no such entry" not in told
    url = reverse("admin:cache_monitor_delete_entry")
    told += client.get(url, asked).content.decode()
    done = client.post(url, asked)
    told += done["Location"] + client.get(done["Location"]).content.decode()
    told += "".join(each.change_message + each.object_repr for each in LogEntry.objects.all())
    assert "1 entry" in told
    assert "471147" not in told
    assert cache.get("customer:471147:orders") is None


@override_settings(CACHE_MONITOR={"KEY_SANITIZER": "tests.dashboard.test_entry.in_other_words"})
def test_a_key_that_is_gone_goes_by_the_name_that_it_was_counted_by(
    viewer: Client, show_report: ShowReport
) -> None:
    name = in_other_words("user:1")
    show_report(report_of(default=busy_cache(name)))
    page = page_of(viewer, alias="default", key=name)
    assert f"<bdi>{name}</bdi>" in page
    assert in_other_words(name) not in page


def in_other_words(key: str) -> str:
    return f"<{key}>".encode().hex()


@override_settings(
    CACHE_MONITOR={"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}},
)
def test_any_key_shows_what_happened_to_it(viewer: Client, show_report: ShowReport) -> None:
    """Not the busiest alone, which are counted one by one."""
    show_report(report_of(default=busy_cache(KEY)))
    begin_anew()
    cache = caches["default"]
    visit("shop:product", lambda: cache.set("seldom:1", "x", timeout=300))
    cache.get("seldom:1")
    cache.delete("seldom:1")
    cache.get("seldom:1")
    cache_monitor.flush()
    told = page_of(viewer, alias="default", key="seldom:1")
    begin_anew()
    assert "not among the busiest" in told
    line = r"<td>([^<]*)</td><td>([^<]*)</td><td[^>]*><code>(\w{8})</code></td><td>([^<]*)</td>"
    lines = re.findall(line, told)
    assert [(what, note, view) for what, note, _, view in lines] == [
        ("miss", "deleted", ""),
        ("deleted", "", ""),
        ("hit", "", ""),
        ("written", "for 5\u202fmin", "shop:product"),
    ]
    assert f"shop:product · {lines[0][2]}" in told
    assert "1 deleted" in told


def test_a_key_of_which_nothing_is_known_says_so(viewer: Client, cache: BaseCache) -> None:
    told = page_of(viewer, alias="default", key="nothing:at:all")
    assert "Nothing is known to have happened to it" in told


def test_a_cached_page_has_the_misses_of_the_list_of_its_headers(
    viewer: Client, show_report: ShowReport
) -> None:
    page, headers = "page GET /a/ #0a0a0a0a en.UTC", "page headers /a/ #0a0a0a0a en.UTC"
    cache = busy_cache(page)
    hot = cache.hot_keys[0]
    keys = [
        replace(hot, key=page, lookups=8, hits=8, misses=0),
        replace(hot, key=headers, lookups=11, hits=8, misses=3),
    ]
    show_report(report_of(default=replace(cache, hot_keys=keys)))
    asked = page_of(viewer, alias="default", key=page).partition("Asked in this period")[2]
    figures = re.findall(r"<dd[^>]*>\s*([^<\s]+)", asked)
    assert figures[:3] == ["11", "8", "3"]
