"""Why the misses of a request missed, asked afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.test import override_settings

from cache_monitor import api
from cache_monitor.context import start_listening, stop_listening
from cache_monitor.listeners import Capture
from cache_monitor.panel import site
from cache_monitor.panel.request import CallRow, CallRows
from cache_monitor.panel.site import MissesOfRequests, Places
from cache_monitor.stores.base import StoreError
from tests.anew import begin_anew

MEMORY = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}


@pytest.fixture(autouse=True)
def empty_caches() -> Iterator[None]:
    # What other tests have let be dropped, or called by another clock, makes reasons unknown.
    begin_anew()
    for alias in ("default", "files"):
        caches[alias].clear()
    # For the trace of other processes, as those of other tests are, a report would wait.
    with override_settings(CACHE_MONITOR=MEMORY):
        yield
    for alias in ("default", "files"):
        caches[alias].clear()


def heard(work: Callable[[], object]) -> tuple[list[Any], list[CallRow]]:
    capture = Capture()
    start_listening(capture)
    try:
        work()
    finally:
        stop_listening(capture)
    kept = capture.kept()
    return kept, CallRows(0.0, lambda: None).make(kept)


def reasons_of(work: Callable[[], object]) -> Places:
    misses = MissesOfRequests()
    misses.remember("a request", *heard(work))
    return misses.reasons("a request")


@pytest.mark.parametrize("alias", ["default", "files"])
def test_each_miss_has_the_reason_of_what_was_done_before_it(alias: str) -> None:
    chosen = caches[alias]

    def work() -> None:
        chosen.get("reasons:never")
        chosen.set("reasons:deleted", 1)
        chosen.delete("reasons:deleted")
        chosen.get("reasons:deleted")
        chosen.set("reasons:expired", 1, 0.001)
        time.sleep(0.05)
        chosen.get("reasons:expired")
        chosen.set("reasons:version", 1, version=2)
        chosen.get("reasons:version")
        chosen.set("reasons:cleared", 1)
        chosen.clear()
        chosen.get("reasons:cleared")

    assert list(reasons_of(work).values()) == [
        "never_set",
        "deleted",
        "expired",
        "version_changed",
        "cleared",
    ]


def test_each_key_of_a_get_many_has_its_own_reason() -> None:
    def work() -> None:
        cache.set_many({"many:there": 1, "many:deleted": 1})
        cache.delete("many:deleted")
        cache.get_many(["many:there", "many:deleted", "many:never"])

    assert reasons_of(work) == {(2, 1): "deleted", (2, 2): "never_set"}


def test_the_set_that_fills_a_miss_is_no_reason_for_it() -> None:
    def work() -> None:
        cache.get("filled:a")
        cache.set("filled:a", 1)
        cache.get_or_set("filled:b", lambda: 2)

    assert reasons_of(work) == {(0, 0): "never_set", (2, 0): "never_set"}


def test_what_happens_after_the_request_changes_nothing() -> None:
    misses = MissesOfRequests()
    misses.remember("a request", *heard(lambda: cache.get("later:a")))
    cache.set("later:a", 1)
    cache.delete("later:a")
    assert misses.reasons("a request") == {(0, 0): "never_set"}


def test_what_was_said_once_is_said_again_when_it_is_rolled_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    misses = MissesOfRequests()
    misses.remember("a request", *heard(lambda: cache.get("again:a")))
    first = dict(misses.reasons("a request"))
    assert first == {(0, 0): "never_set"}
    monkeypatch.setattr(api, "_newest_misses", dict)
    assert misses.reasons("a request") == first


def test_another_process_knows_no_reasons() -> None:
    assert MissesOfRequests().reasons("a request") == {}


def test_without_a_store_no_reason_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise StoreError("It is away.")

    misses = MissesOfRequests()
    misses.remember("a request", *heard(lambda: cache.get("busy:a")))
    with monkeypatch.context() as patch:
        patch.setattr(api, "get_store", refuse)
        assert misses.reasons("a request") == {(0, 0): "unknown"}
    assert misses.reasons("a request") == {(0, 0): "never_set"}


def test_a_sessions_key_is_not_remembered() -> None:
    key = "django.contrib.sessions.cache0123456789abcdef"
    misses = MissesOfRequests()
    misses.remember("a request", *heard(lambda: cache.get(key)))
    assert misses.reasons("a request") == {}
    assert not misses._requests


@override_settings(CACHE_MONITOR={"KEY_SANITIZER": "builtins.str.upper"})
def test_the_keys_of_a_project_that_sanitizes_them_are_not_remembered() -> None:
    misses = MissesOfRequests()
    misses.remember("a request", *heard(lambda: cache.get("mail:somebody@example.com")))
    assert not misses._requests


def test_the_misses_of_old_requests_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "MOST_MISSES", 10)
    misses = MissesOfRequests()
    for number in range(5):
        misses.remember(
            str(number), *heard(lambda: cache.get_many([f"room:{each}" for each in range(4)]))
        )
    assert list(misses._requests) == ["3", "4"]
    assert misses._misses == 8
