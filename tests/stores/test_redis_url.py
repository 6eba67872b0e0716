from typing import Any

import pytest

from cache_monitor.stores.base import StoreError
from cache_monitor.stores.redis import make_client


def _options(client: Any) -> dict[str, Any]:
    options: dict[str, Any] = client.connection_pool.connection_kwargs
    return options


def _has(options: dict[str, Any], **expected: object) -> bool:
    return {name: options.get(name) for name in expected} == expected


def test_a_url_of_one_server_is_redis_pys() -> None:
    client = make_client("redis://user:p%40ss@host:7000/3")()
    assert _has(_options(client), host="host", port=7000, db=3, username="user", password="p@ss")


def test_a_socket_is_reached_by_its_path() -> None:
    assert _has(
        _options(make_client("unix:///run/redis.sock?db=2")()), path="/run/redis.sock", db=2
    )


@pytest.mark.parametrize("url", ["redis://host", "redis+sentinel://host/mymaster"])
def test_nobody_waits_long_unless_the_url_says_so(url: str) -> None:
    assert _has(_options(make_client(url)()), socket_timeout=2, socket_connect_timeout=2)
    assert _has(_options(make_client(f"{url}?socket_timeout=9")()), socket_timeout=9)


def test_sentinels_are_named_before_their_service() -> None:
    url = "redis+sentinel://user:secret@one,[::1]:7000/mymaster/3"
    client = make_client(f"{url}?sentinel_password=other&socket_timeout=1")()
    assert client.connection_pool.service_name == "mymaster"
    assert _has(_options(client), db=3, username="user", password="secret", socket_timeout=1.0)
    sentinels = [_options(each) for each in client.connection_pool.sentinel_manager.sentinels]
    assert _has(sentinels[0], host="one", port=26379, username=None, password="other")
    assert _has(sentinels[1], host="::1", port=7000, password="other", socket_timeout=1.0)


@pytest.mark.parametrize(("scheme", "ssl"), [("redis", False), ("rediss", True)])
def test_a_cluster_is_found_by_some_of_its_nodes(
    scheme: str, ssl: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis.cluster.RedisCluster", lambda **options: options)
    options = make_client(f"{scheme}+cluster://:secret@127.0.0.1,127.0.0.2:7000")()
    nodes = [(node.host, node.port) for node in options["startup_nodes"]]
    assert nodes == [("127.0.0.1", 6379), ("127.0.0.2", 7000)]
    assert _has(options, ssl=ssl, password="secret", socket_timeout=2)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host:6379",
        "http://:secret@host",
        "redis://:secret/with-slash@host",
        "redis+sentinel://:secret@host",
        "redis+sentinel://:secret@host:port/mymaster",
        "redis+tree://:secret@host",
        "http+cluster://:secret@host",
        "redis://host?socket_timeout=secret",
        None,
    ],
)
def test_what_is_no_url_is_refused_without_being_repeated(url: Any) -> None:
    with pytest.raises(StoreError, match="write one such as redis://") as told:
        make_client(url)
    assert "secret" not in str(told.value)
    assert told.value.__cause__ is None
