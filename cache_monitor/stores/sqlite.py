"""A store in a SQLite file of its own: the default where the site's database is SQLite.

In the site's file a second writer would make the site's transactions fail: one that has read cannot
wait for another writer, whatever its ``timeout``.
"""

import errno
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import TypeVar

from cache_monitor.stores.base import Kind, Row, RowGone, StoreBusyError, StoreError
from cache_monitor.stores.sqlite_file import OwnFile, gate, is_on_a_network

PATIENCE = 2.0
"""Seconds that it waits for another connection's lock."""
_APPLICATION = 0x43_4D_6F_6E  # "CMon"
_VERSIONS = (
    (
        "CREATE TABLE rows (kind TEXT NOT NULL, process TEXT NOT NULL, alias TEXT NOT NULL,"
        " start INTEGER NOT NULL, seconds INTEGER NOT NULL, written_at INTEGER NOT NULL,"
        " payload BLOB NOT NULL, UNIQUE (kind, start, alias, seconds, process))",
        "CREATE INDEX rows_written ON rows (written_at)",
        "CREATE TABLE locks (name TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID",
    ),
)
"""The statements that upgrade the file to each version, the first from nothing."""
_UPSERT = (
    "INSERT INTO rows (kind, process, alias, start, seconds, payload, written_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (kind, start, alias, seconds, process)"
    " DO UPDATE SET payload = excluded.payload, written_at = excluded.written_at"
)
_DELETE = (
    "DELETE FROM rows WHERE kind = ? AND process = ? AND alias = ? AND start = ? AND seconds = ?"
)
# A later end is from before the clock was set back.
_LOCK = (
    "INSERT INTO locks (name, until) VALUES (:name, :until) ON CONFLICT (name)"
    " DO UPDATE SET until = :until WHERE until <= :now OR until > :until"
)
# PROTOCOL: too many open and close its write-ahead log at once.
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_ADVICE = {
    **dict.fromkeys(_BUSY, "another connection has locked it, so let that one end"),
    sqlite3.SQLITE_FULL: "its disk is full, so free some space there",
    sqlite3.SQLITE_IOERR: "its disk is full or fails, so free some space there or see to it",
}
_NOT_WRITABLE = (
    "it cannot be written to, so let this user write to it and to its folder, or name another "
    "file, CACHE_MONITOR['STORE'] = {'BACKEND': 'cache_monitor.stores.sqlite.SQLiteStore', "
    "'OPTIONS': {'PATH': '/…'}}"
)
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
Result = TypeVar("Result")


class SQLiteStore:
    """Keeps rows in the SQLite file at ``PATH``, which it creates.

    Each use opens and closes the file: so a replaced file is noticed, and no connection outlives a
    fork or is used by two threads.
    """

    def __init__(self, PATH: str | PathLike[str], *, like: Path | None = None) -> None:
        """``PATH`` gets no wider permissions than the file ``like``."""
        path = Path(fspath(PATH))
        if not path.is_absolute():
            raise StoreError(
                f"CACHE_MONITOR['STORE']['OPTIONS']['PATH'] is {fspath(PATH)!r}, which every "
                "process would find somewhere else: write an absolute path."
            )
        self.path = path
        self._file = OwnFile(path, like)
        self._has_mode = False

    def put(self, rows: Sequence[Row], now: int) -> None:
        if rows:
            self._write(lambda connection: _upsert(connection, rows, now))

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
        wanted = "kind = ? AND start >= ? AND start < ?"
        values: list[object] = [kind, since, until]
        for condition, value in (("alias = ?", alias), ("seconds = ?", seconds)):
            if value is not None:
                wanted += f" AND {condition}"
                values.append(value)
        if of_processes:
            wanted += " AND process <> ''"
        query = f"SELECT process, alias, start, seconds, payload FROM rows WHERE {wanted}"  # noqa: S608 - no value

        def select(connection: sqlite3.Connection) -> list[Row]:
            return [Row(kind, *each) for each in connection.execute(query, values)]

        return self._use(select)

    def replace(self, remove: Sequence[Row], add: Sequence[Row], now: int) -> None:

        def swap(connection: sqlite3.Connection) -> None:
            removed = connection.executemany(_DELETE, [row.identity for row in remove])
            if remove and removed.rowcount < len(remove):
                raise RowGone
            _upsert(connection, add, now)

        try:
            self._write(swap)
        except RowGone:
            return

    def prune(self, before: int) -> int:

        def delete(connection: sqlite3.Connection) -> int:
            return connection.execute("DELETE FROM rows WHERE written_at < ?", [before]).rowcount

        removed = self._write(delete)
        if removed:
            # A script: one statement without columns would be run one step, which is a page.
            self._use(lambda connection: connection.executescript("PRAGMA incremental_vacuum"))
        return removed

    def lock(self, name: str, seconds: int, now: int) -> bool:
        values = {"name": name, "until": now + seconds, "now": now}
        return self._write(lambda connection: connection.execute(_LOCK, values).rowcount > 0)

    def _write(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        def whole(connection: sqlite3.Connection) -> Result:
            with _transaction(connection):
                return work(connection)

        return self._use(whole)

    def _use(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Returns what ``work`` does; a damaged file is put aside once, and a new one used."""
        with gate.entered():
            try:
                try:
                    return self._once(work)
                except sqlite3.Error as error:
                    if not (_is_damage(error) and self._file.put_aside()):
                        raise
                return self._once(work)
            except (sqlite3.Error, OSError) as error:
                raise self._refusal(error) from error

    def _once(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        self._file.make()
        with closing(self._connect()) as connection:
            self._prepare(connection)
            result = work(connection)
        self._file.is_known = True
        return result

    def _connect(self) -> sqlite3.Connection:
        # As a URI, because SQLite would create it with its own permissions.
        return sqlite3.connect(
            f"{self.path.as_uri()}?mode=rw", uri=True, timeout=PATIENCE, isolation_level=None
        )

    def _prepare(self, connection: sqlite3.Connection) -> None:
        # There may be no temporary directory.
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA synchronous = NORMAL")
        version = self._version(connection)
        if version < len(_VERSIONS):
            self._upgrade(connection)
        elif not self._has_mode:
            self._set_mode(connection)
        self._has_mode = True

    def _version(self, connection: sqlite3.Connection) -> int:
        """The version of the file, 0 where it is new."""
        # Before the identity: another process sets both in one transaction.
        has_tables = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        [(application, version)] = connection.execute(
            "SELECT application_id, user_version FROM pragma_application_id, pragma_user_version"
        )
        if application == _APPLICATION and version > len(_VERSIONS):
            raise StoreError(
                f"{self.path} is of a newer version of the cache monitor: restart this process "
                "with that one, or remove the file."
            )
        if application == _APPLICATION:
            return int(version)
        if has_tables:
            raise StoreError(
                f"{self.path} is another program's database: name a file of the cache monitor's "
                "own in CACHE_MONITOR['STORE']['OPTIONS']['PATH']."
            )
        return 0

    def _upgrade(self, connection: sqlite3.Connection) -> None:
        # While it is empty: later this would copy the whole file.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self._set_mode(connection)
        with _transaction(connection):
            # Another process may have upgraded it.
            for statements in _VERSIONS[self._version(connection) :]:
                for statement in statements:
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {len(_VERSIONS)}")

    def _set_mode(self, connection: sqlite3.Connection) -> None:
        # A write-ahead log needs memory that hosts do not share.
        mode = "DELETE" if is_on_a_network(self.path) else "WAL"
        connection.execute(f"PRAGMA journal_mode = {mode}").fetchall()

    def _refusal(self, error: sqlite3.Error | OSError) -> StoreError:
        words = _ADVICE.get(_code(error), _NOT_WRITABLE)
        if isinstance(error, sqlite3.Error) and _is_damage(error):
            words = "it is damaged or no database, so remove it, or name another file"
        kind = StoreBusyError if _code(error) in _BUSY else StoreError
        return kind(
            f"The cache monitor's file {self.path} cannot be used ({type(error).__name__}): "
            f"{words}."
        )


def _upsert(connection: sqlite3.Connection, rows: Sequence[Row], now: int) -> None:
    connection.executemany(_UPSERT, [(*row, now) for row in rows])


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    # IMMEDIATE waits for other writers, which is impossible after a read.
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _code(error: sqlite3.Error | OSError) -> int:
    """SQLite's primary code, or 0."""
    if isinstance(error, OSError):
        return sqlite3.SQLITE_FULL if error.errno in {errno.ENOSPC, errno.EDQUOT} else 0
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_damage(error: sqlite3.Error) -> bool:
    # A table that is not there, in a file of this version.
    return _code(error) in _DAMAGE or "no such" in str(error)
