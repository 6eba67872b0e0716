"""A store in Redis: one server, Sentinels that know it, or a cluster."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, get_args
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from cache_monitor.conf import get_conf
from cache_monitor.stores.base import Fault, Kind, Row, StoreError, advice

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
            "CACHE_MONITOR['STORE']['OPTIONS']['URL'] is no address of Redis: write one such as "
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


_READ_CHUNK = 500
_READS = 2
"""Reads of rows that change meanwhile, at most."""
_WRITE_CHUNK = 100
_PRUNE_INTERVAL = 3600
"""Seconds that a row may outlive its retention."""
_KINDS: tuple[Kind, ...] = get_args(Kind)

_Member = tuple[int, int, str, str]
"""Start, seconds, process and alias: a row's name in the indexes of its kind."""

# KEYS: the two indexes, the keys of the rows to remove, those to add.
# ARGV: the time, seconds to keep, how many to remove; their members; member, start and payload of
# each to add. A script is atomic on every kind of server and can check before it writes.
_REPLACE = """
local gone = tonumber(ARGV[3])
for i = 1, gone do
  if redis.call('EXISTS', KEYS[2 + i]) == 0 then return 0 end
end
for i = 1, gone do
  redis.call('DEL', KEYS[2 + i])
  redis.call('ZREM', KEYS[1], ARGV[3 + i])
  redis.call('ZREM', KEYS[2], ARGV[3 + i])
end
for i = 3 + gone, #KEYS do
  local at = 4 + gone + 3 * (i - 3 - gone)
  redis.call('SET', KEYS[i], ARGV[at + 2], 'EX', ARGV[2])
  redis.call('ZADD', KEYS[1], ARGV[at + 1], ARGV[at])
  redis.call('ZADD', KEYS[2], ARGV[1], ARGV[at])
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return 1
"""

_FAULTS = (
    Fault(
        # "Unauthenticated bulk length" follows on more than 16 KiB.
        ("authenticat", "wrongpass", "noauth", "invalid password", "without any password"),
        "it refuses the user or the password, so correct them in the URL",
    ),
    Fault(
        ("noperm",),
        "its user may not do that, so allow it the commands of @read, @write and @scripting",
    ),
    Fault(
        ("readonly",),
        "it is a read-only replica, so name the primary in the URL, or the Sentinels that know it",
    ),
    Fault(
        ("oom command", "outofmemory"),
        "its memory is full, so raise its maxmemory, or give the monitor a Redis of its own",
    ),
    Fault(("misconf",), "it cannot write to its disk, so free some space there"),
    Fault(("moved", "crossslot"), "it is a cluster, so begin the URL with redis+cluster://"),
    Fault(
        ("masternotfound",),
        "no Sentinel knows a primary of that name that is up, so see to both",
    ),
)
_UNKNOWN_FAULT = "see whether it is up and the URL is right"


class RedisStore:
    """Keeps each row as a string that expires with its retention, and for each kind two sorted sets
    of the rows by their start and by their last write.

    ``URL`` is one of:

    - ``redis://[[user]:password@]host[:6379][/db]``, ``rediss://…`` (TLS), ``unix:///path``, with
      whatever redis-py takes after a ``?``;
    - ``redis+sentinel://[[user]:password@]host[:26379],host…/service[/db]``; the Sentinels' own
      credentials go into ``?sentinel_username=…&sentinel_password=…``;
    - ``redis+cluster://[[user]:password@]host[:6379],host…``;
    - ``rediss+sentinel://…`` and ``rediss+cluster://…`` for both with TLS.

    ``PREFIX`` begins every key, so that sites can share a server. The timeout is two seconds unless
    the URL sets another.
    """

    def __init__(self, URL: str, PREFIX: str = "cache_monitor") -> None:
        self._connect = make_client(URL)
        self._prefix = PREFIX
        self._client: Any = None

    def put(self, rows: Sequence[Row], now: int) -> None:
        kinds: defaultdict[Kind, list[Row]] = defaultdict(list)
        for row in rows:
            kinds[row.kind].append(row)
        for of_kind in kinds.values():
            for at in range(0, len(of_kind), _WRITE_CHUNK):
                self.replace((), of_kind[at : at + _WRITE_CHUNK], now)

    def read(
        self,
        kind: Kind,
        since: int,
        until: int,
        alias: str | None,
        *,
        seconds: int | None = None,
        of_processes: bool = False,
    ) -> Iterable[Row]:
        with self._server() as client:
            rows: list[Row] = []
            for _ in range(_READS):
                found = client.zrangebyscore(self._index(kind, "start"), since, f"({until}")
                wanted = [
                    (member, name)
                    for member, name in _named(found)
                    if alias in (None, name[3])
                    and seconds in (None, name[1])
                    and (name[2] or not of_processes)
                ]
                rows = list(self._rows(client, kind, wanted))
                if len(rows) == len(wanted):
                    break
                # Missing ones were merged meanwhile into a new row, or have expired.
            return rows

    def _rows(
        self, client: Any, kind: Kind, wanted: Sequence[tuple[bytes, _Member]]
    ) -> Iterator[Row]:
        for at in range(0, len(wanted), _READ_CHUNK):
            chunk = wanted[at : at + _READ_CHUNK]
            payloads = client.mget([self._key(kind, member) for member, _ in chunk])
            for (_, (start, length, process, alias)), payload in zip(chunk, payloads, strict=True):
                if payload is not None:  # expired, and not yet pruned from the indexes
                    yield Row(kind, process, alias, start, length, payload)

    def replace(self, remove: Sequence[Row], add: Sequence[Row], now: int) -> None:
        if not remove and not add:
            return
        kind = (*remove, *add)[0].kind
        old = [_member(row) for row in remove]
        new = [(_member(row), row.start, row.payload) for row in add]
        keys = [self._key(kind, member) for member in (*old, *(each[0] for each in new))]
        indexes = [self._index(kind, "start"), self._index(kind, "written")]
        keep = int(get_conf().retention) + _PRUNE_INTERVAL
        arguments = [now, keep, len(old), *old, *(part for each in new for part in each)]
        with self._server() as client:
            client.eval(_REPLACE, len(keys) + 2, *indexes, *keys, *arguments)

    def prune(self, before: int) -> int:
        with self._server() as client:
            return sum(self._prune(client, kind, before) for kind in _KINDS)

    def _prune(self, client: Any, kind: Kind, before: int) -> int:
        by_start, by_write = self._index(kind, "start"), self._index(kind, "written")
        old = client.zrangebyscore(by_write, "-inf", f"({before}")
        for at in range(0, len(old), _READ_CHUNK):
            chunk = old[at : at + _READ_CHUNK]
            # A row written just now comes back with the next write of its process.
            client.delete(*(self._key(kind, member) for member in chunk))
            client.zrem(by_start, *chunk)
            client.zrem(by_write, *chunk)
        return len(old)

    def lock(self, name: str, seconds: int, now: int) -> bool:
        with self._server() as client:
            return bool(client.set(f"{self._prefix}:lock:{name}", now, nx=True, px=1000 * seconds))

    def _key(self, kind: Kind, member: bytes) -> bytes:
        return b"%b:row:%b" % (self._slot(kind).encode(), member)

    def _index(self, kind: Kind, by: str) -> str:
        return f"{self._slot(kind)}:{by}"

    def _slot(self, kind: Kind) -> str:
        # The braces keep the keys of a kind on one node of a cluster, for the script.
        return f"{{{self._prefix}:{kind}}}"

    @contextmanager
    def _server(self) -> Iterator[Any]:
        try:
            if self._client is None:
                self._client = self._connect()
            yield self._client
        except UNUSABLE as error:
            raise StoreError(
                "The Redis of CACHE_MONITOR['STORE'] does not serve the cache monitor "
                f"({type(error).__name__}): {advice(error, _FAULTS, _UNKNOWN_FAULT)}."
            ) from error


def _member(row: Row) -> bytes:
    return msgspec.json.encode((row.start, row.seconds, row.process, row.alias))


_decoder: msgspec.json.Decoder[_Member] = msgspec.json.Decoder(_Member)


def _named(members: Iterable[bytes]) -> Iterator[tuple[bytes, _Member]]:
    for member in members:
        with suppress(msgspec.DecodeError):  # none that this store has written
            yield member, _decoder.decode(member)
