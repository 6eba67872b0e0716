"""The memory that the processes of one host share: a mapped file, and whose turn it is.

POSIX record locks (``fcntl.lockf``) belong to a process, so a descriptor that was inherited over
a fork locks for the child alone; the threads of one process take turns by a lock of their own.
The other side of it: a process should open the same file only once.

The file starts with a header of ``HEADER`` bytes: the ``layout`` that the opener names, and
``doubtful_until``, the Unix time until which it must be assumed that records were lost, because
what was here before had to be thrown away. It ends with ``MAGIC``, so that one that was cut short
and has grown again is known.
"""

import contextlib
import errno
import logging
import os
import time
from collections.abc import Iterator
from math import inf
from mmap import mmap
from pathlib import Path
from struct import Struct
from threading import Lock
from types import ModuleType

from cache_monitor.ledger import files
from cache_monitor.ledger.files import Refused

logger = logging.getLogger("cache_monitor")

HEADER = 64
MAGIC = b"DCMledgr"
"""Every layout starts with it."""
PATIENCE = 0.05
"""Seconds that a batch waits for its turn."""
LAST_PATIENCE = 3.0
"""Seconds that all batches of a process's last turn wait together: whoever holds the ledger may
have to wait for a processor. Short enough to leave time to write to the store, at an end."""
DOUBT = 3600.0
"""Seconds: an hour after its records were lost, the ledger is as good as a new one."""
_PAUSE = 0.001
_LONGEST_PAUSE = 0.02
_DOUBTFUL_UNTIL = Struct("<d")


def _find_fcntl() -> ModuleType | None:
    try:
        import fcntl  # noqa: PLC0415
    except ImportError:  # Windows
        return None
    return fcntl


FCNTL = _find_fcntl()


class Busy(Exception):
    """Others held the ledger all the while. Nothing was done: try again at the next turn."""


class Memory:
    """``size`` bytes that every process sees which opens the same ``path`` with this ``layout``.

    Without a path, and where the file cannot be used, the memory is this process's and its
    forked children's (without ``fcntl``, this process's alone); ``problem`` then says why.
    """

    def __init__(self, path: Path | None, size: int, layout: bytes) -> None:
        self._path = path
        self._size = size
        self._layout = layout
        self._turns = Lock()
        self._process = os.getpid()
        self._patient_until = -inf
        self.problem: str | None = None
        self.doubtful_until = 0.0
        if path is not None and FCNTL is None:
            self._path = None
            self.problem = "This system has no fcntl: each process knows its own writes alone."
        self._is_new = True
        self._file: int | None = None
        try:
            self._open()
        except (OSError, Refused, ValueError) as error:
            self._give_up_sharing(error)

    @property
    def is_shared(self) -> bool:
        """Whether processes see it that are not forked from this one."""
        return self._path is not None

    def close(self) -> None:
        """Give the mapping and the file back."""
        if hasattr(self, "_map"):
            self._map.close()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @contextlib.contextmanager
    def patient(self) -> Iterator[None]:
        """Wait longer for a turn meanwhile: there will be no next one."""
        self._patient_until = time.monotonic() + LAST_PATIENCE
        try:
            yield
        finally:
            self._patient_until = -inf

    @contextlib.contextmanager
    def hold(self) -> Iterator[mmap]:
        """The memory, fit for use, and nobody else's meanwhile. Raises ``Busy``."""
        if self._process != os.getpid():
            self._after_fork()
        deadline = max(time.monotonic() + PATIENCE, self._patient_until)
        turns = self._turns
        if not turns.acquire(timeout=max(deadline - time.monotonic(), 0.0)):
            raise Busy
        try:
            self._enter(deadline)
            try:
                yield self._map
            finally:
                self._unlock()
        finally:
            turns.release()

    def reset(self) -> None:
        """Throw away what is in it. Only while it is held."""
        logger.warning("The ledger %s is damaged, and is begun anew.", self._path)
        self._begin(time.time() + DOUBT)

    def _enter(self, deadline: float) -> None:
        try:
            self._follow_path()
            self._lock(deadline)
            self._make_fit()
        except (OSError, Refused, ValueError) as error:
            self._give_up_sharing(error)
            self._lock(deadline)

    # Opening

    def _open(self) -> None:
        if self._path is not None:
            self._file = files.open_shared(self._path)
            files.grow(self._file, self._size)
        elif FCNTL is not None:
            with contextlib.suppress(OSError):
                self._file = files.open_nameless(self._size)
        self._map = mmap(-1 if self._file is None else self._file, self._size)
        if self._path is None:
            self._begin(0.0 if self._is_new else time.time() + DOUBT)

    def _give_up_sharing(self, error: Exception) -> None:
        self.problem = f"{self._path}: {getattr(error, 'strerror', None) or error}"
        # Once: without a path there is nothing more to give up.
        logger.warning("The ledger of the processes of this host cannot be used: %s.", self.problem)
        self.close()
        self._path = None
        self._open()

    def _after_fork(self) -> None:
        # The parent's thread may have held it.
        self._turns = Lock()
        self._process = os.getpid()
        if self._file is None:
            self._map = mmap(-1, self._size)
            self._begin(0.0)

    # Each time

    def _follow_path(self) -> None:
        """Open the file anew if another stands in its place, or none."""
        if self._path is None or self._file is None:
            return
        try:
            there = self._path.lstat()
        except FileNotFoundError:
            there = None
        if there is None or not os.path.samestat(there, os.fstat(self._file)):
            self.close()
            self._is_new = False
            self._open()

    def _make_fit(self) -> None:
        """Make sure that the mapping can be touched, and that what it holds is a ledger.

        A page beyond the end of a truncated file kills the process that touches it, so size and
        header are read from the file, not from the mapping.
        """
        if self._path is None or self._file is None:
            return
        header = os.pread(self._file, HEADER, 0)
        end = os.pread(self._file, len(MAGIC), self._size - len(MAGIC))
        if end == MAGIC and header.startswith(self._layout):
            self.doubtful_until = _DOUBTFUL_UNTIL.unpack_from(header, len(self._layout))[0]
        elif header.startswith(MAGIC) and not header.startswith(self._layout) and not self._is_new:
            # Both re-creating it in turn would leave neither with a ledger.
            raise Refused("a newer process uses it with another layout or size")
        else:
            is_first = self._is_new and not header.strip(b"\0")
            if not is_first:
                logger.warning("The ledger %s was lost or damaged, and is begun anew.", self._path)
            self._begin(0.0 if is_first else time.time() + DOUBT)
        self._is_new = False

    def _begin(self, doubtful_until: float) -> None:
        if self._file is not None:
            files.empty(self._file, self._size)
        self.doubtful_until = doubtful_until
        header = self._layout + _DOUBTFUL_UNTIL.pack(doubtful_until)
        self._map[: len(header)] = header
        self._map[-len(MAGIC) :] = MAGIC

    def _lock(self, deadline: float) -> None:
        if self._file is None or FCNTL is None:
            return
        pause = _PAUSE
        while True:
            try:
                FCNTL.lockf(self._file, FCNTL.LOCK_EX | FCNTL.LOCK_NB)
                return
            except OSError as error:
                if error.errno not in {errno.EAGAIN, errno.EACCES}:
                    raise
            if time.monotonic() >= deadline:
                raise Busy
            time.sleep(pause)
            pause = min(pause * 1.1, _LONGEST_PAUSE)

    def _unlock(self) -> None:
        if self._file is not None and FCNTL is not None:
            FCNTL.lockf(self._file, FCNTL.LOCK_UN)
