"""Scan the caches of this host: the dicts of a LocMemCache, the files of a FileBasedCache.

The names of the files are digests of the keys. A file begins with a pickle of its expiry: a float,
or None for never. It is parsed and never unpickled, because unpickling executes code.
"""

import errno
import os
import re
import stat
import struct
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from hashlib import md5
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache

from cache_monitor.concurrency import Paced, TimedValues, no_pause
from cache_monitor.scan.base import (
    BUCKETS,
    BackendLimits,
    BackendScanner,
    Entry,
    EntryPage,
    ScanError,
    Scope,
    boot_of,
    in_buckets,
)
from cache_monitor.scan.identity import key_form
from cache_monitor.scan.recorded import recorded_details
from cache_monitor.stores.base import is_on_a_network

_TRIES = 10


class LocMemScanner(BackendScanner):
    """The entries of a LocMemCache in this process; an entry's size is the length of its pickle.

    It never takes the cache's lock, which the site waits on. Copying a plain dict's keys and
    reading an item are atomic; an entry that goes in between is left out. The cache's own ``get``
    would change the order of eviction.
    """

    scope: Scope = "per process"

    def __init__(self, cache: LocMemCache) -> None:
        super().__init__(cache, ("expired", "no_expiry"))
        self._form = key_form(cache)

    def total(self) -> int:
        return len(self._cache._expire_info)

    def pages(self, cursor: str, most: int) -> Generator[EntryPage, None, None]:
        """The entries in the order of a digest of their keys."""
        raws = _copied(self._cache._expire_info)
        for bucket, following in in_buckets(raws, _bucket_of, cursor):
            named = ((raw, self._form.user_key(str(raw))) for raw in bucket)
            found = [self._entry(raw, key) for raw, key in named if key is not None]
            yield EntryPage([each for each in found if each], len(bucket), following)

    def entry(self, key: str, version: int | None) -> Entry | None:
        raw = self._cache.make_key(key, version=version)
        return self._entry(raw, key) if raw in self._cache._expire_info else None

    def _entry(self, raw: object, key: str) -> Entry | None:
        pickled = self._cache._cache.get(raw)
        if pickled is None:
            return None
        size = len(pickled) if isinstance(pickled, (bytes, bytearray, str)) else None
        # The cache takes an entry without an expiry on record for expired.
        expires_at = self._cache._expire_info.get(raw, 0.0)
        return Entry(
            key,
            size,
            expires_in=None if expires_at is None else expires_at - time.time(),
            no_expiry=expires_at is None,
            known=not self._form.opaque,
            stored=str(raw),
        )

    def limits(self) -> BackendLimits:
        return BackendLimits(limit_entries=self._cache._max_entries)


def _copied(keys: Iterable[object]) -> list[object]:
    """A copy of the keys of a dict that the site goes on writing to."""
    for _ in range(_TRIES):
        # A dict of the project's own class may not copy atomically.
        with suppress(RuntimeError):
            return list(keys)
    raise ScanError("It is written to all the time: its keys cannot be listed.")


def _bucket_of(raw: object) -> int:
    return crc32(str(raw).encode("utf-8", "surrogatepass")) % BUCKETS


HEADER = 64
"""Bytes that hold any header: the longest, of protocol 0, is a float as text."""

_PROTOCOL, _FRAME, _FLOAT, _TEXT_FLOAT, _NONE, _STOP = b"\x80", b"\x95", b"G", b"F", b"N", b"."
_NO_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_NO_TRACE = getattr(os, "O_NOATIME", 0)
"""Only the owner and root may open so. Others could not restore the time either."""


def expiry_of(head: bytes) -> float | None:
    """When a file that begins with ``head`` expires, in Unix time, ``inf`` for never; None where it
    is cut or something else."""
    if not head:  # as Django has it
        return 0.0
    if head[:1] == _PROTOCOL:
        head = head[2:]
    if head[:1] == _FRAME:
        head = head[9:]
    if head[:2] == _NONE + _STOP:
        return inf
    if head[:1] == _FLOAT and head[9:10] == _STOP:
        return float(*struct.unpack(">d", head[1:9]))
    text, newline, rest = head[1:].partition(b"\n")
    if head[:1] == _TEXT_FLOAT and newline and rest[:1] == _STOP:
        with suppress(ValueError):
            return float(text)
    return None


def read_head(path: str) -> bytes:
    """The beginning of the file, read without a change of its access time.

    Raises ``OSError``, also where it is no plain file or the time would change.
    """
    # A pipe may have replaced the file: opening it must not wait.
    descriptor = os.open(path, os.O_RDONLY | _NO_WAITING | _NO_TRACE)
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        head = os.read(descriptor, HEADER)
        if not _NO_TRACE:
            os.utime(descriptor, ns=(before.st_atime_ns, before.st_mtime_ns))
        return head
    finally:
        os.close(descriptor)


UNKNOWN_KEY = "(unknown key)"
_DIGITS = 16
"""Digits of a digest that are shown; a whole one looks like a session's key."""

AccessTimes = Literal["each", "daily", "none"]
"""Which reads a file system records: each; the first and then one a day (``relatime``, Linux's
default); none."""

_DAY = 86400.0
_DIGEST = "[0-9a-f]{32}"
# Linux's flags of a mounted file system.
_NOATIME, _RELATIME = getattr(os, "ST_NOATIME", 0), getattr(os, "ST_RELATIME", 0)


class FileScanner(BackendScanner):
    """The files of the FileBasedCache ``alias``; an entry's size is its file's."""

    def __init__(self, alias: str, cache: FileBasedCache) -> None:
        super().__init__(cache, ("expired", "no_expiry", "idle", "never_read"))
        self._alias = alias
        self._times = _access_times(self._cache._dir)
        if self._times == "none":
            self.unsupported = {"idle", "never_read"}
        self._bytes = 0
        self._name = re.compile(_DIGEST + re.escape(cache.cache_suffix))

    def total(self) -> int:
        return len(self._names())

    def pages(self, cursor: str, most: int) -> Generator[EntryPage, None, None]:
        """The entries in the order of their names, which are digests."""
        names = self._names()
        for bucket, following in in_buckets(names, lambda name: int(name[:3], 16), cursor):
            found = (self._entry(name) for name in bucket)
            yield EntryPage([each for each in found if each], len(bucket), following)

    @cached_property
    def _keys(self) -> Mapping[str, str]:
        """The users' keys by file name, as far as recorded."""
        return _recorded_keys(self._alias, self._cache, self.pace)

    def _names(self) -> list[str]:
        try:
            with os.scandir(self._cache._dir) as listing:
                return [each.name for each in listing if self._name.fullmatch(each.name)]
        except FileNotFoundError:
            self.problems["Its directory is gone: Django makes it anew with the next write."] = None
            return []

    def entry(self, key: str, version: int | None) -> Entry | None:
        found = self._entry(Path(self._cache._key_to_file(key, version)).name)
        return None if found is None else found._replace(key=key, known=True)

    def _entry(self, name: str) -> Entry | None:
        path = f"{self._cache._dir}/{name}"
        try:
            status = os.stat(path)  # noqa: PTH116 - a Path for each of a million files takes long
            if not stat.S_ISREG(status.st_mode):
                self.problems["Something in its directory is called like a file of its own."] = None
                return None
            expires_at = self._expiry(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._add_problem(error)
            return None
        self._bytes += status.st_size
        now, key = time.time(), self._keys.get(name)
        return Entry(
            f"{UNKNOWN_KEY} {name[:_DIGITS]}" if key is None else key,
            status.st_size,
            expires_in=None if expires_at is None else expires_at - now,
            no_expiry=expires_at == inf,
            idle=idle_for(now, status.st_atime, status.st_mtime, self._times),
            age=max(0.0, now - status.st_mtime),
            never_read=None if self._times == "none" else status.st_atime <= status.st_mtime,
            known=key is not None,
            stored=name,
        )

    def _expiry(self, path: str) -> float | None:
        try:
            expiry = expiry_of(read_head(path))
        except FileNotFoundError:
            raise
        except OSError as error:
            self._add_problem(error)
            return None
        if expiry is None:
            self.problems["Some files are damaged, or were cut while they were written."] = None
        return expiry

    def _add_problem(self, error: OSError) -> None:
        self.problems[f"Some files cannot be read ({os.strerror(error.errno or 0)})."] = None

    def limits(self) -> BackendLimits:
        """Its MAX_ENTRIES, and the free bytes of the disk with those of its own files."""
        try:
            disk = os.statvfs(self._cache._dir)
        except (OSError, AttributeError):
            return BackendLimits(limit_entries=self._cache._max_entries)
        room = disk.f_frsize * disk.f_bavail + self._bytes
        return BackendLimits(room, self._cache._max_entries, boot=_made(self._cache._dir))

    def can_remove(self, entry: Entry) -> bool:
        return entry.known or self._name.fullmatch(entry.stored) is not None

    def remove(self, entries: Sequence[Entry]) -> None:
        super().remove([each for each in entries if each.known])
        for each in entries:
            if not each.known:
                self._cache._delete(f"{self._cache._dir}/{each.stored}")


_GETVERSION = 0x80087601
"""FS_IOC_GETVERSION of Linux: the generation of an inode number."""


def _made(directory: str) -> str:
    """The identity of this very directory, changed where it is made anew; empty without one."""
    generation = bytearray(8)
    try:
        opened = os.open(directory, os.O_RDONLY)
    except OSError:
        return ""
    try:
        # Not every file system has generations.
        with suppress(OSError, ImportError):
            from fcntl import ioctl  # noqa: PLC0415 - not on every system

            ioctl(opened, _GETVERSION, generation)
        return boot_of(os.fstat(opened).st_ino, bytes(generation))
    finally:
        os.close(opened)


def file_name(cache: Any, key: str) -> str:
    """The name of the file that ``cache`` keeps ``key`` in."""
    made = cache.make_key(key)
    return md5(made.encode(), usedforsecurity=False).hexdigest() + str(cache.cache_suffix)


_KEYS, _KEYS_SECONDS, _MAX_CACHED = 20_000, 60.0, 100
_file_names: TimedValues[Mapping[str, str]] = TimedValues(_MAX_CACHED)


def _recorded_keys(alias: str, cache: Any, pace: Callable[[], None]) -> Mapping[str, str]:
    """The most used keys by file name, from the statistics in the store, which have no session's;
    cached."""
    # The file name of "" tells apart settings that name files differently.
    identity = alias, str(cache._dir), file_name(cache, "")

    def read() -> Mapping[str, str]:
        keys: dict[str, None] = {}
        for details in recorded_details(alias):
            pace()
            keys.update(dict.fromkeys(details.hot_keys.columns.keys))
        return {file_name(cache, key): key for key in Paced([*islice(keys, _KEYS)], pace)}

    if pace is no_pause:
        return _file_names.get(identity, read, _KEYS_SECONDS)
    # With pauses, so not while others wait for it.
    found = read()
    return _file_names.get(identity, lambda: found, _KEYS_SECONDS)


def idle_for(now: float, read_at: float, written_at: float, times: AccessTimes) -> float | None:
    """Seconds since the last use, as far as that is certain; Unix times."""
    if times == "none":
        return None
    if times == "each" or read_at <= written_at:
        return max(0.0, now - max(read_at, written_at))
    # Reads within a day of the recorded one are not recorded.
    unseen = now - read_at - _DAY
    return unseen if unseen > 0 else None


def _access_times(directory: str) -> AccessTimes:
    # A server of files does not see the reads that its client answers from memory.
    if is_on_a_network(Path(directory)):
        return "none"
    try:
        flags = os.statvfs(directory).f_flag
    except (OSError, AttributeError):
        return "none"
    if flags & _NOATIME:
        return "none"
    return "daily" if flags & _RELATIME else "each"
