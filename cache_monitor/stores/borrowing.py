"""Django's database connections, borrowed: given back in order, their errors put in words."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, Error, NotSupportedError, ProgrammingError, connections
from django.db.transaction import atomic
from django.utils.connection import ConnectionDoesNotExist

from cache_monitor.models import Window
from cache_monitor.stores.base import StoreError
from cache_monitor.stores.faults import Fault, advice
from cache_monitor.stores.surroundings import is_own_thread, is_testing

_FAULTS = (
    Fault(
        ("locked", "lock timeout", "lock wait timeout"),
        "another connection has locked it, so let that one end, or give the monitor a database "
        "of its own with the store's DATABASE option",
    ),
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

KEPT_FOR = 60.0
"""Seconds that the monitor's own thread keeps a connection where ``CONN_MAX_AGE`` says less: it
has no requests between which it could give one back, and a roll-up takes dozens of statements."""


@contextmanager
def writing(using: str) -> Iterator[None]:
    """Around what changes something."""
    with _store_errors(using):
        _give_back(using)
        _keep(using)
        try:
            yield
        finally:
            _give_back(using)


@contextmanager
def reading(using: str) -> Iterator[None]:
    """Around a read, in the monitor's own thread or in one that serves a request."""
    with _store_errors(using):
        _keep(using)
        connection = connections[using]
        ours = connection.connection is None
        try:
            # A failed statement spoils the transaction around it, which may be a request's.
            with atomic(using) if connection.in_atomic_block else nullcontext():
                yield
        finally:
            if ours or connection.errors_occurred:
                _give_back(using)


def _keep(using: str) -> None:
    """In the monitor's own thread, have a connection that works, and have it stay for a while."""
    if not is_own_thread() or is_testing():
        return
    connection = connections[using]
    if connection.connection is not None and not connection.is_usable():
        connection.close()
    if connection.connection is None:
        connection.ensure_connection()
        if connection.close_at is not None:
            connection.close_at = max(connection.close_at, time.monotonic() + KEPT_FOR)


def _give_back(using: str) -> None:
    """Let go of a connection that is broken or too old, as Django does around a request."""
    if not connections[using].in_atomic_block:
        connections[using].close_if_unusable_or_obsolete()


@contextmanager
def _store_errors(using: str) -> Iterator[None]:
    try:
        yield
    except (ImproperlyConfigured, ConnectionDoesNotExist, NotSupportedError) as error:
        # Without DATABASES Django has a database that supports nothing.
        raise StoreError(
            "The project has no database for the cache monitor: add one to DATABASES, or set "
            "CACHE_MONITOR['STORE'] to another store."
        ) from error
    except Error as error:
        if _table_is_missing(using, error):
            raise StoreError(
                f"The cache monitor's table is missing in the database {using!r}: "
                f"run manage.py migrate{_option(using)}."
            ) from error
        raise StoreError(
            f"The database {using!r} does not take the cache monitor's statistics "
            f"({type(error).__name__}): {advice(error, _FAULTS, _UNKNOWN_FAULT)}."
        ) from error


def _option(using: str) -> str:
    return "" if using == DEFAULT_DB_ALIAS else f" --database={using}"


def _table_is_missing(using: str, error: Error) -> bool:
    # Not after every error: a server that does not answer would be waited for once more.
    if not isinstance(error, ProgrammingError) and "no such table" not in str(error):
        return False
    try:
        return Window._meta.db_table not in connections[using].introspection.table_names()
    except Error:
        return False
