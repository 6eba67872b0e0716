"""The files behind the ledger's memory: opened with suspicion, since others may write beside them.

A directory such as /tmp is open to every user of the host. A file of somebody else's, or a link
that leads to one, is refused: it could hold lies, or be what we must not overwrite.
"""

import os
import stat
import tempfile
from pathlib import Path

_CHUNK = 1 << 20


class Refused(Exception):
    """A file that must not be used; says why."""


def open_shared(path: Path) -> int:
    """The descriptor of the file at ``path``, which is made where there is none."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    file = os.open(path, flags, 0o600)
    try:
        _inspect(os.fstat(file))
    except Refused:
        os.close(file)
        raise
    return file


def _inspect(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise Refused("it is not a regular file")
    if found.st_uid != os.geteuid():
        raise Refused("it belongs to another user")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise Refused("other users may read or write it")
    if found.st_nlink != 1:
        raise Refused("it has another name as well, or none")


def open_nameless(size: int) -> int:
    """The descriptor of ``size`` bytes of memory without a name."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("cache-monitor-ledger")
    else:
        with tempfile.TemporaryFile() as temporary:
            file = os.dup(temporary.fileno())
    os.ftruncate(file, size)
    return file


def grow(file: int, size: int) -> None:
    """Make the file at least ``size`` bytes long, all of them on the disk.

    Writing to a mapped page for which a full disk has no room kills the process.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    elif os.fstat(file).st_size < size:
        os.ftruncate(file, size)


def empty(file: int, size: int) -> None:
    """Make the file ``size`` zeros. It is no shorter meanwhile: another process may be about to map
    it, which fails beyond a file's end."""
    grow(file, size)
    for offset in range(0, size, _CHUNK):
        os.pwrite(file, bytes(min(_CHUNK, size - offset)), offset)
    os.ftruncate(file, size)
