"""A connection to one of Django's databases, held while it is used, its errors put in words."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from threading import local
from typing import Any

from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db import DEFAULT_DB_ALIAS, Error, NotSupportedError, ProgrammingError, connections
from django.db.transaction import atomic
from django.utils.connection import ConnectionDoesNotExist

from cache_monitor.models import Window
from cache_monitor.stores.base import StoreBusyError, StoreError
from cache_monitor.stores.faults import Fault, advice
from cache_monitor.stores.ownconnection import is_own, own_connection

_LOCKED = Fault(
    ("locked", "lock timeout", "lock wait timeout"),
    "another connection has locked it, so let that one end, or give the monitor a database "
    "of its own with the store's DATABASE option",
)
_FAULTS = (
    _LOCKED,
    Fault(
        ("disk is full", "disk full", "no space left", "could not extend file", "is full"),
        "its disk is full, so free some space there",
    ),
    Fault(
        ("password", "access denied"),
        "it refuses the user or the password, so correct them in DATABASES",
    ),
    Fault(
        ("readonly", "read-only", "read only"),
        "it is read-only, so name one that can be written to with the store's DATABASE option",
    ),
)
_UNKNOWN_FAULT = "see whether it is up and can be written to"


class _Held(local):
    """The connections of this thread's sessions, by alias; None where there is none yet."""

    def __init__(self) -> None:
        self.connections: dict[str, Any] = {}


_held = _Held()


@contextmanager
def session(using: str) -> Iterator[None]:
    """Let all uses in this thread, as long as it lasts, share one connection: a roll-up takes
    dozens of statements."""
    if using in _held.connections:
        yield
        return
    _held.connections[using] = None
    try:
        yield
    finally:
        connection = _held.connections.pop(using)
        if connection is not None:
            _close(connection)


@contextmanager
def using_database(using: str) -> Iterator[None]:
    """Around a read or a write: the database is asked through a connection of the monitor's own,
    which nobody else waits for and no transaction of the site's is in."""
    with _store_errors(using):
        shared = connections[using]
        connection = _held.connections.get(using) or own_connection(using)
        if connection is shared:
            # A failed statement spoils the transaction around it, which is a test's.
            with atomic(using) if connection.in_atomic_block else nullcontext():
                yield
            return
        # For this thread alone, in which nothing of the site's goes on meanwhile.
        connections[using] = connection
        is_kept = False
        try:
            yield
            is_kept = using in _held.connections and not connection.errors_occurred
        finally:
            connections[using] = shared
            if using in _held.connections:
                _held.connections[using] = connection if is_kept else None
            if not is_kept:
                _close(connection)


def _close(connection: Any) -> None:
    # What a broken connection says when it is closed is of no interest.
    with suppress(Exception):
        connection.close()


@contextmanager
def _store_errors(using: str) -> Iterator[None]:
    try:
        yield
    except (StoreError, SynchronousOnlyOperation):
        raise
    except (ImproperlyConfigured, ConnectionDoesNotExist, NotSupportedError) as error:
        # Without DATABASES Django has a database that supports nothing.
        raise StoreError(
            "The project has no database for the cache monitor: add one to DATABASES, or set "
            "CACHE_MONITOR['STORE'] to another store."
        ) from error
    except Exception as error:
        # Drivers, poolers and their libraries raise errors that Django does not know.
        if isinstance(error, Error) and _table_is_missing(using, error):
            raise StoreError(
                f"The cache monitor's table is missing in the database {using!r}: "
                f"run manage.py migrate{_option(using)}."
            ) from error
        what_to_do = advice(error, _FAULTS, _UNKNOWN_FAULT)
        kind = StoreBusyError if what_to_do == _LOCKED.advice else StoreError
        raise kind(
            f"The database {using!r} does not take the cache monitor's statistics "
            f"({type(error).__name__}): {what_to_do}."
        ) from error


def _option(using: str) -> str:
    return "" if using == DEFAULT_DB_ALIAS else f" --database={using}"


def _table_is_missing(using: str, error: Error) -> bool:
    # Not after every error: a server that does not answer would be waited for once more.
    if not isinstance(error, ProgrammingError) and "no such table" not in str(error):
        return False
    connection = own_connection(using)
    try:
        return Window._meta.db_table not in connection.introspection.table_names()
    except Error:
        return False
    finally:
        if is_own(connection):
            _close(connection)
