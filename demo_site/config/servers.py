"""The cache servers that the demo uses when they are running."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

# Here, while one thread is alone: two threads that first import it at once, each by another of its
# modules as Django and django-redis do, meet it half made.
import redis as _redis  # noqa: F401 - imported for the sake of importing it

CONNECT_TIMEOUT = 0.2


@dataclass(frozen=True)
class CacheServer:
    """Where a cache server is expected, and how to start one there."""

    name: str
    location: str
    host: str
    port: int
    install_command: str
    start_command: str

    def answers(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), timeout=CONNECT_TIMEOUT).close()
        except OSError:
            return False
        return True


def redis_server() -> CacheServer:
    url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/1")
    parts = urlsplit(url)
    port = parts.port or 6379
    return CacheServer(
        name="Redis",
        location=url,
        host=parts.hostname or "127.0.0.1",
        port=port,
        install_command="apt-get install redis-server (or: brew install redis)",
        start_command=f"redis-server --port {port} --save '' --appendonly no",
    )


def memcached_server() -> CacheServer:
    location = os.environ.get("MEMCACHED", "127.0.0.1:11211")
    host, _, port = location.rpartition(":")
    return CacheServer(
        name="memcached",
        location=location,
        host=host,
        port=int(port),
        install_command="apt-get install memcached (or: brew install memcached)",
        start_command=f"memcached -u nobody -l {host} -p {port} -m 64",
    )


SERVERS = {"redis": redis_server(), "memcached": memcached_server()}
