from typing import Any

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.test import override_settings

PATH = "cache_monitor.backends.MonitoredCache"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"


def _found() -> list[tuple[str | None, str, str | None]]:
    return [
        (message.id, message.msg, message.hint) for message in run_checks(tags=["cache_monitor"])
    ]


def test_sound_settings_have_no_findings() -> None:
    assert _found() == []


@pytest.mark.parametrize(
    ("setting", "code", "says"),
    [
        ({"COLOUR": "red"}, "E001", "'COLOUR'"),
        ({"FLUSH_INTERVAL": "often"}, "E001", "'often'"),
        ({"STORE": {"BACKEND": "no.such.Store"}}, "E002", "cannot be imported"),
        (
            {
                "STORE": {
                    "BACKEND": "cache_monitor.stores.memory.MemoryStore",
                    "OPTIONS": {"SIZE": 5},
                }
            },
            "E002",
            "do not fit",
        ),
        ({"STORE": {"OPTIONS": {"DATABASE": "statistics"}}}, "E002", "no such alias"),
        ({"STORE": {"OPTIONS": {"DATABASE": ["default"]}}}, "E002", "no such alias"),
        ({"KEY_GROUPS": 200}, "E001", "not a dict"),
        ({"KEY_GROUPS": {"(": "x"}}, "E001", "no regular expression"),
        ({"KEY_GROUPS": {"(a{99}){99}": "x"}}, "E001", "too large"),
        ({"KEY_GROUPS": {"a": 5}}, "E001", "names the group of 'a' 5"),
        ({"KEY_SANITIZER": "no.such.function"}, "E006", "cannot be imported"),
        ({"KEY_SANITIZER": f"{__name__}.PATH"}, "E006", "is no function"),
        ({"KEY_SANITIZER": len}, "E001", "['KEY_SANITIZER'] is <built-in function len>"),
        ({"KEY_SANITIZER": "sanitize"}, "E001", "['KEY_SANITIZER'] is 'sanitize'"),
    ],
)
def test_a_bad_setting_fails_the_check(setting: dict[str, Any], code: str, says: str) -> None:
    with override_settings(CACHE_MONITOR=setting):
        [(found, message, hint)] = _found()
        assert found == f"cache_monitor.{code}"
        assert says in message
        assert hint is not None
        assert "Write" in hint or "write" in hint
        with pytest.raises(CommandError, match="cache_monitor"):
            call_command("check")


@pytest.mark.parametrize(
    ("entry", "code", "says"),
    [
        ({"BACKEND": PATH}, "E003", "WRAPS must be the dotted path"),
        ({"BACKEND": PATH, "WRAPS": PATH}, "E003", "names MonitoredCache itself"),
        ({"BACKEND": PATH, "WRAPS": "no.such.Cache"}, "E003", "cannot be imported"),
        ({"BACKEND": "no.such.Cache"}, "E004", "cannot be imported"),
        ({}, "E004", "not a dotted path"),
    ],
)
def test_a_bad_cache_fails_the_check(entry: dict[str, Any], code: str, says: str) -> None:
    with override_settings(CACHES={"default": {"BACKEND": LOCMEM}, "bad": entry}):
        [(found, message, hint)] = _found()
        assert found == f"cache_monitor.{code}"
        assert "CACHES['bad']" in message
        assert says in message
        assert hint


class NoCache:
    """Something that Django takes for a backend all the same."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        """As Django makes a backend."""

    def get(self, key: str) -> None:
        """The one method that it has."""

    def close(self) -> None:
        """Django calls it at the end of each request."""


def test_a_backend_that_cannot_be_recorded_is_told() -> None:
    entry = {"BACKEND": f"{__name__}.{NoCache.__qualname__}"}
    with override_settings(CACHES={"default": {"BACKEND": LOCMEM}, "odd": entry}):
        [(found, message, hint)] = _found()
    assert found == "cache_monitor.W009"
    assert "CACHES['odd']" in message
    assert "not recorded" in message
    assert "BaseCache" in str(hint)


@pytest.mark.parametrize("explicit", [False, True])
def test_a_backend_that_cannot_be_looked_into_is_told(explicit: bool) -> None:
    entry = {"BACKEND": "tests.backends.odd.OddCache"}
    if explicit:
        entry = {"BACKEND": PATH, "WRAPS": entry["BACKEND"]}
    with override_settings(CACHES={"default": {"BACKEND": LOCMEM}, "odd": entry}):
        [(found, message, _)] = _found()
    assert found == "cache_monitor.I003"
    assert "CACHES['odd'] cannot be scanned" in message


MIDDLEWARE = "cache_monitor.middleware.CacheMonitorMiddleware"
FETCH = "django.middleware.cache.FetchFromCacheMiddleware"
UPDATE = "django.middleware.cache.UpdateCacheMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
DUMMY = {"default": {"ENGINE": "django.db.backends.dummy"}}
MEMORY = {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}


@pytest.mark.parametrize(
    ("site", "code", "says"),
    [
        ({"CACHE_MONITOR": {"INSTRUMENT": "explicit"}}, "W001", "nothing is monitored"),
        ({"CACHE_MONITOR": {"SCAN_SECONDS": 90}}, "W003", "without a pause"),
        ({"MIDDLEWARE": [UPDATE, FETCH, MIDDLEWARE]}, "W004", f"after {UPDATE}"),
        ({"MIDDLEWARE": [FETCH, UPDATE]}, "W008", f"{FETCH} before {UPDATE}"),
        ({"MIDDLEWARE": [UPDATE]}, "W008", f"{UPDATE} without {FETCH}"),
        ({"MIDDLEWARE": [FETCH]}, "W008", f"{FETCH} without {UPDATE}"),
        ({"MIDDLEWARE": [SESSIONS, UPDATE, FETCH]}, "W008", f"{SESSIONS} outside"),
        ({"MIDDLEWARE": [UPDATE, FETCH, SESSIONS]}, "W008", f"{SESSIONS} outside"),
    ],
)
def test_what_will_hardly_do_what_was_meant_is_a_warning(
    site: dict[str, Any], code: str, says: str
) -> None:
    with override_settings(**site):
        [(found, message, hint)] = _found()
        assert found == f"cache_monitor.{code}"
        assert says in message
        assert hint is not None
        assert "Write" in hint


@pytest.mark.parametrize(
    "site",
    [
        {"CACHE_MONITOR": {"INSTRUMENT": "explicit", "ENABLED": False}},
        {
            "CACHE_MONITOR": {"INSTRUMENT": "explicit"},
            "CACHES": {"default": {"BACKEND": PATH, "WRAPS": LOCMEM}},
        },
        {"MIDDLEWARE": [MIDDLEWARE, UPDATE, FETCH]},
        {"CACHE_MONITOR": {"KEY_SANITIZER": "builtins.ascii", "KEY_GROUPS": {"^a": r"\\"}}},
    ],
)
def test_there_is_no_false_alarm(site: dict[str, Any]) -> None:
    with override_settings(**site):
        assert _found() == []


@pytest.mark.parametrize("databases", [{}, DUMMY])
def test_a_site_without_a_database_is_told_of_other_stores(
    databases: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "DATABASES", databases)
    [(found, _, hint)] = _found()
    assert found == "cache_monitor.W002"
    assert "RedisStore" in str(hint)
    with override_settings(CACHE_MONITOR={"STORE": MEMORY}):
        assert _found() == []


def test_an_app_whose_entries_pass_caches_by_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cache_monitor.checks.bypassing_apps", lambda: ["cacheops"])
    [(code, message, _)] = _found()
    assert code == "cache_monitor.I001"
    assert "cacheops" in message


def test_the_page_cache_around_what_makes_pages_vary_is_sound() -> None:
    with override_settings(MIDDLEWARE=[UPDATE, SESSIONS, FETCH]):
        assert _found() == []


def test_a_project_without_an_admin_is_told_what_it_has_instead() -> None:
    installed = [each for each in settings.INSTALLED_APPS if "admin" not in each]
    with override_settings(INSTALLED_APPS=installed):
        [(code, message, hint)] = _found()
    assert code == "cache_monitor.I002"
    assert "no dashboard" in message
    for instead in ("cache_stats", "cache_top", "cache_monitor.urls", "panel"):
        assert instead in (hint or "")
