import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from cache_monitor.stores.base import Row, StoreError
from cache_monitor.stores.redis import RedisStore
from tests.services import LOOPBACK, free_port
from tests.stores.conftest import wait_until
from tests.stores.servers import PASSWORD, RedisDaemon

ROOT = Path(__file__).resolve().parents[2]
ROW = Row("window", "process", "default", 100, 10, b"payload")


def _rows(store: RedisStore) -> list[Row]:
    return sorted(store.read("window", 0, 1000, None))


@override_settings(CACHE_MONITOR={"RETENTION": 7200})
def test_nothing_outlives_its_retention_though_nobody_prunes(
    redis_url: str, redis_daemon: RedisDaemon
) -> None:
    store = RedisStore(redis_url)
    store.put([ROW, ROW._replace(kind="scan")], now=1)
    store.replace([ROW], [ROW._replace(start=60)], now=1)
    store.lock("roll-up", 60, now=1)
    with redis_daemon.client() as client:
        lives = {key: client.ttl(key) for key in client.scan_iter()}
    assert len(lives) == 7
    assert all(0 < life <= 7200 + 3600 for life in lives.values()), lives


def test_a_row_that_expired_is_left_out(redis_url: str, redis_daemon: RedisDaemon) -> None:
    store = RedisStore(redis_url)
    store.put([ROW, ROW._replace(start=110)], now=1)
    with redis_daemon.client() as client:
        [expired] = client.keys("*:row:?100*")
        client.delete(expired)
    assert _rows(store) == [ROW._replace(start=110)]


class _ReadWhileMerged(RedisStore):
    """One in which ``replacement`` takes the place of rows between a look into the index and one at
    the rows."""

    replacement: tuple[list[Row], list[Row]]

    def _rows(self, *arguments: Any) -> Iterator[Row]:
        self.replace(*self.replacement, now=1)
        return super()._rows(*arguments)


def test_what_is_merged_while_it_is_read_is_not_missed(redis_url: str) -> None:
    store = _ReadWhileMerged(redis_url)
    parts, merged = [ROW, ROW._replace(process="other")], ROW._replace(process="", payload=b"all")
    store.put(parts, now=1)
    store.replacement = parts, [merged]
    assert _rows(store) == [merged]


def test_what_others_put_into_an_index_is_left_out(
    redis_url: str, redis_daemon: RedisDaemon
) -> None:
    store = RedisStore(redis_url)
    store.put([ROW], now=1)
    with redis_daemon.client() as client:
        for member in (b"\xff", "rubbish", "[]", '[100, 10, "process"]', '["100", 10, "p", "a"]'):
            client.zadd("{cache_monitor:window}:start", {member: 100})
    assert _rows(store) == [ROW]


def test_sites_with_prefixes_of_their_own_share_a_server(
    redis_url: str, redis_daemon: RedisDaemon
) -> None:
    one, two = RedisStore(redis_url, PREFIX="one"), RedisStore(redis_url, PREFIX="two")
    with redis_daemon.client() as client:
        client.set("somebody's", "value")
        one.put([ROW], now=1)
        assert _rows(two) == []
        assert two.prune(before=1000) == 0
        assert two.lock("roll-up", 60, now=1)
        assert one.lock("roll-up", 60, now=1)
        assert one.prune(before=1000) == 1
        assert client.get("somebody's") == b"value"


def test_a_store_that_nobody_needs_any_more_closes_its_connections(
    redis_url: str, redis_daemon: RedisDaemon
) -> None:
    store = RedisStore(f"{redis_url}?client_name=not-needed")
    store.put([ROW], now=1)
    with redis_daemon.client() as client:

        def connections() -> int:
            return sum(each["name"] == "not-needed" for each in client.client_list())

        assert connections() == 1
        # Not left to the garbage collector, which may come late.
        del store
        wait_until(lambda: connections() == 0)


def test_text_is_not_what_payloads_are(redis_url: str) -> None:
    store = RedisStore(f"{redis_url}?decode_responses=True")
    store.put([ROW._replace(payload=b"\xff\x00")], now=1)
    assert [row.payload for row in _rows(store)] == [b"\xff\x00"]


@pytest.mark.parametrize(
    "server",
    ["redis://:{}@{}:{}/0", "redis+sentinel://:{}@{}:{}/mymaster", "redis+cluster://:{}@{}:{}"],
)
def test_a_server_that_is_away_is_no_secret_but_its_password_is(server: str) -> None:
    port = free_port()
    store = RedisStore(server.format("secret", LOOPBACK, port))
    with pytest.raises(StoreError) as told:
        store.put([ROW], now=1)
    assert "up" in str(told.value)
    assert not any(each in str(told.value) for each in ("secret", LOOPBACK, str(port)))


def test_a_node_of_a_cluster_says_that_it_is_one(cluster: list[RedisDaemon]) -> None:
    told = []
    for node in cluster:
        try:
            RedisStore(node.address.url).put([ROW], now=1)
        except StoreError as error:
            told.append(str(error))
    assert len(told) == 2
    assert all("begin the URL with redis+cluster://" in each for each in told)


def test_a_user_who_may_not_is_told_what_to_allow(
    redis_url: str, redis_daemon: RedisDaemon
) -> None:
    with redis_daemon.client() as client:
        client.acl_setuser(
            "reader", enabled=True, passwords=[f"+{PASSWORD}"], categories=["+@read"]
        )
        try:
            store = RedisStore(f"{redis_url}?username=reader&password={PASSWORD}")
            with pytest.raises(StoreError, match="@scripting"):
                store.put([ROW], now=1)
        finally:
            client.acl_deluser("reader")


def test_without_redis_py_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['redis'] = None\n"
        "from cache_monitor.conf import StoreConf\n"
        "from cache_monitor.stores.base import StoreError, make_store\n"
        "try:\n"
        "    make_store(StoreConf('cache_monitor.stores.redis.RedisStore', {'URL': 'redis://'}))\n"
        "except StoreError as error:\n"
        "    print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "pip install 'django-cache-monitor[redis]'" in result.stdout
