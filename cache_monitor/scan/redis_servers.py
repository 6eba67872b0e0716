"""The Redis servers behind a cache, each asked over a connection of the scan's own.

The connection is of the client library's class, which can connect, log in, pack commands and parse
replies. The library's clients and pipelines are not used: tracing tools instrument them.
"""

import sys
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple, cast
from zlib import crc32

from cache_monitor.scan.base import BoundedSocket, Bounds, ScanError, parse_count

_UNUSED_OPTIONS = ("maint_", "himport_", "orig_", "event_", "cache_", "retry", "health_check")
"""Beginnings of the names of connection options that a scan does not use."""


class Refusal(str):
    """The server's reason for not doing what it was asked."""

    __slots__ = ()

    @property
    def code(self) -> str:
        """Such as NOPERM."""
        kind, _, text = self.partition(" ")
        first = text.partition(" ")[0][:20]
        # The library removes the codes that it knows.
        return first if first.isupper() else _CODES.get(kind, kind)


_CODES = {"NoPermissionError": "NOPERM", "AuthenticationError": "NOAUTH", "ResponseError": "ERR"}


Reply = Any
"""An int, bytes, a list of replies, None, or a :class:`Refusal`."""


class Server:
    """A server, by the ``connection_class`` and ``settings`` of the site's pool.

    Its methods raise ``OSError``, the library's errors and :class:`ScanError`.
    """

    def __init__(
        self, connection_class: type[Any], settings: Mapping[str, Any], bounds: Bounds
    ) -> None:
        given = {
            name: value
            for name, value in settings.items()
            if value is not None and not name.startswith(_UNUSED_OPTIONS)
        }
        place = given.get("path") or f"{given.get('host')}:{given.get('port')}"
        self.number = crc32(str(place).encode())
        """Identifies the server in all processes, whatever its place in a list."""
        self.database = int(given.get("db") or 0)
        bounded = _bounded(cast("Hashable", connection_class))
        own = {"decode_responses": False, "protocol": 2, "scan_bounds": bounds}
        self._connection = bounded(**{**given, **own})

    def ask(self, command: str, *arguments: str | bytes | int) -> Reply:
        """The reply to ``command``; raises :class:`ScanError` where the server refuses."""
        (reply,) = self.exchange([(command, *arguments)])
        if isinstance(reply, Refusal):
            raise ScanError(f"The server refuses {command} ({reply.code}).")
        return reply

    def exchange(self, commands: Sequence[Sequence[str | bytes | int]]) -> list[Reply]:
        """The replies to ``commands``, which are sent at once."""
        try:
            self._connection.send_packed_command(self._connection.pack_commands(commands))
            return [self._reply() for _ in commands]
        except BaseException:
            # The rest of this answer would be taken for the next one.
            self.close()
            raise

    def _reply(self) -> Reply:
        try:
            return self._connection.read_response(disable_decoding=True)
        except Exception as error:
            # By its name, because there are several libraries.
            if "ResponseError" in {each.__name__ for each in type(error).__mro__}:
                return Refusal(f"{type(error).__name__} {error}")
            raise

    def close(self) -> None:
        self._connection.disconnect()


def server_of(client: Any, bounds: Bounds) -> Server:
    """The server of a library's client; the client itself is not used."""
    pool = client.connection_pool
    return Server(pool.connection_class, pool.connection_kwargs, bounds)


@cache
def _bounded(connection_class: Any) -> Any:
    """A subclass of ``connection_class`` that keeps within the bounds of a scan from the first
    byte on."""

    class Bounded(connection_class):  # type: ignore[misc] # a class of any of the libraries
        socket_connect_timeout: float | None

        def __init__(self, *args: Any, scan_bounds: Bounds, **kwargs: Any) -> None:
            self._scan_bounds = scan_bounds
            super().__init__(*args, **kwargs)
            # Servers before 7.2 refuse to be told the library's name, and count that as an error.
            self.driver_info = self.lib_name = self.lib_version = None

        def _connect(self) -> Any:
            self._scan_bounds.begin()
            # Beside the site's own settings: these are for people who wait.
            self.socket_connect_timeout = self._scan_bounds.seconds(self.socket_connect_timeout)
            return BoundedSocket(super()._connect(), self._scan_bounds)

    return Bounded


class Node(NamedTuple):
    """Servers with the same keys. ``readers`` are all that reads go to: among them they know when a
    key was last used. None where not all can be asked."""

    primary: Server
    readers: list[Server]

    @property
    def scan_order(self) -> list[Server]:
        """The servers that can list the keys, replicas first: the primary has more to do."""
        replicas = [each for each in self.readers if each is not self.primary]
        return [*replicas, self.primary]


class Servers(NamedTuple):
    """The nodes that a cache's keys are spread over, and which of them a stored key is on."""

    nodes: list[Node]
    node_of: Callable[[str], Node]

    def close(self) -> None:
        for node in self.nodes:
            for server in node.scan_order:
                server.close()


def of_django(cache: Any, bounds: Bounds) -> Servers:
    """Of Django's own backend: it writes to the first server and reads from any other."""
    return _of_pools(cache._cache, bounds)


def _of_pools(client: Any, bounds: Bounds) -> Servers:
    # The pools that the backend has or would make; nothing connects.
    pools = [
        client._pools[index]
        if index in client._pools
        else client._pool_class.from_url(url, **client._pool_options)
        for index, url in enumerate(client._servers)
    ]
    return _replicated(
        [Server(each.connection_class, each.connection_kwargs, bounds) for each in pools]
    )


def of_cachex(cache: Any, bounds: Bounds) -> Servers:
    """Of django-cachex, as far as its servers are not the same as of Django's own backend."""
    client = cache._cache if hasattr(cache, "_cache") else cache.adapter
    # Where it keeps copies in the process, they are in front of it.
    client = getattr(client, "_inner", client)
    bases = {each.__name__ for each in type(client).__mro__}
    if bases & {"KeyValueClusterCacheClient", "ValkeyPyClusterAdapter"}:
        library = sys.modules[client._cluster_class.__module__.partition(".")[0]]
        options = {**client._pool_options}
        options.pop("parser_class", None)
        return _cluster(library, client._servers[0], options, bounds)
    if bases & {"KeyValueSentinelCacheClient", "ValkeyPySentinelAdapter"}:
        return _behind_sentinels(client.get_client(write=False), bounds)
    return _of_pools(client, bounds)


def of_django_redis(cache: Any, bounds: Bounds) -> Servers:
    """Of django-redis or django-valkey, with any of their clients."""
    client = cache.client
    bases = {each.__name__ for each in type(client).__mro__}
    if "ShardClient" in bases:
        return _sharded(client, bounds)
    if "DefaultClusterClient" in bases:
        library = sys.modules["valkey"]
        return _cluster(library, client._server[0], _cluster_options(client), bounds)
    # A client that the cache has, or one like it.
    servers = [
        client.connect(index) if each is None else each
        for index, each in enumerate(client._clients)
    ]
    if "SentinelClient" in bases:
        return _behind_sentinels(servers[-1], bounds)
    return _replicated([server_of(each, bounds) for each in servers])


def _replicated(servers: list[Server]) -> Servers:
    node = Node(servers[0], servers[1:] or servers)
    return Servers([node], lambda _: node)


def _sharded(client: Any, bounds: Bounds) -> Servers:
    by_name = {}
    known = client._serverdict if hasattr(client, "_serverdict") else client._server_dict
    for name, each in known.items():
        own = server_of(each, bounds)
        by_name[name] = Node(own, [own])
    return Servers(list(by_name.values()), lambda stored: by_name[client.get_server_name(stored)])


def _behind_sentinels(reader: Any, bounds: Bounds) -> Servers:
    """Behind Sentinels, which know the primary and the replicas that reads go to.

    A replica that does not answer is included: it may have seen reads that no other has.
    """
    pool = reader.connection_pool
    sentinels = [server_of(each, bounds) for each in pool.sentinel_manager.sentinels]
    try:
        primary = _primary(sentinels, pool.service_name)
        replicas = [] if pool.is_master else _replicas(sentinels, pool.service_name)
    finally:
        for each in sentinels:
            each.close()
    # The pool's own class asks the Sentinels where to connect to.
    names = {"Connection", "SSLConnection"}
    plain = next(each for each in pool.connection_class.__mro__ if each.__name__ in names)
    settings = {**pool.connection_kwargs}
    settings.pop("connection_pool", None)
    return _replicated(
        [
            Server(plain, {**settings, "host": host, "port": port}, bounds)
            for host, port in (primary, *replicas)
        ]
    )


_Address = tuple[str, int]


def _primary(sentinels: list[Server], service: str) -> _Address:
    """The address of the primary, up or down: its replicas may answer."""
    failure: Exception | None = None
    for sentinel in sentinels:
        try:
            reply = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
            if reply is not None:
                return _address(*reply)
        except Exception as error:
            failure = failure or error
    raise failure or ScanError("No Sentinel knows a primary of that name.")


def _replicas(sentinels: list[Server], service: str) -> list[_Address]:
    """The addresses of the replicas, those that are up first, in a stable order."""
    living: set[_Address] = set()
    known: set[_Address] = set()
    for sentinel in sentinels:
        with suppress(Exception):
            for reply in sentinel.ask("SENTINEL", "SLAVES", service):
                fields = dict(zip(reply[::2], reply[1::2], strict=True))
                address = _address(fields[b"ip"], fields[b"port"])
                known.add(address)
                if not _DOWN & set(fields[b"flags"].split(b",")):
                    living.add(address)
    return [*sorted(living), *sorted(known - living)]


_DOWN = {b"s_down", b"o_down", b"disconnected"}


def _address(host: bytes, port: object) -> _Address:
    return host.decode(), parse_count(port, 65535)


def _cluster_options(client: Any) -> dict[str, Any]:
    given = client.connection_factory.make_connection_params(None)
    more = client.connection_factory.base_client_cls_kwargs
    return {name: value for name, value in {**given, **more}.items() if name in _CLUSTER_OPTIONS}


_ANY_REPLICA = {"read_from_replicas", "load_balancing_strategy"}
"""Options by which reads go to replicas."""
_CLUSTER_OPTIONS = {"username", "password", "socket_timeout", "socket_connect_timeout"}
_CLUSTER_OPTIONS |= {"ssl_ca_certs", *_ANY_REPLICA}


def _cluster(library: Any, url: str, options: dict[str, Any], bounds: Bounds) -> Servers:
    """The primaries of a cluster, as the server at ``url`` knows them."""
    pool = library.ConnectionPool.from_url(url, **options)
    plain, settings = pool.connection_class, {**pool.connection_kwargs}
    # The primaries alone are asked, and do not know of uses on a replica.
    knows_uses = not [name for name in _ANY_REPLICA if settings.pop(name, None)]
    asked = Server(plain, settings, bounds)
    try:
        ranges = [_range(reply) for reply in asked.ask("CLUSTER", "SLOTS")]
    finally:
        asked.close()
    if not ranges:
        raise ScanError("The cluster has no servers for its keys.")
    nodes: dict[_Address, Node] = {}
    for _, _, (host, port) in ranges:
        # A server that does not know its own name leaves it out.
        address = host or settings["host"], port
        if address not in nodes:
            own = Server(plain, {**settings, "host": address[0], "port": port}, bounds)
            nodes[address] = Node(own, [own] if knows_uses else [])
    key_slot = library.crc.key_slot

    def node_of(stored: str) -> Node:
        slot = key_slot(stored.encode())
        for first, last, (host, port) in ranges:
            if first <= slot <= last:
                return nodes[host or settings["host"], port]
        raise ScanError("The cluster has no server for that key.")

    return Servers(list(nodes.values()), node_of)


_SLOTS = 16384


def _range(reply: Iterable[Any]) -> tuple[int, int, _Address]:
    first, last, primary, *_ = reply
    return (
        parse_count(first, _SLOTS),
        parse_count(last, _SLOTS),
        _address(primary[0] or b"", primary[1]),
    )
