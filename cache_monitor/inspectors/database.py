"""Look into a DatabaseCache: its table, read in pieces in the order of its keys."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from django.core.cache.backends.db import BaseDatabaseCache
from django.db import DatabaseError, connections, models, router
from django.utils import timezone

from cache_monitor.inspectors.ownkeys import key_form
from cache_monitor.inspectors.snapshot import Snapshot
from cache_monitor.inspectors.tally import Entry, Tally, share
from cache_monitor.inspectors.terms import CannotLook, Terms, described

_ROWS_AT_ONCE = 1000
# "Never" is stored as the last moment that a datetime knows.
_YEAR_OF_NO_EXPIRY = 9999


class _Row(NamedTuple):
    """A row of a cache table."""

    stored: str
    size: int
    expires: datetime

    def entry(self, key: str) -> Entry:
        if self.expires.year >= _YEAR_OF_NO_EXPIRY:
            return Entry(key, self.size, no_expiry=True)
        now = timezone.now() if timezone.is_aware(self.expires) else datetime.now()  # noqa: DTZ005
        return Entry(key, self.size, expires_in=(self.expires - now).total_seconds())


class _Table:
    """The table of a DatabaseCache, on the connection that the router gives for reading it."""

    def __init__(self, cache: Any) -> None:
        self._connection: Any = connections[router.db_for_read(cache.cache_model_class)]
        quoted = self._connection.ops.quote_name
        self._name, self._key = quoted(cache._table), quoted("cache_key")
        # PostgreSQL knows the octets of a large value without fetching it.
        length = "OCTET_LENGTH" if self._connection.vendor == "postgresql" else "LENGTH"
        self._columns = f"{self._key}, {length}({quoted('value')}), {quoted('expires')}"
        expression: Any = models.Expression(output_field=models.DateTimeField())
        self._expression = expression
        self._converters = [
            *self._connection.ops.get_db_converters(expression),
            *expression.get_db_converters(self._connection),
        ]

    def count(self) -> int:
        """How many rows there are, of whatever alias."""
        (row,) = self._fetch(f"SELECT COUNT(*) FROM {self._name}")  # noqa: S608 (quoted)
        return int(row[0])

    def rows(self, limit: int) -> Iterator[_Row]:
        """At most ``limit`` rows."""
        last: list[str] = []
        while limit > 0:
            asked = min(limit, _ROWS_AT_ONCE)
            rows = self._after(last, asked)
            yield from rows
            if len(rows) < asked:
                return
            limit -= asked
            last = [rows[-1].stored]

    def _after(self, last: list[str], limit: int) -> list[_Row]:
        where = f"WHERE {self._key} > %s" if last else ""
        ops = self._connection.ops
        sql = (
            f"SELECT {self._columns} FROM {self._name} {where}"  # noqa: S608 (quoted)
            f" ORDER BY {self._key} {ops.limit_offset_sql(0, limit)}"
        )
        rows = self._fetch(sql, last)
        return [_Row(key, size, self._moment(expires)) for key, size, expires in rows]

    def _fetch(self, sql: str, params: list[str] | None = None) -> list[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, params or [])
            return list(cursor.fetchall())

    def _moment(self, expires: Any) -> datetime:
        for convert in self._converters:
            expires = convert(expires, self._expression, self._connection)
        moment: datetime = expires
        return moment


def inspect_database(cache: BaseDatabaseCache, terms: Terms) -> Snapshot:
    """What ``cache``'s table holds of this alias; an entry's size is that of its stored text.

    Leaves the connection open: the caller knows what else its thread does with it.
    """
    try:
        return _inspect(cache, terms)
    except DatabaseError as error:
        raise CannotLook(
            f"{described(error)}: the cache table cannot be read"
            " (manage.py createcachetable makes it)"
        ) from error


def _inspect(cache: BaseDatabaseCache, terms: Terms) -> Snapshot:
    table, form = _Table(cache), key_form(cache)
    tally = Tally(terms, {"expired", "no_expiry"})
    total, seen = table.count(), 0
    for row in table.rows(terms.limit):
        seen += 1
        if (key := form.user_key(row.stored)) is not None:
            tally.add(row.entry(key))
        if seen < total and terms.spent(seen):
            break
    else:
        # The rows ran out, unless it was the limit that ended them.
        total = seen if seen < terms.limit else total
    return tally.snapshot("shared", share(tally.looked_at, seen, total))
