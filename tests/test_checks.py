from typing import Any

import pytest
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
