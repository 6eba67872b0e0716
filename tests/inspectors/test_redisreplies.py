"""Reading what Redis replies."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from django.core.cache.backends.redis import RedisCache
from hypothesis import given
from hypothesis import strategies as st
from redis import Connection, Redis

from cache_monitor.inspectors.look import inspect_cache
from cache_monitor.inspectors.redisreplies import Refusal, Reply, _read
from cache_monitor.inspectors.terms import CannotLook
from tests.services import Server


def read(data: bytes, count: int, cuts: list[int]) -> list[Reply]:
    """As it comes over a socket that gives it in pieces."""
    places = sorted({0, len(data), *(each % (len(data) + 1) for each in cuts)})
    pieces: Iterator[bytes] = iter([data[begin:end] for begin, end in pairwise(places)])
    return _read(lambda _: next(pieces, b""), count)


CUTS = st.lists(st.integers(0, 10_000), max_size=8)
KEYS = st.lists(st.binary(max_size=40), max_size=20)


@given(st.lists(st.integers(-2, 1 << 62), min_size=1, max_size=50), CUTS)
def test_numbers_are_read_however_they_are_cut(numbers: list[int], cuts: list[int]) -> None:
    data = b"".join(b":%d\r\n" % number for number in numbers)
    assert read(data, len(numbers), cuts) == numbers


@given(st.integers(0, 1 << 64), KEYS, CUTS)
def test_a_list_of_keys_of_any_bytes_is_read(
    cursor: int, keys: list[bytes], cuts: list[int]
) -> None:
    text = b"%d" % cursor
    parts = [b"*2\r\n$%d\r\n%b\r\n*%d\r\n" % (len(text), text, len(keys))]
    parts += [b"$%d\r\n%b\r\n" % (len(key), key) for key in keys]
    assert read(b"".join(parts), 1, cuts) == [[text, keys]]


@given(CUTS)
def test_refusals_and_missing_keys_stand_among_the_numbers(cuts: list[int]) -> None:
    data = b":7\r\n$-1\r\n_\r\n-NOPERM not you\r\n!9\r\nERR large\r\n+OK\r\n"
    found = read(data, 6, cuts)
    assert found == [7, None, None, "NOPERM not you", "ERR large", b"OK"]
    assert [each.code for each in found if isinstance(each, Refusal)] == ["NOPERM", "ERR"]


@given(CUTS)
def test_what_the_server_tells_unasked_is_passed_over(cuts: list[int]) -> None:
    data = b":1\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n:2\r\n"
    assert read(data, 2, cuts) == [1, 2]


@pytest.mark.parametrize(
    "data", [b"", b":1\r\n", b":1\r\n:", b"*2\r\n$1\r\n0\r\n*1\r\n$5\r\nab\r\n"]
)
def test_a_server_that_hangs_up_in_the_middle_is_told(data: bytes) -> None:
    with pytest.raises(CannotLook, match="ended the connection"):
        read(data, 2, [])


class Wrapping:
    """A connection that keeps its socket to itself, as the library's caching one does."""

    def __init__(self, **settings: Any) -> None:
        made: Any = Connection
        self._own = made(**settings)

    def __getattr__(self, name: str) -> Any:
        if name == "_sock":
            raise AttributeError(name)
        return getattr(self._own, name)


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_connection_without_a_socket_is_read_by_the_library(
    redis_server: Server, protocol: int
) -> None:
    with Redis(host=redis_server.host, port=redis_server.port) as client:
        client.flushall()
        client.mset({f":1:item:{number}": "x" for number in range(250)})
        client.set(b":1:\xff", "x", ex=500)
        client.config_set("maxmemory-policy", "allkeys-lfu")  # a refusal among the replies
        try:
            found = [_look(redis_server, protocol, options) for options in _CONNECTIONS]
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    assert found[0] == found[1]
    assert found[0][:3] == (251, 250, None)


_CONNECTIONS: list[dict[str, Any]] = [{}, {"connection_class": Wrapping}]


def _look(server: Server, protocol: int, options: dict[str, Any]) -> tuple[object, ...]:
    cache = RedisCache(f"{server.url}/0", {"OPTIONS": {"protocol": protocol, **options}})
    found = inspect_cache("default", cache, limit=10_000, seconds=30, stale_after=60)
    cache.close()
    return found.entries, found.no_expiry, found.problem, found.bytes, found.idle
