"""A database connection of the monitor's own, beside those of the site."""

from typing import Any

from django.db import connections

from cache_monitor.stores.opening import is_testing

_SECONDS = 5
"""How long a server of MySQL may take for an answer; of others it is said with the statement."""


def own_connection(using: str) -> Any:
    """A new connection to the database ``using``, for whoever asks to use and to close.

    It is in no transaction of the site's and comes from no pool of the site's, which may have a
    single connection. Where the database is in the memory of the process, and in a transaction
    that a test is run in, there is nothing to be seen from outside: then it is Django's own, see
    :func:`is_own`. Nothing connects before it is used.
    """
    shared = connections[using]
    if not _can_be_another(shared):
        return shared
    options = dict(shared.settings_dict.get("OPTIONS") or {})
    options.pop("pool", None)
    if shared.vendor == "mysql":
        options.setdefault("read_timeout", _SECONDS)
    settings = {**shared.settings_dict, "OPTIONS": options, "CONN_MAX_AGE": 0}
    return type(shared)(settings, alias=using)


def is_own(connection: Any) -> bool:
    """Whether ``connection`` is none that the site uses."""
    return connection is not connections[connection.alias]


def _can_be_another(shared: Any) -> bool:
    if shared.vendor == "sqlite" and shared.is_in_memory_db():
        return False
    return not (shared.in_atomic_block and is_testing())
