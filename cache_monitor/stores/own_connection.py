"""A database connection of the monitor's own, beside those of the site."""

from typing import Any

from django.db import connections

from cache_monitor.stores.opening import is_testing

_SECONDS = 5
"""How long MySQL may take for an answer; other servers have statement timeouts."""


def own_connection(using: str) -> Any:
    """A new connection to the database ``using``, not yet connected; the caller closes it.

    It is in no transaction of the site's and comes from no pool. Where no second connection sees
    the data, in a database in memory or a test's transaction, it is Django's: see :func:`is_own`.
    """
    shared: Any = connections[using]
    in_memory = shared.vendor == "sqlite" and shared.is_in_memory_db()
    if in_memory or (shared.in_atomic_block and is_testing()):
        return shared
    options = dict(shared.settings_dict.get("OPTIONS") or {})
    options.pop("pool", None)
    if shared.vendor == "mysql":
        options.setdefault("read_timeout", _SECONDS)
    settings = {**shared.settings_dict, "OPTIONS": options, "CONN_MAX_AGE": 0}
    return type(shared)(settings, alias=using)


def is_own(connection: Any) -> bool:
    """Whether ``connection`` is the monitor's own."""
    return connection is not connections[connection.alias]
