"""A store in a SQLite file of its own: the default where the site's database is SQLite.

In the site's file a second writer would make the site's transactions fail: one that has read cannot
wait for another writer, whatever its ``timeout``.

SQLite keeps its locks per process. A child forked during a use takes its parent's locks for its
own, and would write without any; so forks wait for a use to end.
"""

import errno
import logging
import os
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from os import PathLike, fspath
from pathlib import Path
from threading import Lock
from typing import TypeVar

from cache_monitor.stores.base import (
    Kind,
    Row,
    RowGone,
    StoreBusyError,
    StoreError,
    is_on_a_network,
)

logger = logging.getLogger("cache_monitor")

ASIDE_INTERVAL = 60.0
"""Seconds between two damaged files: a second one earlier shows that the disk fails."""
_WIDEST = 0o660
"""The permissions of a file without a ``like``."""
_NEIGHBOURS = ("-wal", "-shm", "-journal")
"""The files of SQLite beside a database."""


class OwnFile:
    """The file at ``path``, with permissions no wider than those of ``like``, if that exists."""

    def __init__(self, path: Path, like: Path | None) -> None:
        self._path = path
        self._like = like
        self.is_known = like is not None
        """Whether it is certainly the monitor's, even if damaged."""
        self._put_aside_at = -ASIDE_INTERVAL
        self._found: tuple[int, int] | None = None

    def make(self) -> None:
        """Create it unless it exists. Raises ``OSError``, also where it is no regular file."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._create()
            found = self._path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{self._path} is no regular file")
        self._narrow(found)
        self._found = found.st_dev, found.st_ino

    def put_aside(self) -> bool:
        """Rename it to make room for a new one; False where that is impossible."""
        now = time.monotonic()
        if not self.is_known or now < self._put_aside_at + ASIDE_INTERVAL:
            return False
        self._put_aside_at = now
        aside = self._path.with_name(f"{self._path.name}.damaged")
        try:
            found = self._path.stat()
            if (found.st_dev, found.st_ino) != self._found:
                return True  # Another process was quicker.
            for neighbour in _NEIGHBOURS:
                with suppress(FileNotFoundError):
                    Path(f"{self._path}{neighbour}").replace(f"{aside}{neighbour}")
            self._path.replace(aside)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        logger.error(
            "The cache monitor's file %s was damaged: it is kept as %s, and a new one is begun.",
            self._path,
            aside,
        )
        return True

    def _create(self) -> None:
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_CLOEXEC", 0)
        model = self._model()
        try:
            descriptor = os.open(self._path, flags, _WIDEST if model is None else 0o600)
        except FileExistsError:
            return  # Another process was quicker.
        try:
            if model is not None and sys.platform != "win32" and hasattr(os, "geteuid"):
                # A command that root runs must not shut the site's own processes out.
                if os.geteuid() == 0:
                    os.fchown(descriptor, model.st_uid, model.st_gid)
                os.fchmod(descriptor, model.st_mode & 0o666)
        finally:
            os.close(descriptor)

    def _narrow(self, found: os.stat_result) -> None:
        model = self._model()
        if model is not None and found.st_mode & ~model.st_mode & 0o777:
            with suppress(OSError):
                self._path.chmod(found.st_mode & model.st_mode & 0o777)

    def _model(self) -> os.stat_result | None:
        if self._like is None:
            return None
        try:
            return self._like.stat()
        except OSError:
            return None


_FORK_WAITS = 0.2
"""Seconds that a fork waits for a use to end: far longer than a use takes."""
_USE_WAITS = 10.0
"""Seconds that a use waits for others of this process."""


class ForkGate:
    """Lets one use at a time through, and no fork meanwhile."""

    def __init__(self) -> None:
        self._begin(is_tainted=False)

    def _begin(self, is_tainted: bool) -> None:
        self._lock = Lock()
        self._pid = os.getpid()
        self._is_closed_for_fork = False
        self._is_tainted = is_tainted

    def watch_forks(self) -> None:
        """Make Python's forks wait for a use."""
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child
            )

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Hold the gate for a use. Raises :class:`StoreError` where that is impossible."""
        if self._pid != os.getpid():
            # uWSGI forks in C, without Python's hooks.
            self._begin(is_tainted=self._is_tainted or self._lock.locked())
        if self._is_tainted:
            raise StoreError(
                "This process was forked while its parent used the cache monitor's file: restart "
                "it, and its statistics are stored again."
            )
        lock = self._lock
        if not lock.acquire(timeout=_USE_WAITS):
            raise StoreError(
                "Another thread of this process uses the cache monitor's file for long: see "
                "whether its disk answers."
            )
        try:
            yield
        finally:
            lock.release()

    def _before(self) -> None:
        self._is_closed_for_fork = self._lock.acquire(timeout=_FORK_WAITS)

    def _in_parent(self) -> None:
        if self._is_closed_for_fork:
            self._is_closed_for_fork = False
            self._lock.release()

    def _in_child(self) -> None:
        self._begin(is_tainted=self._is_tainted or not self._is_closed_for_fork)


gate = ForkGate()
gate.watch_forks()


LOCK_TIMEOUT = 2.0
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

        with suppress(RowGone):
            self._write(swap)

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
            f"{self.path.as_uri()}?mode=rw", uri=True, timeout=LOCK_TIMEOUT, isolation_level=None
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
        mode = "DELETE" if is_on_a_network(self.path.parent) else "WAL"
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
