"""The Redis servers behind a cache: which hold its keys, which are written to, which are read."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import copy
from functools import cache
from inspect import Parameter, signature
from typing import Any, NamedTuple, cast
from zlib import crc32

PATIENCE = 5.0
"""Seconds that a server may take to answer, where the cache's settings give no limit."""

# Clients are redis.Redis, which this module does without importing.
Client = Any


class Node(NamedTuple):
    """Servers that hold the same keys.

    ``readers`` are all that reads can go to, so that among them they know when a key was last
    used.
    """

    primary: Client
    readers: list[Client]

    @property
    def walkers(self) -> list[Client]:
        """The servers that the keys can be listed on, the one to be asked first in front: a
        replica, where there is one, because the primary has more to do."""
        replicas = [each for each in self.readers if each is not self.primary]
        return [*replicas, self.primary]


def number_of(client: Client) -> int:
    """What to know the server by in another process, where it may stand elsewhere in a list."""
    given = client.connection_pool.connection_kwargs
    place = given.get("path") or f"{given.get('host')}:{given.get('port')}"
    return crc32(place.encode())


class Servers(NamedTuple):
    """The nodes that a cache's keys are spread over, and which of them a stored key is on."""

    nodes: list[Node]
    node_of: Callable[[str], Node]

    def close(self) -> None:
        """Give back the connections."""
        for node in self.nodes:
            for client in node.walkers:
                _hang_up(client)


_OURS = "cache_monitor_looks"


def _hang_up(client: Client) -> None:
    if getattr(client.connection_pool, _OURS, False):
        client.connection_pool.disconnect()


def _private(client: Client) -> Client:
    """A client of the same server with a connection of its own, and an end to its patience: the
    site's pool may be small, and a server that hangs must not stop the counting."""
    pool = client.connection_pool
    return _made_like(client, pool.connection_class, pool.connection_kwargs)


def _made_like(client: Client, connection_class: type[Any], settings: Mapping[str, Any]) -> Client:
    pool = client.connection_pool
    given = {name: each for name, each in settings.items() if each is not None}
    options = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE, **given}
    base = next((each for each in type(pool).__mro__ if each.__name__ == "ConnectionPool"), None)
    if base is None:
        return client
    own = base(connection_class=connection_class, **options)
    setattr(own, _OURS, True)
    return type(client)(connection_pool=own)


@cache
def _wants_name(pool: Any) -> bool:
    """Whether it has to be told what a connection is for, as older versions of the library want,
    while newer ones warn of it."""
    named = signature(pool.get_connection).parameters.get("command_name")
    return named is not None and named.default is Parameter.empty


@contextmanager
def borrowed(client: Client) -> Iterator[Any]:
    """A connection of ``client``'s, hung up where an answer on it was not read to its end."""
    pool = client.connection_pool
    wants_name = _wants_name(cast("Hashable", type(pool)))
    connection = pool.get_connection("MEMORY") if wants_name else pool.get_connection()
    try:
        yield connection
    except BaseException:
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


def of_django(cache: Any) -> Servers:
    """Of Django's own backend: it writes to the first server and reads from any other."""
    client = cache._cache
    return _replicated([_pooled(client, index) for index in range(len(client._servers))])


def _pooled(client: Any, index: int) -> Client:
    """The client of one of the servers, from the pool that the backend has or would make."""
    if index not in client._pools:
        url, options = client._servers[index], client._pool_options
        client._pools[index] = client._pool_class.from_url(url, **options)
    return _private(client._client(connection_pool=client._pools[index]))


def of_django_redis(cache: Any) -> Servers:
    """Of django-redis, with whichever of its clients."""
    client = cache.client
    bases = {each.__name__ for each in type(client).__mro__}
    if "ShardClient" in bases:
        return _sharded(client)
    servers = [_connected(client, index) for index in range(len(client._server))]
    if "SentinelClient" in bases:
        return _watched(servers[-1])
    return _replicated([_private(each) for each in servers])


def _connected(client: Any, index: int) -> Client:
    if client._clients[index] is None:
        client._clients[index] = client.connect(index)
    return client._clients[index]


def _replicated(servers: list[Client]) -> Servers:
    node = Node(servers[0], servers[1:] or servers)
    return Servers([node], lambda _: node)


def _sharded(client: Any) -> Servers:
    by_name = {}
    for name, each in client._serverdict.items():
        own = _private(each)
        by_name[name] = Node(own, [own])
    return Servers(list(by_name.values()), lambda stored: by_name[client.get_server_name(stored)])


def _watched(reader: Client) -> Servers:
    """Behind Sentinels, which tell where the primary is, and the replicas that reads go to.

    One that does not answer is among the replicas too: it knows of reads that no other has seen.
    """
    pool = reader.connection_pool
    sentinels = copy(pool.sentinel_manager)
    sentinels.sentinels = [_private(each) for each in sentinels.sentinels]
    try:
        primary = _primary(sentinels, pool.service_name)
        replicas = [] if pool.is_master else _replicas(sentinels, pool.service_name)
    finally:
        for each in sentinels.sentinels:
            _hang_up(each)
    return _replicated([_at(reader, address) for address in (primary, *replicas)])


_Address = tuple[str, int]


def _primary(sentinels: Any, service: str) -> _Address:
    try:
        host, port = sentinels.discover_master(service)
    except Exception:
        # It is down, and its replicas may be there all the same.
        for sentinel in sentinels.sentinels:
            with suppress(Exception):
                state = sentinel.sentinel_master(service)
                return str(state["ip"]), int(state["port"])
        raise
    return str(host), int(port)


def _replicas(sentinels: Any, service: str) -> list[_Address]:
    """Where the replicas are, those that answer in front; in an order that stays."""
    living = sorted(sentinels.discover_slaves(service))
    known: set[_Address] = set()
    for sentinel in sentinels.sentinels:
        with suppress(Exception):
            known |= {(each["ip"], each["port"]) for each in sentinel.sentinel_slaves(service)}
    return [*living, *sorted(known - set(living))]


def _at(reader: Client, address: _Address) -> Client:
    """A client of the server at ``address``, as ``reader`` would connect to it."""
    pool = reader.connection_pool
    # Its own class asks the Sentinels where to connect to.
    names = {"Connection", "SSLConnection"}
    plain = next(each for each in pool.connection_class.__mro__ if each.__name__ in names)
    settings = {**pool.connection_kwargs, "host": address[0], "port": address[1]}
    settings.pop("connection_pool", None)
    return _made_like(reader, plain, settings)
