"""Servers that nobody should have to talk to: they lie, dribble, or never come to an end."""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from tests.services import LOOPBACK

Answers = Callable[[list[bytes]], Iterable[bytes] | None]
"""What is sent, piece by piece, in answer to a command; None to say nothing."""


@contextmanager
def hostile_server(
    commands: Callable[[socket.socket], Iterator[list[bytes]]], answers: Answers
) -> Iterator[str]:
    """The address of one, that answers each of the ``commands`` that come."""
    ended = threading.Event()
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError, StopIteration):
            for command in commands(connection):
                for piece in answers(command) or ():
                    if ended.is_set():
                        return
                    connection.sendall(piece)

    def accept(listening: socket.socket) -> None:
        with suppress(OSError):
            while not ended.is_set():
                connection, _ = listening.accept()
                connection.settimeout(30)
                threads.append(threading.Thread(target=serve, args=(connection,), daemon=True))
                threads[-1].start()

    with socket.create_server((LOOPBACK, 0)) as listening:
        acceptor = threading.Thread(target=accept, args=(listening,), daemon=True)
        acceptor.start()
        try:
            yield f"{LOOPBACK}:{listening.getsockname()[1]}"
        finally:
            ended.set()
            # Wakes the one that waits for the next connection.
            with suppress(OSError):
                socket.create_connection(listening.getsockname()).close()
            acceptor.join()
            for thread in threads:
                thread.join()


def redis_commands(connection: socket.socket) -> Iterator[list[bytes]]:
    """The commands of Redis' protocol."""
    with connection.makefile("rb") as lines:
        while head := lines.readline():
            parts = []
            for _ in range(int(head[1:])):
                length = int(lines.readline()[1:])
                parts.append(lines.read(length))
                lines.readline()
            yield parts


def memcached_commands(connection: socket.socket) -> Iterator[list[bytes]]:
    """The commands of memcached's text protocol."""
    with connection.makefile("rb") as lines:
        while line := lines.readline():
            yield line.split()
