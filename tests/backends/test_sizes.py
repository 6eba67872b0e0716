"""Sizes are noted on the way, whichever way a call takes and whatever else happens on it."""

import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings
from django.utils.functional import SimpleLazyObject

from cache_monitor.calls import Call, recorder
from cache_monitor.instrument.install import instrument
from tests.backends.conftest import Heard
from tests.backends.contract import open_pair
from tests.services import Server


class Curious:
    """A value that asks the cache while it is pickled, and while it is unpickled."""

    def __reduce__(self) -> Any:
        caches["default"].get("large")
        return _made_again, ("x" * 10,)


def _made_again(text: str) -> Any:
    caches["default"].get("large")
    return text


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The calls made so far, where nobody listens and nobody takes them away."""
    monkeypatch.setattr(recorder, "take", lambda most: [])
    recorder.buffer.clear()
    return lambda: [Call(*each) for each in recorder.buffer]


@pytest.mark.parametrize("name", ["redis", "django_redis"])
def test_calls_that_a_value_makes_on_its_own_cache_are_part_of_the_operation(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, told: Any
) -> None:
    with open_pair(name, request, tmp_path) as pair:
        recorder.buffer.clear()
        pair.monitored.set("large", "x" * 1000)
        pair.monitored.set("curious", Curious())
        assert pair.monitored.get("curious") == "x" * 10
        calls = told()
    assert [(call.source.operation, call.key, call.outcome) for call in calls] == [
        ("set", "large", None),
        ("set", "curious", None),
        ("get", "curious", True),
    ]
    large, written, read = (call.size for call in calls)
    assert large > 1000
    assert written == read
    assert 10 < written < 200


@pytest.mark.parametrize("name", ["redis", "django_redis"])
def test_threads_that_share_a_cache_do_not_share_sizes(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, told: Any
) -> None:
    with open_pair(name, request, tmp_path) as pair:

        def work(length: int) -> None:
            for _ in range(50):
                pair.monitored.set(f"key:{length}", "x" * length)
                pair.monitored.get(f"key:{length}")

        threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        calls = [call for call in told() if call.key]
    assert len(calls) == 400
    for call in calls:
        length = int(str(call.key).removeprefix("key:"))
        assert call.size is not None
        assert length <= call.size < length + 200


def test_a_client_given_by_the_caller_serves_him(
    request: pytest.FixtureRequest, tmp_path: Path, heard: Heard
) -> None:
    with open_pair("django_redis", request, tmp_path) as pair:
        cache: Any = pair.monitored
        own = cache.client.get_client()
        cache.set("a", 7, client=own)
        assert cache.get("a", client=own) == 7
        assert cache.get("no", 5, None, own) == 5
        assert cache.get_many(["a"], client=own) == {"a": 7}
    assert [call.outcome for call in heard] == [None, True, False, (True,)]


@pytest.mark.parametrize("name", ["redis", "django_redis"])
def test_a_cache_that_was_in_use_before_tells_sizes_too(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, heard: Heard
) -> None:
    with open_pair(name, request, tmp_path) as pair:
        cache = pair.bare
        cache.set("a", "x" * 100)
        instrument(cache, "default")
        cache.get("a")
        cache.delete("a")
    size = heard[0].size
    assert size is not None
    assert size >= 100


def test_pymemcache_takes_the_functions_that_a_project_gives_in_place_of_a_serializer(
    memcached_server: Server,
) -> None:
    options = {"serde": None, "serializer": _written, "deserializer": _read}
    entry = {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": f"{memcached_server.host}:{memcached_server.port}",
        "OPTIONS": options,
    }
    with override_settings(CACHES={"default": entry}):
        cache = caches["default"]
        cache.set("own", "value")
        assert cache.get("own") == "value, written and read"


def _written(key: Any, value: str) -> tuple[bytes, int]:
    return f"{value}, written".encode(), 1


def _read(key: Any, value: bytes, flags: int) -> str:
    return f"{value.decode()} and read"


class _Shy(int):
    """A number that does not say what it looks like."""

    def __str__(self) -> str:
        raise RuntimeError("the value's own fault")


def test_a_value_that_cannot_be_measured_is_stored_all_the_same(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with open_pair("django_redis", request, tmp_path) as pair:
        for cache in (pair.bare, pair.monitored):
            cache.set("shy", _Shy(7))
            assert cache.get("shy") == 7


def test_a_lazy_answer_stays_unmade(told: Any) -> None:
    """OddCache is given the caller's own default, and so may answer with it."""

    def make() -> int:
        raise AssertionError("nobody has asked for it")

    entry = {"BACKEND": "tests.backends.odd.OddCache", "LOCATION": "lazy"}
    recorder.buffer.clear()
    with override_settings(CACHES={"default": entry}):
        caches["default"].get("absent", SimpleLazyObject(make))
        (call,) = told()
    assert call.key == "absent"
    assert call.outcome is False
