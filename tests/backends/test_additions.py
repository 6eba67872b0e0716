"""What is recorded of the operations that a backend adds to Django's, and of what they did."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.locmem import LocMemCache

from tests.backends.conftest import Heard
from tests.backends.contract import open_pair, parameters
from tests.backends.making import make_recorded

CLIENTS = [each for each in parameters() if str(each.values[0]).startswith("django_redis")]


@pytest.fixture(params=CLIENTS)
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    with open_pair(request.param, request, tmp_path) as pair:
        yield pair.monitored


@pytest.fixture
def default_client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    with open_pair("django_redis", request, tmp_path) as pair:
        yield pair.monitored


def _told(heard: Heard) -> list[tuple[object, ...]]:
    return [
        (call.source.operation, call.key, call.timeout, call.version, call.effect) for call in heard
    ]


def test_a_call_that_changes_an_expiry_says_to_what_and_whether_it_did(
    cache: Any, heard: Heard
) -> None:
    cache.set("a", 1)
    cache.expire("a", 60)
    cache.expire("a", timeout=50, version=3)
    cache.expire("a", 40, 3)
    cache.expire(key="a", timeout=DEFAULT_TIMEOUT)
    cache.persist("a")
    cache.persist("no", 2)
    cache.touch("a", 30)
    assert _told(heard)[1:] == [
        ("expire", "a", 60, None, True),
        ("expire", "a", 50, "3", False),
        ("expire", "a", 40, "3", False),
        ("expire", "a", DEFAULT_TIMEOUT, None, True),
        ("persist", "a", None, None, True),
        ("persist", "no", None, "2", False),
        ("touch", "a", 30, None, True),
    ]


def test_milliseconds_and_points_in_time_are_told_as_they_were_given(
    default_client: Any, heard: Heard
) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    stamp = int(later.timestamp())
    default_client.set("a", 1)
    default_client.pexpire("a", timeout=60_000)
    default_client.expire_at("a", later)
    default_client.expire_at("no", when=stamp)
    default_client.pexpire_at("a", stamp * 1000)
    assert _told(heard)[1:] == [
        ("pexpire", "a", 60_000, None, True),
        ("expire_at", "a", later, None, True),
        ("expire_at", "no", stamp, None, False),
        ("pexpire_at", "a", stamp * 1000, None, True),
    ]


def test_a_pattern_stands_where_other_operations_have_their_key(cache: Any, heard: Heard) -> None:
    cache.set("a:1", 1)
    cache.delete_pattern("a:*")
    cache.delete_pattern(pattern="a:*", version=2)
    assert _told(heard)[1:] == [
        ("delete_pattern", "a:*", None, None, None),
        ("delete_pattern", "a:*", None, "2", None),
    ]


def test_a_set_that_must_not_replace_says_whether_it_did_store(
    default_client: Any, heard: Heard
) -> None:
    default_client.set("a", 1, nx=True)
    default_client.set("a", 2, timeout=60, nx=True)
    assert _told(heard) == [
        ("set", "a", DEFAULT_TIMEOUT, None, True),
        ("set", "a", 60, None, False),
    ]


def test_the_timeout_of_a_lock_is_the_one_given(default_client: Any, heard: Heard) -> None:
    with default_client.lock("mine"), default_client.lock("yours", timeout=5):
        pass
    assert _told(heard) == [
        ("lock", "mine", None, None, None),
        ("lock", "yours", 5, None, None),
    ]


def test_an_operation_without_a_key_has_none(default_client: Any, heard: Heard) -> None:
    default_client.clear()
    assert heard[0].key is None


@pytest.mark.parametrize("name", ["locmem", "files", "redis", "django_redis", "memcached"])
def test_a_step_of_version_says_which_version_the_entry_has_now(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, heard: Heard
) -> None:
    with open_pair(name, request, tmp_path) as pair:
        cache = pair.monitored
        cache.set("a", 1)
        cache.incr_version("a", 4)
        cache.decr_version("a", delta=2, version=5)
        cache.decr_version("a", version=3, delta=3)
        with pytest.raises(ValueError, match="not found"):
            cache.incr_version("no")
    steps = [(call.source.operation, call.version, call.effect) for call in heard[1:]]
    assert steps == [
        ("incr_version", None, 5),
        ("decr_version", "5", 3),
        ("decr_version", "3", 0),
        ("incr_version", None, None),
    ]


class Own(LocMemCache):
    """Additions as somebody else might write them."""

    client: Any = None

    def keep(self, name: str, /, *, timeout: Any = 7, version: Any = None) -> bool:
        return True

    def tagged(self, tags: list[str], version: Any = None) -> None:
        """Has no key."""

    def refresh(self, *names: str, **options: Any) -> None:
        """Takes anything, and hands it to nobody who could tell."""

    def age(self) -> int:
        return 5


class Refusing(Own):
    @property
    def client(self) -> Any:
        raise RuntimeError("no client")

    @client.setter
    def client(self, client: Any) -> None:
        raise RuntimeError("no client")


@pytest.mark.parametrize("real", [Own, Refusing])
def test_the_names_of_the_parameters_tell_what_they_mean(
    real: Any, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    cache = make_recorded(real, "own", "default")
    cache.keep("a")
    cache.keep("a", timeout=60, version=2)
    cache.tagged(["a"], 3)
    cache.refresh("a", "b", timeout=8)
    cache.age()
    assert _told(heard) == [
        ("keep", "a", 7, None, True),
        ("keep", "a", 60, "2", True),
        ("tagged", None, None, "3", None),
        ("refresh", "a", 8, None, None),
        ("age", None, None, None, None),
    ]
    assert not caplog.records
