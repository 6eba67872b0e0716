"""The backends that the tour shows, one alias each, and what they need."""

from __future__ import annotations

from config.servers import SERVERS
from django.conf import settings

from shop.tour import Backend

BACKENDS = {
    backend.alias: backend
    for backend in (
        Backend("default", "Local memory", "The process's own memory: fastest, shared by nobody."),
        Backend(
            "files", "Files", "A file per entry: survives a restart, slow when there are many."
        ),
        Backend("database", "Database", "A table made by createcachetable: no server to run."),
        Backend(
            "redis", "Redis, django-redis", "Shared by all processes and hosts.", server="redis"
        ),
        Backend(
            "redis-builtin",
            "Redis, Django's own",
            "The same server without another package, under a prefix of its own.",
            server="redis",
        ),
        Backend(
            "memcached",
            "memcached",
            "PyMemcacheCache: shared, bounded memory, no disk.",
            server="memcached",
        ),
        Backend("dummy", "Dummy", "Takes everything and keeps nothing: for development."),
    )
}


def is_away(backend: Backend) -> bool:
    """Whether the backend's server is not there, or was not when the settings were read."""
    if not backend.server:
        return False
    return backend.alias not in settings.CACHES or not SERVERS[backend.server].answers()
