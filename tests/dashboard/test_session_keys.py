"""A session key in a key of the project's own is seen nowhere: no clerk becomes the superuser."""

import logging

import pytest
from django.contrib.auth.models import User
from django.core.cache import caches
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

import cache_monitor
from cache_monitor.dashboard.views import PAGES
from cache_monitor.keys.naming import name_key
from cache_monitor.stores.base import Kind, get_store


@pytest.mark.django_db(transaction=True)
def test_a_session_key_in_a_cart_is_seen_nowhere(
    viewer: Client,
    admin_user: User,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    owner = Client()
    owner.force_login(admin_user)
    session_key = owner.session.session_key
    assert session_key is not None
    cache = caches["default"]
    cache.clear()
    with caplog.at_level(logging.DEBUG, logger="cache_monitor.calls"):
        for _ in range(30):
            cache.get_or_set(f"cart:{session_key}", "x" * 2_000_000, timeout=None)
        cache_monitor.flush()
    call_command("cache_scan", "--alias", "default")
    call_command("cache_stats", "--format", "json")
    call_command("cache_stats")
    told = caplog.text + repr([vars(each) for each in caplog.records]) + capsys.readouterr().out
    for page in PAGES:
        if page not in {"entry", "views"}:
            url = reverse(f"admin:cache_monitor_{page}")
            for query in ("", "?alias=default", "?alias=default&group=cart:{token}"):
                told += viewer.get(url + query).content.decode()
    for name, table in (("keys", "hot_keys"), ("findings", "findings")):
        for form in ("csv", "json"):
            wanted = {"table": table, "format": form}
            url = reverse(f"admin:cache_monitor_{name}", query=wanted)
            told += viewer.get(url).content.decode()
    told += viewer.get(reverse("admin:cache_monitor_stats_json")).content.decode()
    kinds: tuple[Kind, ...] = ("window", "details", "scan", "finding")
    stored = b"".join(
        row.payload for kind in kinds for row in get_store().read(kind, 0, 2**40, None)
    )
    assert name_key(f"cart:{session_key}").shown in told
    assert session_key not in told
    assert b"cart:" in stored
    assert session_key.encode() not in stored
