"""A store in the project's database: the default, because every project has one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.core.exceptions import ImproperlyConfigured
from django.db import Error, OperationalError, ProgrammingError, connections, router
from django.utils.connection import ConnectionDoesNotExist

from cache_monitor.models import Window
from cache_monitor.stores.base import Kind, Row, StoreError

_CHUNK = 2000


class DatabaseStore:
    """Keeps rows in the table of :class:`cache_monitor.models.Window`.

    ``DATABASE`` names another alias of ``DATABASES`` than the one that the routers choose.
    """

    def __init__(self, DATABASE: str | None = None) -> None:
        self._database = DATABASE

    def put(self, rows: Sequence[Row], now: int) -> None:
        """Write ``rows``, replacing those of the same name."""
        using = self._database or router.db_for_write(Window)
        records = [
            Window(
                kind=row.kind,
                process=row.process,
                cache=row.alias,
                start=row.start,
                seconds=row.seconds,
                written_at=now,
                payload=row.payload,
            )
            for row in rows
        ]
        with _store_errors(using):
            has_target = connections[using].features.supports_update_conflicts_with_target
            Window.objects.using(using).bulk_create(
                records,
                update_conflicts=True,
                update_fields=["payload", "written_at"],
                # MySQL finds the conflict by itself and refuses to be told.
                unique_fields=_IDENTITY if has_target else None,
            )

    def read(self, kind: Kind, since: int, until: int, alias: str | None) -> Iterator[Row]:
        """The rows that begin at or after ``since`` and before ``until``, of one alias or all."""
        using = self._database or router.db_for_read(Window)
        found = Window.objects.using(using).filter(kind=kind, start__gte=since, start__lt=until)
        if alias is not None:
            found = found.filter(cache=alias)
        columns = found.values_list("process", "cache", "start", "seconds", "payload")
        with _store_errors(using):
            for process, cache, start, seconds, payload in columns.iterator(_CHUNK):
                yield Row(kind, process, cache, start, seconds, bytes(payload))

    def prune(self, before: int) -> int:
        """Remove what was last written before ``before``; how many rows went."""
        using = self._database or router.db_for_write(Window)
        with _store_errors(using):
            # One statement: a queryset's delete() would load the rows to find what hangs on them.
            found = Window.objects.using(using).filter(written_at__lt=before)
            return found._raw_delete(using)


_IDENTITY = ["kind", "process", "cache", "start", "seconds"]


@contextmanager
def _store_errors(using: str) -> Iterator[None]:
    try:
        yield
    except (ImproperlyConfigured, ConnectionDoesNotExist) as error:
        raise StoreError(
            "The project has no database for the cache monitor: add one to DATABASES, or set "
            "CACHE_MONITOR['STORE'] to another store."
        ) from error
    except (OperationalError, ProgrammingError) as error:
        if _table_is_missing(using):
            raise StoreError(
                f"The cache monitor's table is missing in the database {using!r}: "
                "run manage.py migrate."
            ) from error
        raise _unusable(using, error) from error
    except Error as error:
        raise _unusable(using, error) from error


def _unusable(using: str, error: Exception) -> StoreError:
    # Only the type: a driver's message can quote hosts, users and statements.
    return StoreError(
        f"The database {using!r} does not take the cache monitor's statistics "
        f"({type(error).__name__}): see whether it is up and writable."
    )


def _table_is_missing(using: str) -> bool:
    try:
        return Window._meta.db_table not in connections[using].introspection.table_names()
    except Error:
        return False
