"""What a store is, which keeps bytes under a name and a time, and which one is in force.

A store in a database has a connection of the monitor's own.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.utils import load_backend
from django.utils.functional import Promise
from django.utils.module_loading import import_string
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from cache_monitor.concurrency import call_in_forked_children, new_lock
from cache_monitor.conf import SETTING, StoreConf, forget_on_change, get_conf
from cache_monitor.errors import let_pass

__all__ = ["Kind", "Row", "Store", "StoreBusyError", "StoreError"]

Kind = Literal["window", "details", "scan", "finding", "trace", "what_if", "groups"]
Identity = tuple[Kind, str, str, int, int]


class Row(NamedTuple):
    """A payload and its identity: kind, process, alias, start and length.

    A row replaces the one of the same identity. ``start`` is Unix time; ``process`` is empty for
    what processes share.
    """

    kind: Kind
    process: str
    alias: str
    start: int
    seconds: int
    payload: bytes

    @property
    def identity(self) -> Identity:
        """The key that a later row replaces it by."""
        return self[:5]


class StoreError(Exception):
    """The store cannot be used now. The message says in one sentence what to do."""


class StoreBusyError(StoreError):
    """Another process is writing: the same may succeed at once."""


class RowGone(Exception):
    """A row to be replaced is gone."""


class Store(Protocol):
    """Keeps rows. Every method raises :class:`StoreError` where the store cannot be used."""

    def put(self, rows: Sequence[Row], now: int) -> None:
        """Write ``rows``, replacing those of the same identity. ``now`` is the time that
        :meth:`prune` goes by."""

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
        """The rows that begin at or after ``since`` and before ``until``, of one alias or all,
        of one length or all, of single processes only or all."""

    def replace(self, remove: Sequence[Row], add: Sequence[Row], now: int) -> None:
        """Write ``add`` and remove ``remove``, both or neither; a row in both is written.

        The rows are all of one kind. Nothing happens where one of ``remove`` is gone: another
        process has merged it already.
        """

    def prune(self, before: int) -> int:
        """Remove rows last written before ``before``; returns their number."""

    def lock(self, name: str, seconds: int, now: int) -> bool:
        """Take the lock ``name`` (at most 32 characters) for ``seconds``; False where it is taken.

        It ends by itself, even where the process has died.
        """


@contextmanager
def session(store: Store) -> Iterator[None]:
    """Keep one connection for many uses of ``store`` by this thread, if it has a ``session``."""
    own = getattr(store, "session", nullcontext)
    with own():
        yield


class Fault(NamedTuple):
    """A kind of error: words of which its text has one, and the advice."""

    words: tuple[str, ...]
    advice: str


def advice(error: Exception, known: Iterable[Fault], fallback: str) -> str:
    """The advice of the first of ``known`` that the error has a word of.

    Drivers and versions agree on words more than on types. Messages are not passed on, because they
    may quote hosts, users, passwords and statements.
    """
    text = f"{type(error).__name__} {error}".lower()
    return next(
        (fault.advice for fault in known if any(word in text for word in fault.words)), fallback
    )


# Which store is in force

DATABASE = "cache_monitor.stores.database.DatabaseStore"
MEMORY = "cache_monitor.stores.memory.MemoryStore"
SQLITE = "cache_monitor.stores.sqlite.SQLiteStore"
_INFIX = ".cache-monitor"
"""The monitor's file beside the site's database has this in its name."""
WHAT_TO_NAME = (
    "Write 'STORE': {'BACKEND': 'cache_monitor.stores.sqlite.SQLiteStore', 'OPTIONS': {'PATH': "
    "'/…/statistics.sqlite3'}} with a file that all processes of the site may write to, or "
    "'STORE': {'BACKEND': 'cache_monitor.stores.redis.RedisStore', 'OPTIONS': {'URL': "
    "'redis://…'}}."
)


class StoreChoice(NamedTuple):
    """A store, and why the default is only memory."""

    store: StoreConf
    in_memory_because: str | Promise | None = None


def chosen_store(conf: StoreConf, *, in_tests: bool) -> StoreChoice:
    """The store of ``conf``, under a test runner or not; opens nothing."""
    if conf.backend is not None:
        return StoreChoice(conf)
    if "DATABASE" in conf.options:
        return StoreChoice(StoreConf(DATABASE, conf.options))
    choice = _default(in_tests)
    options = {**choice.store.options, **conf.options}
    return choice._replace(store=StoreConf(choice.store.backend, options))


def _default(in_tests: bool) -> StoreChoice:
    vendor = _vendor()
    if vendor is None:
        return _in_memory(_("DATABASES has none that it could be in"))
    if vendor != "sqlite":
        return StoreChoice(StoreConf(DATABASE))
    if in_tests:
        return _in_memory(_("tests are run, and their database goes with them"))
    site = _file(settings.DATABASES[DEFAULT_DB_ALIAS].get("NAME"))
    if site is None:
        return _in_memory(_("the default database is in memory"))
    path = site.with_name(f"{site.stem}{_INFIX}{site.suffix}")
    if site.parent.is_dir() and not can_be_written(path):
        return _in_memory(_("%(path)s cannot be written to") % {"path": path})
    return StoreChoice(StoreConf(SQLITE, {"PATH": path, "like": site}))


def in_memory(reason: str | Promise) -> str:
    """The sentences that say that statistics are only kept in memory."""
    return gettext(
        "The statistics are kept in each process's memory, because %(reason)s: they are of that "
        "process alone and end with it."
    ) % {"reason": reason}


def _in_memory(reason: str | Promise) -> StoreChoice:
    return StoreChoice(StoreConf(MEMORY), reason)


def _vendor() -> str | None:
    """The vendor of the default database; None without one."""
    engine = settings.DATABASES.get(DEFAULT_DB_ALIAS, {}).get("ENGINE")
    if not isinstance(engine, str) or not engine:
        return None
    try:
        vendor = load_backend(engine).DatabaseWrapper.vendor
    except (ImproperlyConfigured, AttributeError):
        return None
    # Django's backend for an empty DATABASES is of an unknown vendor.
    return None if vendor == "unknown" else str(vendor)


def _file(name: object) -> Path | None:
    """The resolved file of a SQLite database; None where it is in memory."""
    text = os.fspath(name) if isinstance(name, os.PathLike) else str(name or "")
    if text.startswith("file:"):
        parts = urlsplit(text)
        if "mode=memory" in parts.query:
            return None
        text = url2pathname(parts.path) if os.name == "nt" else unquote(parts.path)
    if not text or text == ":memory:":
        return None
    # A link may be in a folder that the next release replaces.
    return Path(text).resolve()


def can_be_written(path: Path) -> bool:
    """Whether SQLite could write to ``path`` and create files beside it."""
    return os.access(path.parent, os.W_OK | os.X_OK) and (
        not path.exists() or os.access(path, os.R_OK | os.W_OK)
    )


class Mount(NamedTuple):
    """A mounted file system: its mount point, the mounted part, and its origin."""

    at: str
    root: str
    device: str
    kind: str
    source: str


def mount_of(path: Path) -> Mount | None:
    """The file system of ``path``, which is resolved; None where unknown."""
    over = [each for each in _mounts() if path.is_relative_to(each.at)]
    # The last mount at one place is on top.
    return max(reversed(over), key=lambda each: len(Path(each.at).parts), default=None)


def is_on_a_network(folder: Path) -> bool:
    """Whether other hosts may use the same files, as far as known."""
    if sys.platform == "win32":
        return str(folder).startswith("\\\\")
    mount = mount_of(folder.resolve())
    kind = "" if mount is None else mount.kind
    return kind in _NETWORKS or (kind.startswith("fuse.") and kind != "fuse.fuse-overlayfs")


_NETWORKS = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gfs2", "lustre", "ncpfs"}
    | {"nfs", "nfs4", "ocfs2", "smb2", "smb3", "smbfs", "virtiofs"}
)


def _mounts() -> list[Mount]:
    try:
        text = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    except OSError:
        return []
    return [parse_mount(line) for line in text.splitlines()]


def parse_mount(line: str) -> Mount:
    """A line of Linux's ``mountinfo``."""
    before, _, after = line.partition(" - ")
    _, _, device, root, at, *_ = map(_unescaped, before.split(" "))
    kind, source, *_ = map(_unescaped, after.split(" "))
    return Mount(at, root, device, kind, source)


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def is_testing() -> bool:
    """Whether Django's test runner runs: a second connection would meet the tests' locks, and keep
    the database from being dropped."""
    # A site with the locmem mail backend has ``mail.outbox`` too.
    utils = sys.modules.get("django.test.utils")
    return hasattr(getattr(utils, "_TestState", None), "saved_data")


def is_made_for_tests() -> bool:
    """Whether the default database is the one in memory that a test runner makes in place of the
    site's: it says nothing about the site."""
    name = settings.DATABASES.get(DEFAULT_DB_ALIAS, {}).get("NAME")
    return str(name).startswith(f"file:memorydb_{DEFAULT_DB_ALIAS}")


def make_store(conf: StoreConf) -> Store:
    """The store of ``conf``. Raises :class:`StoreError` for a bad path or bad options."""
    path = str(conf.backend)
    try:
        store: Store = import_string(path)(**conf.options)
    except ImportError as error:
        raise StoreError(
            f"CACHE_MONITOR['STORE']['BACKEND'] names {path!r}, which cannot be imported: {error}."
        ) from error
    except TypeError as error:
        raise StoreError(
            f"CACHE_MONITOR['STORE']['OPTIONS'] do not fit {path!r}: {error}."
        ) from error
    return store


def import_store() -> None:
    """Import the store in force while the site starts, and no later: the thread that opens it may
    do so at the process's end, or while another thread forks."""
    try:
        import_string(str(chosen_store(get_conf().store, in_tests=is_testing()).store.backend))
    except Exception as error:
        # Opening it raises.
        let_pass(error)


class _Current:
    """The store in force."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self.forget()

    def forget(self) -> None:
        """Open the store again at the next use."""
        self._store: Store | None = None
        self.in_memory_because: str | Promise | None = None

    def get(self) -> Store:
        """The one store of all threads."""
        with self._lock:
            if self._store is None:
                choice = chosen_store(get_conf().store, in_tests=is_testing())
                self._store = make_store(choice.store)
                self.in_memory_because = choice.in_memory_because
            return self._store


_current = _Current()
# A forked child must not use its parent's connections.
call_in_forked_children(_current.forget)


def get_store() -> Store:
    """The store in force, one for the process. Raises :class:`StoreError`."""
    return _current.get()


def store_note() -> str | None:
    """Why the default store is only memory, in sentences; None where it is not. Raises
    :class:`StoreError`."""
    _current.get()
    return None if _current.in_memory_because is None else in_memory(_current.in_memory_because)


forget_on_change((SETTING,), _current.forget)


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


def close_connections_of_this_thread() -> None:
    """Close Django's connections that this thread has opened. Where gevent or eventlet came late,
    it has those of other threads before it, which serve the site."""
    for connection in connections.all(initialized_only=True):
        with suppress(DatabaseError):
            connection.validate_thread_sharing()
            connection.close()
