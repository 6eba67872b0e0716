from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings

from cache_monitor import checks
from cache_monitor.checks import check_deployment, check_servers

DUMMY = "django.core.cache.backends.dummy.DummyCache"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
FILES = "django.core.cache.backends.filebased.FileBasedCache"
MONITORED = "cache_monitor.backends.MonitoredCache"


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({"BACKEND": DUMMY}, "cache_monitor.W005"),
        ({"BACKEND": LOCMEM}, "cache_monitor.W006"),
        ({"BACKEND": MONITORED, "WRAPS": LOCMEM}, "cache_monitor.W006"),
        ({"BACKEND": FILES, "TIMEOUT": None}, "cache_monitor.W007"),
    ],
)
def test_a_mistake_of_the_settings_is_named_with_its_alias(entry: Any, found: str) -> None:
    with override_settings(CACHES={"products": entry}, DEBUG=False):
        [message] = check_deployment(None)
    assert message.id == found
    assert "CACHES['products']" in message.msg
    assert message.hint


@pytest.mark.parametrize("entry", [{}, {"TIMEOUT": 60}])
def test_a_cache_that_processes_share_is_in_order(entry: Any) -> None:
    with override_settings(CACHES={"default": {"BACKEND": FILES, **entry}}, DEBUG=False):
        assert check_deployment(None) == []


@pytest.mark.parametrize("backend", [DUMMY, LOCMEM])
def test_what_serves_development_is_in_order_where_debug_is_on(backend: str) -> None:
    with override_settings(CACHES={"default": {"BACKEND": backend}}, DEBUG=True):
        assert check_deployment(None) == []


@override_settings(CACHES={"default": {"BACKEND": LOCMEM}}, DEBUG=False)
def test_only_the_checks_for_a_deployment_say_so() -> None:
    call_command("check", "--fail-level", "WARNING", tags=["cache_monitor"])
    with pytest.raises(SystemCheckError, match=r"cache_monitor\.W006"):
        call_command("check", "--deploy", "--fail-level", "WARNING", tags=["cache_monitor"])


def test_a_server_that_may_lose_the_last_calls_is_named_where_it_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    [message] = check_servers(None)  # the tests have it
    assert message.id == "cache_monitor.I004"
    assert "KillSignal=SIGINT" in str(message.hint)
    with override_settings(CACHE_MONITOR={"ENABLED": False}):
        assert check_servers(None) == []
    monkeypatch.setattr(checks, "find_spec", lambda _: None)
    assert check_servers(None) == []
