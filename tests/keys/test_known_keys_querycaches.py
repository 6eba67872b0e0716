"""The hashed keys of cachalot and cacheops."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from unittest import mock

import pytest
from django.apps import apps
from django.core.cache.backends.dummy import DummyCache
from django.core.signals import setting_changed
from django.test import override_settings

from cache_monitor.calls import Call
from cache_monitor.calls import Source as CallSource
from cache_monitor.keys.known_keys import query_cache_group
from cache_monitor.keys.naming import name_key
from cache_monitor.listeners import Capture
from cache_monitor.scan.backends import EmptyScanner
from cache_monitor.scan.base import Entry, ScanLimits
from cache_monitor.scan.entries import live_entry
from cache_monitor.scan.snapshot import ScanTotals
from tests import forked
from tests.services import Server

SHA1 = hashlib.sha1(b"", usedforsecurity=False).hexdigest()
MD5 = hashlib.md5(b"", usedforsecurity=False).hexdigest()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let Django say that the named apps are installed."""

    def install(*names: str) -> None:
        monkeypatch.setattr(apps, "is_installed", lambda name: name in names)
        _forget_installed()

    yield install
    _forget_installed()


def _forget_installed() -> None:
    setting_changed.send(None, setting="CACHALOT_CACHE", value="default", enter=True)


def test_without_those_apps_a_hash_is_a_hash() -> None:
    assert name_key(SHA1).group == "{hash}"
    assert name_key(f"q:{MD5}").group == "q:{hash}"


@override_settings(CACHALOT_CACHE="queries")
def test_cachalots_keys_are_the_bare_hashes_of_its_cache(installed: Any) -> None:
    installed("cachalot")
    assert name_key(SHA1, "queries").group == "cachalot {hash}"
    assert name_key(SHA1).group == "cachalot {hash}"
    assert name_key(SHA1, "default").group == "{hash}"
    assert name_key(f"etag:{SHA1}", "queries").group == "etag:{hash}"
    assert name_key(MD5, "queries").group == "{hash}"
    assert name_key(SHA1.upper(), "queries").group == "{hash}"


def test_cacheops_keys_are_hashes_with_its_letters(installed: Any) -> None:
    installed("cacheops")
    assert {name_key(f"{what}:{MD5}").group for what in ("q", "c", "as")} == {"cacheops {hash}"}
    assert name_key(f"x:{MD5}").group == "x:{hash}"
    assert name_key(SHA1).group == "{hash}"


def test_a_group_of_the_projects_own_comes_first(installed: Any) -> None:
    installed("cachalot")
    with override_settings(CACHE_MONITOR={"KEY_GROUPS": {"^[0-9a-f]{40}$": "queries"}}):
        assert name_key(SHA1).group == "queries"


def test_before_the_apps_are_there_nothing_is_known(installed: Any) -> None:
    installed("cachalot")
    with mock.patch.object(apps, "ready", False):
        assert query_cache_group(SHA1, None) is None


CACHALOT_SITE = """
import json
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="x",
    INSTALLED_APPS=["django.contrib.contenttypes", "cachalot", "cache_monitor"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    CACHES={
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "queries": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "q"},
    },
    CACHALOT_CACHE="queries",
    CACHALOT_DATABASES=["default"],
    CACHE_MONITOR={"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}},
    SILENCED_SYSTEM_CHECKS=["cachalot.W001"],
)
django.setup()
from django.contrib.contenttypes.models import ContentType
from django.core.checks import run_checks
from django.core.management import call_command
import cache_monitor

call_command("migrate", verbosity=0)
for n in range(3):
    list(ContentType.objects.filter(pk=n))
    list(ContentType.objects.filter(pk=n))
ContentType.objects.create(app_label="a", model="b")
cache_monitor.flush()
groups = cache_monitor.report().caches["queries"].key_groups
print(json.dumps({
    group.group: [group.lookups, group.distinct_keys, group.produced, group.seconds_saved]
    for group in groups
}))
"""


def test_the_real_cachalots_queries_and_tables_are_told_apart() -> None:
    pytest.importorskip("cachalot", reason="django-cachalot is not installed")
    groups = json.loads(forked.printed(["-c", CACHALOT_SITE]))
    lookups, keys, produced, saved = groups.pop("cachalot {hash}")
    # Each of the queries was asked for twice, and made once.
    assert lookups >= 6
    assert (keys, produced) == (lookups - 3, lookups - 3)
    assert saved is not None
    lookups, _, produced, saved = groups.pop("cachalot table {hash}")
    assert lookups > 0
    assert (produced, saved) == (0, 0.0)
    assert not groups


CACHEOPS_SITE = """
import json
import sys
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="x",
    INSTALLED_APPS=["django.contrib.contenttypes", "cacheops", "cache_monitor"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
    CACHEOPS_REDIS=sys.argv[1],
    CACHEOPS={"contenttypes.*": {"ops": "all", "timeout": 60}},
    CACHE_MONITOR={"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}},
)
django.setup()
from cacheops import cached, cached_as
from cacheops.redis import redis_client
from django.contrib.contenttypes.models import ContentType
from django.core.checks import run_checks
from django.core.management import call_command
import cache_monitor
from cache_monitor.keys.naming import name_key

redis_client.flushdb()
call_command("migrate", verbosity=0)
for n in range(3):
    list(ContentType.objects.filter(pk=n))
    cached(timeout=60)(lambda: n)()
    cached_as(ContentType, timeout=60)(lambda: n)()
cache_monitor.flush()
values = [key.decode() for key in redis_client.scan_iter() if redis_client.type(key) == b"string"]
print(json.dumps({
    "keys": len(values),
    "groups": sorted({name_key(key).group for key in values}),
    "lookups": cache_monitor.report().caches["default"].lookups,
    "not_recorded": cache_monitor.report().quality.not_recorded,
    "checks": [each.id for each in run_checks() if "cacheops" in each.msg],
}))
"""


def test_the_real_cacheops_keys_fall_into_one_group_and_pass_django_by(
    redis_server: Server,
) -> None:
    pytest.importorskip("cacheops", reason="django-cacheops is not installed")
    said = json.loads(forked.printed(["-c", CACHEOPS_SITE, f"{redis_server.url}/11"]))
    assert said["keys"] > 4
    assert said["groups"] == ["cacheops {hash}"]
    assert said["lookups"] == 0
    # Which the dashboard, the export and manage.py check say.
    assert said["not_recorded"] == ["cacheops"]
    assert len(said["checks"]) == 1


@override_settings(CACHALOT_CACHE="queries")
def test_a_look_and_a_capture_ask_for_the_cache_of_a_key_too(installed: Any) -> None:
    installed("cachalot")
    groups = []
    for alias in ("queries", "default"):
        tally = ScanTotals(ScanLimits(alias, 10, 0.0, 60), set())
        tally.add(Entry(SHA1, 7))
        groups.append(tally.snapshot("shared", 1, exact=True).groups[0].group)
        live = live_entry(alias, Entry(SHA1, 7), EmptyScanner(DummyCache("", {})), 60)
        groups.append(live.group)
        capture = Capture()
        capture.on_call(Call(CallSource(alias, "get"), 1.0, 0.1, SHA1, True))
        groups += capture.calls()[0].groups
    assert groups == ["cachalot {hash}"] * 3 + ["{hash}"] * 3
