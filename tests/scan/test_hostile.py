"""A look ends whatever the server does, as that cache's problem, and its figures can be kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count, repeat
from typing import Any

import pytest
from django.core.cache.backends.memcached import PyMemcacheCache
from django.core.cache.backends.redis import RedisCache
from django_redis.cache import RedisCache as DjangoRedisCache

from cache_monitor.scan import base
from cache_monitor.scan.snapshot import Snapshot
from cache_monitor.stats.codec import decode, encode
from tests.scan.hostile import Answers, hostile_server, memcached_commands, redis_commands
from tests.scan.inspection import inspect_cache

PIECE = b"x" * 65536


@pytest.fixture
def _short_of_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(base, "GRACE_SECONDS", 0.5)


def look(cache: Any) -> Snapshot:
    """What a look finds; it comes back, raises nothing, and can be brought to the store."""
    found = inspect_cache("default", cache, limit=1000, seconds=1, stale_after=60)
    cache.close()
    assert decode(encode(found), Snapshot) == found
    for figure in (found.entries, found.bytes, found.limit_bytes, found.evictions):
        assert figure is None or 0 <= figure < 1 << 63
    return found


_never = threading.Event()


def slowly(*pieces: bytes) -> Iterator[bytes]:
    """A byte now and then, again and again."""
    for piece in chain.from_iterable(repeat(pieces)):
        for byte in piece:
            _never.wait(0.05)
            yield bytes([byte])


def endlessly(begin: bytes, again: bytes = PIECE) -> Iterator[bytes]:
    yield begin
    yield from repeat(again)


class TestRedis:
    """Redis' protocol; what is not asked about is answered as it should be."""

    CASES: dict[str, tuple[bytes, Callable[[], Iterable[bytes]]]] = {
        "a cursor of 2^64": (b"SCAN", lambda: [b"*2\r\n$20\r\n18446744073709551616\r\n*0\r\n"]),
        "a cursor that is no number": (b"SCAN", lambda: [b"*2\r\n$3\r\nnan\r\n*0\r\n"]),
        "a negative cursor": (b"SCAN", lambda: [b"*2\r\n$2\r\n-1\r\n*0\r\n"]),
        "keys that are numbers": (b"SCAN", lambda: [b"*2\r\n$1\r\n0\r\n*1\r\n:7\r\n"]),
        "no list": (b"SCAN", lambda: [b":1\r\n"]),
        "nothing": (b"SCAN", lambda: [b"$-1\r\n"]),
        "three parts": (b"SCAN", lambda: [b"*3\r\n$1\r\n0\r\n*0\r\n*0\r\n"]),
        "no protocol": (b"SCAN", lambda: [b"HTTP/1.1 400 Bad Request\r\n\r\n"]),
        "an integer of a million digits": (b"SCAN", lambda: [b":" + b"9" * 1_000_000 + b"\r\n"]),
        "silence": (b"SCAN", list),
        "a byte at a time": (b"SCAN", lambda: slowly(b"*2\r\n$1\r\n0\r\n*99\r\n", b"$1\r\nx\r\n")),
        "an endless line": (b"SCAN", lambda: endlessly(b"+")),
        "an endless bulk": (b"SCAN", lambda: endlessly(b"*2\r\n$9999999999\r\n")),
        "a bulk of 2^60 bytes": (b"SCAN", lambda: endlessly(b"$1152921504606846976\r\n")),
        "a list of 2^60": (
            b"SCAN",
            lambda: endlessly(b"*1152921504606846976\r\n", b":1\r\n" * 999),
        ),
        "lists in lists": (b"SCAN", lambda: endlessly(b"*1\r\n", b"*1\r\n" * 9999)),
        "pushes for ever": (b"SCAN", lambda: endlessly(b"+OK\r\n", b"+OK\r\n" * 9999)),
        "a size of 2^64": (b"MEMORY", lambda: [b":18446744073709551616\r\n"]),
        "a negative size": (b"MEMORY", lambda: [b":-5\r\n"]),
        "a size that is text": (b"MEMORY", lambda: [b"$3\r\nnan\r\n"]),
        "an expiry of 2^70": (b"PTTL", lambda: [b":1180591620717411303424\r\n"]),
        "an expiry before the end": (b"PTTL", lambda: [b":-3\r\n"]),
        "an idle time of 2^64": (b"OBJECT", lambda: [b":18446744073709551616\r\n"]),
        "a silent size": (b"MEMORY", list),
        "an endless size": (b"MEMORY", lambda: endlessly(b"$9999999999\r\n")),
        "a login by the byte": (b"AUTH", lambda: slowly(b"+OK")),
        "an endless login": (b"AUTH", lambda: endlessly(b"+")),
    }

    @staticmethod
    def answers(name: bytes, hostile: Callable[[], Iterable[bytes]]) -> Answers:
        well: dict[bytes, list[bytes]] = {
            b"SCAN": [b"*2\r\n$1\r\n0\r\n*1\r\n$8\r\nmine:1:a\r\n"],
            b"MEMORY": [b":64\r\n"],
            b"PTTL": [b":-1\r\n"],
            b"OBJECT": [b":7\r\n"],
            b"DBSIZE": [b":1\r\n"],
            b"INFO": [b"$29\r\nmaxmemory:0\r\nevicted_keys:3\r\n\r\n"],
        }

        def answer(command: list[bytes]) -> Iterable[bytes]:
            return hostile() if command[0] == name else well.get(command[0], [b"+OK\r\n"])

        return answer

    @pytest.mark.usefixtures("_short_of_patience")
    @pytest.mark.parametrize(
        ("backend", "case"),
        [*((RedisCache, case) for case in CASES), (DjangoRedisCache, "an endless bulk")],
    )
    def test_a_hostile_answer_is_the_caches_problem(self, backend: Any, case: str) -> None:
        with hostile_server(redis_commands, self.answers(*self.CASES[case])) as address:
            found = look(
                backend(f"redis://:geheim@{address}/0", {"KEY_PREFIX": "mine", "OPTIONS": {}})
            )
        assert found.problem, found
        assert found.entries is None

    def test_the_limits_of_a_server_that_is_well_are_told(self) -> None:
        with hostile_server(redis_commands, self.answers(b"", list)) as address:
            found = look(RedisCache(f"redis://:geheim@{address}/0", {"KEY_PREFIX": "mine"}))
        assert (found.entries, found.exact, found.problem) == (1, True, None)
        assert (found.limit_bytes, found.evictions) == (None, 3)

    @pytest.mark.parametrize("reply", [":1", "$-1", "$3\r\nx:1", "$13\r\nmaxmemory:nan"])
    def test_limits_that_cannot_be_true_are_unknown(self, reply: str) -> None:
        hostile = [f"{reply}\r\n".encode()]
        with hostile_server(redis_commands, self.answers(b"INFO", lambda: hostile)) as address:
            found = look(RedisCache(f"redis://{address}/0", {"KEY_PREFIX": "mine"}))
        assert (found.entries, found.bytes, found.problem) == (1, 64, None)
        assert (found.limit_bytes, found.evictions) == (None, None)

    def test_a_list_of_keys_without_an_end_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cache_monitor.scan.redis._SLOTS_UNCHECKED", 10)
        numbers = count()

        def keys() -> Iterable[bytes]:
            return [b"*2\r\n$1\r\n5\r\n*1\r\n$16\r\nmine:1:%09d\r\n" % next(numbers)]

        with hostile_server(redis_commands, self.answers(b"SCAN", keys)) as address:
            cache = RedisCache(f"redis://{address}/0", {"KEY_PREFIX": "mine"})
            found = inspect_cache("default", cache, limit=1 << 62, seconds=600, stale_after=60)
            cache.close()
        assert found.problem is not None
        assert "does not end" in found.problem

    @pytest.mark.usefixtures("_short_of_patience")
    @pytest.mark.parametrize(
        "hostile",
        [
            pytest.param(lambda: slowly(b"*2\r\n"), id="by the byte"),
            pytest.param(lambda: endlessly(b"$9999999999\r\n"), id="endless"),
            pytest.param(lambda: [b"*2\r\n$1\r\nh\r\n:99999\r\n"], id="a port that is none"),
            pytest.param(lambda: [b":1\r\n"], id="no address"),
            pytest.param(lambda: [b"$-1\r\n"], id="no primary"),
            pytest.param(lambda: [b"-ERR unknown command\r\n"], id="no Sentinel"),
        ],
    )
    def test_a_hostile_sentinel_is_the_caches_problem(
        self, hostile: Callable[[], Iterable[bytes]], settings: Any
    ) -> None:
        settings.DJANGO_REDIS_CONNECTION_FACTORY = "django_redis.pool.SentinelConnectionFactory"
        with hostile_server(redis_commands, self.answers(b"SENTINEL", hostile)) as address:
            host, port = address.split(":")
            options = {
                "CLIENT_CLASS": "django_redis.client.SentinelClient",
                "SENTINELS": [(host, int(port))],
            }
            found = look(DjangoRedisCache("redis://service/0", {"OPTIONS": options}))
        assert found.problem
        assert found.entries is None


class TestMemcached:
    """memcached's protocol."""

    LINE = b"key=mine%3A1%3Aa exp=-1 la=1700000000 cas=1 fetch=no cls=1 size=64\r\n"
    CASES: dict[str, tuple[bytes, Callable[[], Iterable[bytes]]]] = {
        "2^64 entries": (b"stats", lambda: [b"STAT curr_items 18446744073709551616\r\nEND\r\n"]),
        "less than no entries": (b"stats", lambda: [b"STAT curr_items -1\r\nEND\r\n"]),
        "nan entries": (b"stats", lambda: [b"STAT curr_items nan\r\nEND\r\n"]),
        "a clock of 1e300": (b"stats", lambda: [b"STAT time 1e300\r\nEND\r\n"]),
        "a clock of 2^64": (b"stats", lambda: [b"STAT time 18446744073709551616\r\nEND\r\n"]),
        "no figures": (b"stats", lambda: [b"STAT curr_items\r\nEND\r\n"]),
        "stats by the byte": (b"stats", lambda: slowly(b"STAT pid 1\r\n")),
        "endless stats": (b"stats", lambda: endlessly(b"", b"STAT pid 1\r\n" * 9999)),
        "an endless line of stats": (b"stats", lambda: endlessly(b"STAT pid ")),
        "silence": (b"stats", list),
        "no protocol": (b"stats", lambda: [b"HTTP/1.1 400 Bad Request\r\n\r\n"]),
        "a size of 2^64": (
            b"lru_crawler",
            lambda: [TestMemcached.LINE.replace(b"=64", b"=18446744073709551616"), b"END\r\n"],
        ),
        "a negative size": (
            b"lru_crawler",
            lambda: [TestMemcached.LINE.replace(b"=64", b"=-64"), b"END\r\n"],
        ),
        "a size of nan": (
            b"lru_crawler",
            lambda: [TestMemcached.LINE.replace(b"=64", b"=nan"), b"END\r\n"],
        ),
        "an expiry of 1e300": (
            b"lru_crawler",
            lambda: [TestMemcached.LINE.replace(b"exp=-1", b"exp=1e300"), b"END\r\n"],
        ),
        "a use in 2^64": (
            b"lru_crawler",
            lambda: [TestMemcached.LINE.replace(b"1700000000", b"1" * 20), b"END\r\n"],
        ),
        "no keys": (b"lru_crawler", lambda: [b"something else\r\nEND\r\n"]),
        "one word": (b"lru_crawler", lambda: [b"something\r\nEND\r\n"]),
        "a list by the byte": (b"lru_crawler", lambda: slowly(TestMemcached.LINE)),
        "an endless line": (b"lru_crawler", lambda: endlessly(b"key=")),
        "a silent list": (b"lru_crawler", list),
    }

    @staticmethod
    def answers(name: bytes, hostile: Callable[[], Iterable[bytes]]) -> Answers:
        well = {
            b"stats": [b"STAT time 1700000001\r\nSTAT curr_items 1\r\nEND\r\n"],
            b"lru_crawler": [TestMemcached.LINE, b"END\r\n"],
        }

        def answer(command: list[bytes]) -> Iterable[bytes]:
            return hostile() if command[0] == name else well.get(command[0], [b"ERROR\r\n"])

        return answer

    @pytest.mark.usefixtures("_short_of_patience")
    @pytest.mark.parametrize("case", CASES)
    def test_a_hostile_answer_is_the_caches_problem(self, case: str) -> None:
        with hostile_server(memcached_commands, self.answers(*self.CASES[case])) as address:
            found = look(PyMemcacheCache([address], {"KEY_PREFIX": "mine"}))
        assert found.problem, found
        assert found.entries is None

    @pytest.mark.parametrize("key", ["a", "mine%3A1%3A{}"])
    def test_a_list_without_an_end_ends(self, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cache_monitor.scan.memcached._RANGE", 5000)
        numbers = count()

        def lines() -> Iterator[bytes]:
            while True:
                keys = [key.format(next(numbers)).encode() for _ in range(1000)]
                yield b"".join(b"key=%b exp=-1 la=1 fetch=no size=64\r\n" % each for each in keys)

        with hostile_server(memcached_commands, self.answers(b"lru_crawler", lines)) as address:
            cache = PyMemcacheCache([address], {"KEY_PREFIX": "mine"})
            found = inspect_cache("default", cache, limit=1 << 62, seconds=600, stale_after=60)
            cache.close()
        assert found.problem is not None
        assert "many more entries" in found.problem
