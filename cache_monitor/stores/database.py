"""A store in one of the project's databases."""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from threading import local
from typing import Any

from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db import (
    DEFAULT_DB_ALIAS,
    Error,
    NotSupportedError,
    ProgrammingError,
    connections,
    router,
)
from django.db.models import Q
from django.db.transaction import atomic
from django.utils.connection import ConnectionDoesNotExist

from cache_monitor import context
from cache_monitor.models import Window
from cache_monitor.stores.base import (
    Fault,
    Kind,
    Row,
    RowGone,
    StoreBusyError,
    StoreError,
    advice,
    is_own,
    own_connection,
)

_LOCKED = Fault(
    ("locked", "lock timeout", "lock wait timeout"),
    "another connection has locked it, so let that one end, or give the monitor a database "
    "of its own with the store's DATABASE option",
)
_DISK = "disk is full", "disk full", "no space left", "could not extend file", "is full"
_READ_ONLY = "it is read-only, so name one that can be written to with the store's DATABASE option"
_PASSWORD = "it refuses the user or the password, so correct them in DATABASES"  # noqa: S105
_FAULTS = (
    _LOCKED,
    Fault(_DISK, "its disk is full, so free some space there"),
    Fault(("password", "access denied"), _PASSWORD),
    Fault(("readonly", "read-only", "read only"), _READ_ONLY),
)
_UNKNOWN_FAULT = "see whether it is up and can be written to"


class _Sessions(local):
    """The connections of this thread's sessions, by alias; None where not yet connected."""

    def __init__(self) -> None:
        self.connections: dict[str, Any] = {}


_sessions = _Sessions()


@contextmanager
def using_database(using: str) -> Iterator[None]:
    """Read or write through the monitor's own connection, outside of the site's transactions and
    caches."""
    _leave_out_of_query_caches()
    with _store_errors(using), context.muted():
        shared = connections[using]
        connection = _sessions.connections.get(using) or own_connection(using)
        if connection is shared:
            # A failed statement must not spoil the transaction of a test.
            with atomic(using) if connection.in_atomic_block else nullcontext():
                yield
            return
        # For this thread alone.
        connections[using] = connection
        is_kept = False
        try:
            yield
            is_kept = using in _sessions.connections and not connection.errors_occurred
        finally:
            connections[using] = shared
            if using in _sessions.connections:
                _sessions.connections[using] = connection if is_kept else None
            if not is_kept:
                _close(connection)


def _leave_out_of_query_caches() -> None:
    """Have no query cache keep the monitor's rows: django-cachalot keeps those of every table, in
    the site's own cache, and would give reports old ones."""
    module = sys.modules.get("cachalot.settings")
    if module is not None:
        settings, table = module.cachalot_settings, Window._meta.db_table
        if table not in settings.CACHALOT_UNCACHABLE_TABLES:
            settings.CACHALOT_UNCACHABLE_TABLES = frozenset(
                {*settings.CACHALOT_UNCACHABLE_TABLES, table}
            )


def _close(connection: Any) -> None:
    with suppress(Exception):
        connection.close()


@contextmanager
def _store_errors(using: str) -> Iterator[None]:
    try:
        yield
    except (StoreError, SynchronousOnlyOperation):
        raise
    except (ImproperlyConfigured, ConnectionDoesNotExist, NotSupportedError) as error:
        raise StoreError(
            "The project has no database for the cache monitor: add one to DATABASES, or set "
            "CACHE_MONITOR['STORE'] to another store."
        ) from error
    except Exception as error:
        # Drivers and poolers raise errors that Django does not know.
        if isinstance(error, Error) and _table_is_missing(using, error):
            option = "" if using == DEFAULT_DB_ALIAS else f" --database={using}"
            raise StoreError(
                f"The cache monitor's table is missing in the database {using!r}: "
                f"run manage.py migrate{option}."
            ) from error
        what_to_do = advice(error, _FAULTS, _UNKNOWN_FAULT)
        kind = StoreBusyError if what_to_do == _LOCKED.advice else StoreError
        raise kind(
            f"The database {using!r} does not take the cache monitor's statistics "
            f"({type(error).__name__}): {what_to_do}."
        ) from error


def _table_is_missing(using: str, error: Error) -> bool:
    # After other errors the server may not answer.
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


# Below what SQLite takes as parameters.
_WRITE_CHUNK = 100
# Below what MySQL takes as a packet by default, though each byte may be written as two.
_WRITE_BYTES = 4 * 1024 * 1024
_COLUMNS = ["kind", "process", "cache", "start", "seconds", "payload"]
_LOCK = "lock"
"""The kind of the rows that are locks: ``process`` names the job, ``written_at`` is their end."""


class DatabaseStore:
    """Keeps rows in the table of :class:`cache_monitor.models.Window`.

    ``DATABASE`` names another alias of ``DATABASES`` than the one that the routers choose.

    Each use, or :meth:`session`, has a connection of its own, which comes from no pool. The
    ``OPTIONS`` of that alias set the timeouts; the site does not wait.
    """

    def __init__(self, DATABASE: str | None = None) -> None:
        self._database = DATABASE

    def put(self, rows: Sequence[Row], now: int) -> None:
        using = self._writable
        with using_database(using):
            _upsert(using, rows, now)

    def read(
        self,
        kind: Kind,
        since: int,
        until: int,
        alias: str | None,
        *,
        seconds: int | None = None,
        of_processes: bool = False,
    ) -> Iterable[Row]:
        using = self._database or router.db_for_read(Window)
        found = Window.stored.using(using).filter(kind=kind, start__gte=since, start__lt=until)
        if alias is not None:
            found = found.filter(cache=alias)
        if seconds is not None:
            found = found.filter(seconds=seconds)
        if of_processes:
            found = found.exclude(process="")
        with using_database(using):
            # Some drivers give a memoryview.
            return [
                Row._make((kind, *each, bytes(payload)))
                for *each, payload in found.values_list(*_COLUMNS[1:])
            ]

    def replace(self, remove: Sequence[Row], add: Sequence[Row], now: int) -> None:
        using = self._writable
        with using_database(using), suppress(RowGone), atomic(using):
            if _delete(using, remove) < len(remove):
                raise RowGone
            _upsert(using, add, now)

    def prune(self, before: int) -> int:
        using = self._writable
        with using_database(using):
            # A queryset's delete() would load the rows.
            found = Window.stored.using(using).filter(written_at__lt=before)
            return found._raw_delete(using)

    def lock(self, name: str, seconds: int, now: int) -> bool:
        identity = {"kind": _LOCK, "process": name, "cache": "", "start": 0, "seconds": 0}
        using = self._writable
        with using_database(using):
            windows = Window.stored.using(using)
            # A later end is from before the clock was set back.
            free = windows.filter(**identity).filter(
                Q(written_at__lte=now) | Q(written_at__gt=now + seconds)
            )
            if free.update(written_at=now + seconds):
                return True
            # There may be none yet. Of several processes one update succeeds.
            fresh = Window(**identity, written_at=now, payload=b"")
            windows.bulk_create([fresh], ignore_conflicts=True)
            return bool(free.update(written_at=now + seconds))

    @contextmanager
    def session(self) -> Iterator[None]:
        """Share one connection among the uses in this thread: a roll-up takes dozens of
        statements."""
        using = self._writable
        if using in _sessions.connections:
            yield
            return
        _sessions.connections[using] = None
        try:
            yield
        finally:
            connection = _sessions.connections.pop(using)
            if connection is not None:
                _close(connection)

    @property
    def _writable(self) -> str:
        return self._database or router.db_for_write(Window)


def _upsert(using: str, rows: Sequence[Row], now: int) -> None:
    has_target = connections[using].features.supports_update_conflicts_with_target
    for chunk in _chunks(rows):
        Window.stored.using(using).bulk_create(
            [Window(**dict(zip(_COLUMNS, row, strict=True)), written_at=now) for row in chunk],
            update_conflicts=True,
            update_fields=["payload", "written_at"],
            # MySQL takes no target.
            unique_fields=_COLUMNS[:-1] if has_target else None,
        )


def _chunks(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """``rows`` in as many parts as one statement each can take."""
    chunk: list[Row] = []
    size = 0
    for row in rows:
        if chunk and (len(chunk) >= _WRITE_CHUNK or size + len(row.payload) > _WRITE_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += len(row.payload)
    if chunk:
        yield chunk


def _delete(using: str, rows: Sequence[Row]) -> int:
    """Remove ``rows``; returns how many there were."""
    # Mostly many processes of one bucket, or many buckets of one process: few statements.
    in_common, listed = "start", "process"
    if len({row.process for row in rows}) < len({row.start for row in rows}):
        in_common, listed = listed, in_common
    statements = defaultdict(list)
    for row in rows:
        common = row.kind, row.alias, row.seconds, getattr(row, in_common)
        statements[common].append(getattr(row, listed))
    columns = "kind", "cache", "seconds", in_common
    return sum(
        Window.stored.using(using)
        .filter(**dict(zip(columns, common, strict=True)))
        .filter(**{f"{listed}__in": values[at : at + _WRITE_CHUNK]})
        ._raw_delete(using)
        for common, values in statements.items()
        for at in range(0, len(values), _WRITE_CHUNK)
    )
