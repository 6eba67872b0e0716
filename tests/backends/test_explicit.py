"""``MonitoredCache`` asks for monitoring in ``CACHES``, for one alias."""

from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import InvalidCacheBackendError
from django.core.cache.backends.locmem import LocMemCache
from django.test import override_settings

from cache_monitor.backends import MonitoredCache
from tests.backends.conftest import Heard
from tests.backends.making import is_recorded

PATH = "cache_monitor.backends.MonitoredCache"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"


def _caches(**entry: Any) -> dict[str, dict[str, Any]]:
    return {
        "default": {"BACKEND": LOCMEM, "LOCATION": "bare"},
        "watched": {"BACKEND": PATH, "LOCATION": "watched", **entry},
    }


@pytest.mark.parametrize("instrument", ["all", "explicit"])
def test_the_wrapped_backend_is_recorded_under_its_alias(instrument: str, heard: Heard) -> None:
    with override_settings(CACHES=_caches(WRAPS=LOCMEM), CACHE_MONITOR={"INSTRUMENT": instrument}):
        watched = caches["watched"]
        watched.set("a", 1, version=2)
        assert watched.get("a", version=2) == 1
        assert isinstance(watched, LocMemCache)
        assert [call.source.alias for call in heard] == ["watched", "watched"]


def test_all_else_goes_to_the_real_backend() -> None:
    entry = {"WRAPS": LOCMEM, "TIMEOUT": 5, "KEY_PREFIX": "p", "OPTIONS": {"MAX_ENTRIES": 7}}
    with override_settings(CACHES=_caches(**entry)):
        watched: Any = caches["watched"]
        assert (watched.default_timeout, watched.key_prefix, watched._max_entries) == (5, "p", 7)


@override_settings(CACHES=_caches(WRAPS=LOCMEM), CACHE_MONITOR={"ENABLED": False})
def test_switched_off_it_is_the_real_backend() -> None:
    assert type(caches["watched"]) is LocMemCache


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "must be the dotted path"),
        ({"WRAPS": 5}, "must be the dotted path"),
        ({"WRAPS": "no.such.Backend"}, "cannot be imported"),
        ({"WRAPS": PATH}, "names MonitoredCache itself"),
        ({"WRAPS": "pathlib.Path"}, "is no cache backend"),
    ],
)
def test_a_wraps_that_cannot_be_used_says_so(entry: dict[str, Any], message: str) -> None:
    with (
        override_settings(CACHES=_caches(**entry)),
        pytest.raises(InvalidCacheBackendError, match=message) as raised,
    ):
        _ = caches["watched"]
    assert "CACHES['watched']" in str(raised.value)
    assert "Write" in str(raised.value)


@override_settings(CACHES=_caches(WRAPS=LOCMEM))
def test_made_by_hand_it_finds_its_alias_in_the_settings(heard: Heard) -> None:
    made: Any = MonitoredCache("watched", {"WRAPS": LOCMEM})
    made.get("a")
    assert is_recorded(made)
    assert heard[0].source.alias == "watched"
