"""One record a call, where it is wanted."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches

import cache_monitor
from cache_monitor.apps import start_exporters
from cache_monitor.calls import Call, Source
from cache_monitor.exporters import call_log
from cache_monitor.exporters.call_log import CallLog
from cache_monitor.stores.base import Store
from cache_monitor.worker import wiring

GET, GET_MANY = Source("default", "get"), Source("default", "get_many")


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """What the logger writes, enabled for DEBUG."""
    kept: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(record)

    handler = Keep()
    call_log.logger.addHandler(handler)
    call_log.logger.setLevel(logging.DEBUG)
    yield kept
    call_log.logger.setLevel(logging.NOTSET)
    call_log.logger.removeHandler(handler)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {
        name.removeprefix("cache_"): value
        for name, value in vars(record).items()
        if name.startswith("cache_")
    }


def test_nobody_is_asked_for_calls_unless_the_logger_is_enabled() -> None:
    assert not call_log.is_enabled()


def test_a_hit_is_logged_at_once_with_all_its_fields(records: list[logging.LogRecord]) -> None:
    assert call_log.is_enabled()
    CallLog().on_calls([Call(GET, 5.0, 0.00125, "user:1", True, 100)], 1000.0)
    [record] = records
    assert record.getMessage() == "default.get('user:1') hit 1.250 ms"
    assert record.levelno == logging.DEBUG
    assert record.created == pytest.approx(1005.00125)
    assert _extra(record) == {
        "alias": "default",
        "operation": "get",
        "keys": ["user:1"],
        "outcome": "hit",
        "ms": 1.25,
        "bytes": 100,
        "error": None,
    }


def test_a_lookup_of_several_keys_says_what_came_of_them(
    records: list[logging.LogRecord],
) -> None:
    CallLog().on_calls([Call(GET_MANY, 5.0, 0.25, ("a", "b"), (True, False))], 1000.0)
    CallLog().on_calls([Call(GET, 5.0, 0.25, "user:1", False)], 1000.0)
    assert [_extra(record)["outcome"] for record in records] == ["partial", "miss"]
    assert records[1].getMessage() == "default.get('user:1') miss 250.000 ms"


def test_errors_and_other_operations_say_what_came_of_them(
    records: list[logging.LogRecord],
) -> None:
    log = CallLog()
    failed = Call(Source("default", "incr"), 5.0, 0.001, "a", error="ValueError")
    stored = Call(Source("default", "set"), 5.0, 0.001, "a")
    cleared = Call(Source("default", "clear"), 5.0, 0.001)
    log.on_calls([failed, stored, cleared], 0.0)
    assert [record.getMessage() for record in records] == [
        "default.incr('a') ValueError 1.000 ms",
        "default.set('a') done 1.000 ms",
        "default.clear() done 1.000 ms",
    ]


def test_a_session_key_is_masked(records: list[logging.LogRecord]) -> None:
    secret = "django.contrib.sessions.cache" + "k3y0" * 8
    CallLog().on_calls([Call(GET, 5.0, 0.1, secret, True)], 0.0)
    assert "k3y0k3y0" not in records[0].getMessage() + str(_extra(records[0]))


def test_the_names_of_many_keys_do_not_fill_the_message(
    records: list[logging.LogRecord],
) -> None:
    keys = tuple(f"key:{number}" for number in range(1000))
    CallLog().on_calls([Call(GET_MANY, 5.0, 0.1, keys, (True,) * 1000)], 0.0)
    assert len(records[0].getMessage()) < 400
    assert len(_extra(records[0])["keys"]) == 1000


def test_what_came_too_fast_is_told(records: list[logging.LogRecord]) -> None:
    CallLog().on_dropped(12)
    assert records[0].getMessage().startswith("12 cache calls are not in the log")
    assert records[0].levelno == logging.WARNING


def test_the_calls_of_a_site_are_logged_each_once(
    store: Store, records: list[logging.LogRecord]
) -> None:
    start_exporters()
    cache = caches["default"]
    before = time.time()
    cache.set("user:1", "a", 60)
    cache.get("user:1")
    cache.get("user:2")
    after = time.time()
    assert cache_monitor.flush()
    wiring.background_worker.stop()  # the last turn logs what still waits
    found = {(_extra(each)["operation"], _extra(each)["outcome"]) for each in records}
    assert found == {("set", "done"), ("get", "hit"), ("get", "miss")}
    assert len(records) == 3
    assert all(before - 0.1 <= record.created <= after + 0.1 for record in records)
