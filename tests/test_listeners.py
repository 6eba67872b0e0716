"""The listener behind the panel and the users' tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.test import override_settings
from django.utils.functional import SimpleLazyObject

from cache_monitor.calls import RawCall, Source
from cache_monitor.context import start_listening, stop_listening
from cache_monitor.listeners import Capture, CapturedCall, Timeout, Totals, watched_aliases


@pytest.fixture
def capture() -> Iterator[Capture]:
    """Listening while the test runs."""
    caches["default"].clear()
    capture = Capture()
    start_listening(capture)
    yield capture
    stop_listening(capture)
    caches["default"].clear()


def raw(
    operation: str = "get",
    key: Any = "key",
    outcome: bool | tuple[bool, ...] | None = None,
    timeout: object = DEFAULT_TIMEOUT,
    error: str | None = None,
    started: float = 1.0,
) -> RawCall:
    source = Source("default", operation)
    return (source, started, 0.5, key, outcome, 7, timeout, None, error, None, None, None)


def captured(call: RawCall) -> CapturedCall:
    capture = Capture()
    capture.on_call(call)
    [only] = capture.calls()
    return only


def test_a_call_keeps_what_the_record_says() -> None:
    assert captured(raw("get_many", ("user:1", "b"), (True, False))) == CapturedCall(
        alias="default",
        operation="get_many",
        keys=("user:1", "b"),
        groups=("user:{int}", "b"),
        outcomes=(True, False),
        seconds=0.5,
        started=1.0,
        bytes=7,
        timeout="n/a",
        error=None,
    )


def test_a_call_without_a_key_has_none() -> None:
    call = captured(raw("clear", None))
    assert (call.keys, call.groups, call.outcomes) == ((), (), ())


def test_keys_without_an_outcome_of_their_own_have_none() -> None:
    assert captured(raw("get_many", ("a", "b"), None, error="OSError")).outcomes == (None, None)
    assert captured(raw("get_many", ("a", "b"), (True,))).outcomes == (True, None)


@pytest.mark.parametrize(
    ("given", "timeout"),
    [
        pytest.param(DEFAULT_TIMEOUT, "default", id="none given"),
        (None, None),
        (0, 0.0),
        (300, 300.0),
        (1.5, 1.5),
        (timedelta(minutes=2), 120.0),
        (10**400, "n/a"),
        ("soon", "n/a"),
        pytest.param(object(), "n/a", id="an object"),
    ],
    ids=str,
)
def test_a_timeout_is_seconds_or_a_word(given: object, timeout: Timeout) -> None:
    assert captured(raw("set", timeout=given)).timeout == timeout


def test_an_operation_that_takes_no_timeout_has_none_to_tell() -> None:
    assert captured(raw("delete", timeout=None)).timeout == "n/a"


def test_a_call_reads_as_a_sentence() -> None:
    call = captured(raw("get_many", ("a", "b"), (True, False)))
    assert str(call) == "default.get_many('a' hit, 'b' miss)"
    assert str(captured(raw("incr", "a", error="ValueError"))) == (
        "default.incr('a') raised ValueError"
    )


def test_calls_come_in_the_order_in_which_they_began() -> None:
    capture = Capture()
    capture.on_call(raw(key="inner", started=2.0))
    capture.on_call(raw(key="outer", started=1.0))
    assert [call.keys for call in capture.calls()] == [("outer",), ("inner",)]


def test_beyond_the_limit_calls_are_counted_and_not_kept() -> None:
    capture = Capture(keep=3)
    for number in range(10_000):
        capture.on_call(raw(key=str(number), outcome=number % 4 == 0))
    assert [call.keys for call in capture.calls()] == [("0",), ("1",), ("2",)]
    assert capture.totals()["default"] == Totals(
        calls=10_000, reads=10_000, hits=2500, misses=7500, seconds=5000.0
    )
    assert len(capture._kept) + len(capture._pending) == 3


def test_every_operation_counts_as_one_kind() -> None:
    capture = Capture()
    for operation in ("get", "add", "incr", "delete_many", "clear", "ttl", "lock"):
        capture.on_call(raw(operation))
    totals = capture.totals()["default"]
    assert (totals.reads, totals.writes, totals.deletes, totals.others) == (1, 2, 2, 2)
    assert totals.calls == 7


def test_the_toolbars_own_calls_are_left_out() -> None:
    capture = Capture()
    capture.on_call(raw(key="djdt:request_ids"))
    capture.on_call(raw("delete_many", ("djdt:req:1", "djdt:req:2")))
    assert capture.calls() == ()
    assert capture.totals() == {}


def test_calls_of_many_threads_are_counted_to_the_last_one() -> None:
    capture = Capture(keep=10)

    def work() -> None:
        for _ in range(20_000):
            capture.on_call(raw(outcome=True))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert capture.totals()["default"].hits == 160_000
    assert len(capture.calls()) == 10


def test_the_monitored_caches_are_heard_with_sizes(capture: Capture) -> None:
    cache.set("number", 1, 60)
    cache.get("number")
    cache.get("absent", "default")
    write, hit, miss = capture.calls()
    assert write.bytes == hit.bytes == 5
    assert (miss.bytes, miss.outcomes) == (None, (False,))
    assert write.timeout == 60.0


def test_a_stored_none_is_a_hit(capture: Capture) -> None:
    cache.set("nothing", None)
    cache.get("nothing")
    assert capture.totals()["default"].hits == 1


def test_a_call_that_fails_is_an_error_and_neither_hit_nor_miss(capture: Capture) -> None:
    cache.set("text", "no number")
    with pytest.raises(TypeError):
        cache.incr("text")
    call = capture.calls()[-1]
    assert (call.error, call.outcomes) == ("TypeError", (None,))
    assert capture.totals()["default"].errors == 1


def test_that_a_counter_is_not_there_is_told_and_no_error(capture: Capture) -> None:
    with pytest.raises(ValueError, match="not found"):
        cache.incr("absent")
    [call] = capture.calls()
    assert (call.error, call.outcomes) == ("ValueError", (None,))
    assert capture.totals()["default"].errors == 0


@pytest.mark.parametrize(
    ("conf", "watched"),
    [
        ({}, ("default", "plain")),
        ({"INSTRUMENT": "explicit"}, ("default",)),
        ({"ENABLED": False}, ()),
    ],
    ids=str,
)
def test_the_settings_tell_which_caches_are_watched(
    conf: dict[str, Any], watched: tuple[str, ...]
) -> None:
    local_memory = "django.core.cache.backends.locmem.LocMemCache"
    explicit = {"BACKEND": "cache_monitor.backends.MonitoredCache", "WRAPS": local_memory}
    settings = override_settings(
        CACHE_MONITOR=conf, CACHES={"default": explicit, "plain": {"BACKEND": local_memory}}
    )
    with settings:
        assert watched_aliases() == watched


class Price(float):
    """A value of a class of the site's own."""


def test_the_type_of_a_value_is_told_and_the_value_is_not_kept(capture: Capture) -> None:
    cache.set("price", Price(3))
    cache.get("price")
    cache.get("absent")
    cache.set_many({"a": 1, "b": "text", "c": 2})
    cache.get_many(["a", "b", "absent"])
    cache.get_or_set("made", lambda: [1])
    cache.get_or_set("made", lambda: [1])
    cache.delete("made")
    assert [(call.operation, call.value_type) for call in capture.calls()] == [
        ("set", "Price"),
        ("get", "Price"),
        ("get", None),
        ("set_many", "int, str"),
        ("get_many", "int, str"),
        ("get_or_set", "list"),
        ("get_or_set", "list"),
        ("delete", None),
    ]


def test_the_type_of_a_value_that_could_not_be_stored_is_not_told(capture: Capture) -> None:
    with pytest.raises(TypeError):
        cache.set("lock", threading.Lock())
    [call] = capture.calls()
    assert (call.error, call.value_type) == ("TypeError", None)


def test_a_lazy_value_is_not_made_to_tell_its_type(capture: Capture) -> None:
    made: list[str] = []

    def make() -> str:
        made.append("made")
        return "text"

    caches["dummy"].set("lazy", SimpleLazyObject(make))
    [call] = capture.calls()
    assert call.value_type == "SimpleLazyObject"
    assert made == []
