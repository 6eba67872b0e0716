"""Scan a DatabaseCache: its table, read in pieces in the order of its keys."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, DatabaseError, models, router, transaction
from django.utils import timezone

from cache_monitor.scan.base import (
    BackendLimits,
    BackendScanner,
    BadCursor,
    Bounds,
    Entry,
    EntryPage,
    ScanError,
    describe_error,
)
from cache_monitor.scan.identity import key_form, stored_key
from cache_monitor.stores.base import is_own, own_connection

_ROWS_AT_ONCE, _ROWS_AT_ONCE_OF_SQLITE = 1000, 100
AFTER_KEY = "after:"
"""How a cursor begins that holds a key, which may be a credential."""
# "Never" is stored as the last moment that a datetime knows.
_YEAR_OF_NO_EXPIRY = 9999


class _Row(NamedTuple):
    """A row of a cache table; None for an expiry that cannot be read."""

    stored: str
    size: int | None
    expires: datetime | None

    def entry(self, key: str, known: bool) -> Entry:
        entry = Entry(key, self.size, known=known, stored=self.stored)
        if self.expires is None:
            return entry
        if self.expires.year >= _YEAR_OF_NO_EXPIRY:
            return entry._replace(no_expiry=True)
        now = timezone.now() if timezone.is_aware(self.expires) else datetime.now()  # noqa: DTZ005 - as the column is
        return entry._replace(expires_in=(self.expires - now).total_seconds())


class DatabaseScanner(BackendScanner):
    """The entries of a DatabaseCache; an entry's size is that of its stored text.

    It reads the table in the database that the router gives for that, over a connection of its own,
    without a transaction between two statements. Statements are short: on SQLite a reader keeps the
    writers waiting.
    """

    def __init__(self, cache: Any, bounds: Bounds) -> None:
        super().__init__(cache, ("expired", "no_expiry"), bounds)
        self._form = key_form(cache)
        using = router.db_for_read(cache.cache_model_class) or DEFAULT_DB_ALIAS
        self._connection: Any = own_connection(using)
        quoted = self._connection.ops.quote_name
        self._table, self._key = quoted(cache._table), quoted("cache_key")
        is_sqlite = self._connection.vendor == "sqlite"
        # PostgreSQL knows the octets of a large value without fetching it. SQLite reads the value.
        length = "OCTET_LENGTH" if self._connection.vendor == "postgresql" else "LENGTH"
        self._rows_at_once = _ROWS_AT_ONCE_OF_SQLITE if is_sqlite else _ROWS_AT_ONCE
        self._columns = f"{self._key}, {length}({quoted('value')}), {quoted('expires')}"
        expression: Any = models.Expression(output_field=models.DateTimeField())
        self._expression = expression
        self._converters = [
            *self._connection.ops.get_db_converters(expression),
            *expression.get_db_converters(self._connection),
        ]

    def close(self) -> None:
        if is_own(self._connection):
            self._connection.close()

    def total(self) -> int:
        """The rows of all aliases."""
        (row,) = self._fetch(f"SELECT COUNT(*) FROM {self._table}")  # noqa: S608 (quoted)
        return int(row[0])

    def pages(self, cursor: str, most: int) -> Generator[EntryPage, None, None]:
        """The entries in the order of their keys; a cursor is the last key before the page."""
        if cursor and not cursor.startswith(AFTER_KEY):
            raise BadCursor
        last = cursor.removeprefix(AFTER_KEY)
        self.page = at_once = min(most, self._rows_at_once)
        following: str | None = cursor
        while following is not None:
            # One row more than is given tells whether there are more.
            rows = self._after(last, at_once + 1)
            if len(rows) > at_once:
                rows.pop()
                last = rows[-1].stored
                following = f"{AFTER_KEY}{last}"
            else:
                following = None
            yield EntryPage([*self._own(rows)], len(rows), following)

    def _own(self, rows: list[_Row]) -> Iterator[Entry]:
        for row in rows:
            key = self._form.user_key(row.stored)
            if key is None:
                continue
            if row.expires is None:
                self.problems["Some rows have an expiry that cannot be read."] = None
            yield row.entry(key, not self._form.opaque)

    def entry(self, key: str, version: int | None) -> Entry | None:
        stored = stored_key(self._cache, key, version)
        sql = f"SELECT {self._columns} FROM {self._table} WHERE {self._key} = %s"  # noqa: S608 (quoted)
        return next((row.entry(key, known=True) for row in self._rows(sql, [stored])), None)

    def limits(self) -> BackendLimits:
        return BackendLimits(limit_entries=self._cache._max_entries)

    def _after(self, last: str, limit: int) -> list[_Row]:
        """At most ``limit`` rows behind the key ``last``; from the first on where it is empty."""
        where = f"WHERE {self._key} > %s" if last else ""
        ops = self._connection.ops
        sql = (
            f"SELECT {self._columns} FROM {self._table} {where}"  # noqa: S608 (quoted)
            f" ORDER BY {self._key} {ops.limit_offset_sql(0, limit)}"
        )
        return self._rows(sql, [last] if last else [])

    def _rows(self, sql: str, params: list[str]) -> list[_Row]:
        rows = self._fetch(sql, params)
        return [_Row(str(key), size, self._moment(expires)) for key, size, expires in rows]

    def _fetch(self, sql: str, params: list[str] | None = None) -> list[Any]:
        self.bounds.begin()
        try:
            with self._statement() as cursor:
                cursor.execute(sql, params or [])
                return list(cursor.fetchall())
        except DatabaseError as error:
            raise ScanError(
                f"{describe_error(error)}: the cache table cannot be read"
                " (manage.py createcachetable makes it)"
            ) from error

    @contextmanager
    def _statement(self) -> Iterator[Any]:
        connection = self._connection
        if not is_own(connection):
            # A failure must not spoil the transaction that is open.
            inside = transaction.atomic(connection.alias) if connection.in_atomic_block else None
            with inside or nullcontext(), connection.cursor() as cursor:
                yield cursor
        elif connection.vendor == "postgresql":
            # For this transaction only: the next one on the same connection of a pooler such as
            # PgBouncer may be the site's.
            connection.set_autocommit(False)
            try:
                with connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL statement_timeout = {self._milliseconds()}")
                    yield cursor
            finally:
                connection.rollback()
                connection.set_autocommit(True)
        else:
            with connection.cursor() as cursor:
                if connection.vendor == "mysql":
                    # The server does not notice that a client has given up.
                    limit = (
                        f"max_statement_time = {self._milliseconds() / 1000}"
                        if connection.mysql_is_mariadb
                        else f"max_execution_time = {self._milliseconds()}"
                    )
                    cursor.execute(f"SET SESSION {limit}")
                yield cursor

    def _milliseconds(self) -> int:
        """The time that a statement has."""
        return max(1, round(self.bounds.seconds() * 1000))

    def _moment(self, expires: Any) -> datetime | None:
        try:
            for convert in self._converters:
                expires = convert(expires, self._expression, self._connection)
        except (ValueError, TypeError, OverflowError, AttributeError):
            # A column of SQLite holds anything.
            return None
        return expires if isinstance(expires, datetime) else None
