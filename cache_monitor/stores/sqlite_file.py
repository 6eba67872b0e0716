"""The monitor's own SQLite file: its permissions, and its safety in forks.

SQLite keeps its locks per process. A child forked during a use takes its parent's locks for its
own, and would write without any.
"""

import logging
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from cache_monitor.stores.base import StoreError

logger = logging.getLogger("cache_monitor")

ASIDE_INTERVAL = 60.0
"""Seconds between two damaged files: a second one earlier shows that the disk fails."""
_WIDEST = 0o660
"""The permissions of a file without a ``like``."""
_NEIGHBOURS = ("-wal", "-shm", "-journal")
"""The files of SQLite beside a database."""
_NETWORKS = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gfs2", "lustre", "ncpfs"}
    | {"nfs", "nfs4", "ocfs2", "smb2", "smb3", "smbfs", "virtiofs"}
)
_MOUNTS = Path("/proc/self/mountinfo")


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


def is_on_a_network(path: Path) -> bool:
    """Whether other hosts may use the same file, as far as known."""
    if sys.platform == "win32":
        return str(path).startswith("\\\\")
    kind = _file_system(path)
    return kind in _NETWORKS or (kind.startswith("fuse.") and kind != "fuse.fuse-overlayfs")


def _file_system(path: Path) -> str:
    """The type of the file system of ``path``; empty where unknown."""
    try:
        lines = _MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    folder = os.path.realpath(path.parent)
    best, kind = -1, ""
    for line in lines:
        mount, _, rest = line.partition(" - ")
        fields = mount.split(" ")
        if len(fields) < 5 or not rest:
            continue
        point = fields[4].encode("latin-1", "replace").decode("unicode_escape")
        # A later mount covers an earlier one.
        if len(point) >= best and Path(folder).is_relative_to(point):
            best, kind = len(point), rest.split(" ")[0]
    return kind


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
