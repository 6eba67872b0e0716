"""Scan a LocMemCache: the dicts of this very process."""

import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from typing import Any
from zlib import crc32

from django.core.cache.backends.locmem import LocMemCache

from cache_monitor.scan.base import (
    BUCKETS,
    BackendLimits,
    BackendScanner,
    Entry,
    EntryPage,
    ScanError,
    in_buckets,
)
from cache_monitor.scan.key_forms import key_form
from cache_monitor.scan.snapshot import Scope

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
        self._stored: Any = cache
        self._form = key_form(cache)

    def total(self) -> int:
        return len(self._stored._expire_info)

    def pages(self, cursor: str, most: int) -> Generator[EntryPage, None, None]:
        """The entries in the order of a digest of their keys."""
        raws = _copied(self._stored._expire_info)
        for bucket, following in in_buckets(raws, _bucket_of, cursor):
            yield EntryPage(list(self._entries(bucket)), len(bucket), following)

    def _entries(self, raws: list[object]) -> Iterator[Entry]:
        for raw in raws:
            key = self._form.user_key(str(raw))
            if key is not None and (entry := self._entry(raw, key)) is not None:
                yield entry

    def entry(self, key: str, version: int | None) -> Entry | None:
        raw = self._stored.make_key(key, version=version)
        return self._entry(raw, key) if raw in self._stored._expire_info else None

    def _entry(self, raw: object, key: str) -> Entry | None:
        pickled = self._stored._cache.get(raw)
        if pickled is None:
            return None
        size = len(pickled) if isinstance(pickled, (bytes, bytearray, str)) else None
        # The cache takes an entry without an expiry on record for expired.
        expires_at = self._stored._expire_info.get(raw, 0.0)
        return Entry(
            key,
            size,
            expires_in=None if expires_at is None else expires_at - time.time(),
            no_expiry=expires_at is None,
            known=not self._form.opaque,
            stored=str(raw),
        )

    def limits(self) -> BackendLimits:
        return BackendLimits(limit_entries=self._stored._max_entries)


def _copied(keys: Iterable[object]) -> list[object]:
    """A copy of the keys of a dict that the site goes on writing to."""
    for _ in range(_TRIES):
        # A dict of the project's own class may not copy atomically.
        with suppress(RuntimeError):
            return list(keys)
    raise ScanError("It is written to all the time: its keys cannot be listed.")


def _bucket_of(raw: object) -> int:
    return crc32(str(raw).encode("utf-8", "surrogatepass")) % BUCKETS
