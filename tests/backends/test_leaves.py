"""What the fast paths record, which serve where nobody listens, or one request alone."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches

from cache_monitor import context
from cache_monitor.calls import Call, RawCall, recorder, whole
from cache_monitor.worker.requests import RequestStats
from tests.backends.contract import open_pair


@contextmanager
def listening(tally: RequestStats | None) -> Iterator[None]:
    if tally is not None:
        context.start_listening(tally)
    try:
        yield
    finally:
        if tally is not None:
            context.stop_listening(tally)


@pytest.mark.parametrize("is_counted", [False, True], ids=["alone", "in a request"])
@pytest.mark.parametrize("name", ["locmem", "redis", "django_redis", "memcached"])
def test_without_a_listener_a_call_tells_as_much(
    name: str,
    is_counted: bool,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then the fast paths serve, which make no signature and enter no context."""
    tally = RequestStats()
    with open_pair(name, request, tmp_path) as pair, listening(tally if is_counted else None):
        cache: Any = pair.monitored
        # Nobody takes the calls away meanwhile.
        monkeypatch.setattr(recorder, "limit", sys.maxsize)
        monkeypatch.setattr(recorder, "take", lambda most: [])
        recorder.buffer.clear()
        cache.set("there", "x" * 100, 60)
        cache.set(key="named", value=1, timeout=None, version=2)
        cache.get("there")
        cache.get("absent", 5, 3)
        cache.get_many(["there", "absent"], version=1)
        cache.get_many(key for key in ("there",))
        cache.get_many([])
        calls = [Call(*whole(each)) for each in recorder.buffer]
    assert [Call(*each) for each in tally._waiting_calls] == (calls if is_counted else [])
    who = threading.get_ident()
    told = [
        (each.source.operation, each.key, each.outcome, each.timeout, each.version, each.context)
        for each in calls
    ]
    assert told == [
        ("set", "there", None, 60, None, who),
        ("set", "named", None, None, "2", who),
        ("get", "there", True, None, None, None),
        ("get", "absent", False, None, "3", who),
        ("get_many", ("there", "absent"), (True, False), None, "1", who),
        ("get_many", ("there",), (True,), None, None, who),
        ("get_many", (), (), None, None, who),
    ]
    sizes = [each.size for each in calls]
    if name == "locmem":
        assert sizes == [None] * 7
    else:
        size = sizes[0]
        assert size is not None
        assert size >= 100
        assert sizes[2:] == [size, None, size, size, None]


def test_a_request_hears_of_a_call_that_fails_and_of_none_after_its_end() -> None:
    tally = RequestStats()
    cache: Any = caches["default"]
    with listening(tally):
        with pytest.raises(TypeError):
            cache.set("key", 1, timeout="soon")
        cache.get_or_set("made", lambda: cache.get("absent"))
    cache.get("key")
    heard = [(call[0].operation, call[3], call[8]) for call in tally._waiting_calls]
    assert heard == [
        ("set", "key", "TypeError"),
        ("get", "absent", None),
        ("get_or_set", "made", None),
    ]


def test_beside_a_request_somebody_else_still_hears_what_the_values_are() -> None:
    kinds: list[tuple[str | None, bool]] = []

    class Curious:
        def on_call(self, call: RawCall, kind: str | None = None) -> None:
            kinds.append((kind, call[5] is not None))

    tally, curious = RequestStats(), Curious()
    cache = caches["default"]
    cache.set("key", [1])
    with listening(tally):
        context.start_listening(curious)
        try:
            cache.get("key")
        finally:
            context.stop_listening(curious)
        cache.get("key")
    assert kinds == [("list", True)]
    assert [call[0].operation for call in tally._waiting_calls] == ["get", "get"]
