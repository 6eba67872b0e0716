"""One Redis server, asked over a connection of the look's own.

The connection is the client library's, which knows how to reach the server, to log in, and to read
what it replies. It is used without the library's clients and pipelines: those are what tracing
tools instrument, so a look would stand in the site's traces; and they take more than three times
as long for each of maybe a million keys.
"""

from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from typing import Any, cast
from zlib import crc32

from cache_monitor.inspectors.bounds import BoundedSocket, Bounds
from cache_monitor.inspectors.terms import CannotLook

_NOT_OURS = ("maint_", "himport_", "orig_", "event_", "cache_", "retry", "health_check")
"""Beginnings of what a pool tells its connections for uses that a look has not."""


class Refusal(str):
    """The server's reason for not doing what it was asked."""

    __slots__ = ()

    @property
    def code(self) -> str:
        """Such as NOPERM."""
        kind, _, text = self.partition(" ")
        first = text.partition(" ")[0][:20]
        # The library takes the codes away that it knows.
        return first if first.isupper() else _CODES.get(kind, kind)

    @property
    def is_final(self) -> bool:
        """Whether to ask again is of no use: it is not allowed, not known, or not to be told."""
        return self.code in {"NOPERM", "ERR", "NOAUTH"}


_CODES = {"NoPermissionError": "NOPERM", "AuthenticationError": "NOAUTH", "ResponseError": "ERR"}


Reply = Any
"""An int, bytes, a list of replies, None, or a :class:`Refusal`."""


class Server:
    """The server that ``connection_class`` reaches with ``settings``, as the site's pool has them.

    Its methods raise ``OSError``, what the library makes of it, and :class:`CannotLook`.
    """

    def __init__(
        self, connection_class: type[Any], settings: Mapping[str, Any], bounds: Bounds
    ) -> None:
        given = {
            name: value
            for name, value in settings.items()
            if value is not None and not name.startswith(_NOT_OURS)
        }
        place = given.get("path") or f"{given.get('host')}:{given.get('port')}"
        self.number = crc32(str(place).encode())
        """What to know the server by in another process, where it may stand elsewhere in a list."""
        bounded = _bounded(cast("Hashable", connection_class))
        own = {"decode_responses": False, "protocol": 2, "look_bounds": bounds}
        self._connection = bounded(**{**given, **own})

    def told(self, command: str, *arguments: str | bytes | int) -> Reply:
        """The reply to ``command``; raises :class:`CannotLook` where the server refuses."""
        (reply,) = self.exchange(self._connection.pack_command(command, *arguments), 1)
        if isinstance(reply, Refusal):
            raise CannotLook(f"The server refuses {command} ({reply.code}).")
        return reply

    def exchange(self, packed: Sequence[bytes], count: int) -> list[Reply]:
        """The ``count`` replies to commands that are in the server's protocol already."""
        try:
            self._connection.send_packed_command(packed)
            return [self._reply() for _ in range(count)]
        except BaseException:
            # An answer that was not read to its end would be taken for the next one.
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
        """Hang up."""
        self._connection.disconnect()


def server_of(client: Any, bounds: Bounds) -> Server:
    """The server that a client of a library's asks; the client itself is not used."""
    pool = client.connection_pool
    return Server(pool.connection_class, pool.connection_kwargs, bounds)


@cache
def _bounded(connection_class: Any) -> Any:
    """A connection of that class that keeps to the bounds of a look, from the first byte on."""

    class Bounded(connection_class):  # type: ignore[misc] # a class of whichever library
        socket_connect_timeout: float | None

        def __init__(self, *args: Any, look_bounds: Bounds, **kwargs: Any) -> None:
            self._look_bounds = look_bounds
            super().__init__(*args, **kwargs)

        def _connect(self) -> Any:
            self._look_bounds.begin()
            # Beside the site's own settings: these are for people who wait.
            self.socket_connect_timeout = self._look_bounds.seconds(self.socket_connect_timeout)
            return BoundedSocket(super()._connect(), self._look_bounds)

    return Bounded
