"""Look into a DummyCache, which keeps nothing."""

from collections.abc import Generator

from django.core.cache.backends.dummy import DummyCache

from cache_monitor.inspectors.snapshot import STALE_REASONS
from cache_monitor.inspectors.source import CacheSource, Entry, Page


class EmptySource(CacheSource):
    """No entries, for certain."""

    def __init__(self, cache: DummyCache) -> None:
        super().__init__(cache, STALE_REASONS)

    def total(self) -> int:
        """None at all."""
        return 0

    def pages(self, cursor: str, most: int) -> Generator[Page, None, None]:
        """One empty page."""
        yield Page((), 0, None)

    def entry(self, key: str, version: int | None) -> Entry | None:
        """It is never there."""
        return None
