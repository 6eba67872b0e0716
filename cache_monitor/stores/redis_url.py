"""The URLs of Redis servers: one server, Sentinels that know it, or a cluster."""

from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from cache_monitor.stores.base import StoreError

try:
    import redis
    from redis import cluster, connection, sentinel
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisClusterException
    from redis.retry import Retry
except ImportError as error:
    raise StoreError(
        "The RedisStore needs redis-py: pip install 'django-cache-monitor[redis]'."
    ) from error

UNUSABLE = (redis.RedisError, RedisClusterException, OSError)
"""The errors of a server that cannot be used."""

# redis-py has no types for these.
_parse_url: Callable[[str], dict[str, Any]] = connection.parse_url
_sentinel_of: Callable[..., Any] = sentinel.Sentinel
_node: Callable[..., Any] = cluster.ClusterNode

_TIMEOUT = 2.0
_SENTINEL = "sentinel_"
_SHARED = ("socket_", "ssl", "retry")
"""Beginnings of the options that hold for Sentinels as for the servers that they watch."""
_CLUSTER_PORT, _SENTINEL_PORT = 6379, 26379


def make_client(url: str) -> Callable[[], Any]:
    """A factory of clients of the servers at ``url``; nothing connects yet.

    Raises :class:`StoreError` for a bad ``url``.
    """
    try:
        parts = urlsplit(url)
        scheme, _, layout = parts.scheme.partition("+")
        if layout:
            return _LAYOUTS[layout](parts, {"redis": False, "rediss": True}[scheme])
        options = _options(url)
        # A pool that is the client's own is closed with it.
        return lambda: redis.Redis.from_pool(redis.ConnectionPool(**options))
    except (KeyError, ValueError, TypeError, AttributeError):
        # The error may quote the password.
        raise StoreError(
            "CACHE_MONITOR['STORE']['OPTIONS']['URL'] is none that Redis has: write one such as "
            "redis://host:6379/0, with special characters of the password in percent-encoding."
        ) from None


def _sentinel(parts: SplitResult, tls: bool) -> Callable[[], Any]:
    service, _, db = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("service")
    options = {**_common(parts, db), "ssl": tls}
    for_sentinels = {
        name.removeprefix(_SENTINEL): options.pop(name)
        for name in list(options)
        if name.startswith(_SENTINEL)
    }
    shared = {name: each for name, each in options.items() if name.startswith(_SHARED)}
    hosts = _hosts(parts, _SENTINEL_PORT)
    return lambda: _sentinel_of(hosts, sentinel_kwargs={**shared, **for_sentinels}).master_for(
        unquote(service), **options
    )


def _cluster(parts: SplitResult, tls: bool) -> Callable[[], Any]:
    options = {**_common(parts, ""), "ssl": tls}
    hosts = _hosts(parts, _CLUSTER_PORT)
    return lambda: cluster.RedisCluster(
        startup_nodes=[_node(host, port) for host, port in hosts], **options
    )


_LAYOUTS = {"sentinel": _sentinel, "cluster": _cluster}


def _common(parts: SplitResult, db: str) -> dict[str, Any]:
    """The options for each of several servers: all of the URL but the hosts."""
    credentials, at, _ = parts.netloc.rpartition("@")
    options = _options(f"redis://{credentials}{at}host/{db}?{parts.query}")
    del options["host"]
    return options


def _hosts(parts: SplitResult, port: int) -> list[tuple[str, int]]:
    each = [urlsplit(f"//{host}") for host in parts.netloc.rpartition("@")[2].split(",")]
    return [(one.hostname or "localhost", one.port or port) for one in each]


def _options(url: str) -> dict[str, Any]:
    return {
        "socket_timeout": _TIMEOUT,
        "socket_connect_timeout": _TIMEOUT,
        # Once, for a connection that was closed meanwhile; never after a timeout.
        "retry": Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        **_parse_url(url),
        "decode_responses": False,
    }
