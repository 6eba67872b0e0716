"""Go through a source: bounded, and so that it can be gone on with later, by whichever process."""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

from cache_monitor.inspectors.source import BadCursor, Entry, Source, credible
from cache_monitor.inspectors.terms import Terms

CURSOR_LENGTH = 512


class Part(NamedTuple):
    """Entries gone through, and how many of whoever's were passed to find them."""

    entries: list[Entry]
    walked: int


class Scan:
    """One stretch of the way through ``source``, from ``cursor`` on.

    ``cursor`` is at any moment where to go on: None at the end. Pages are given whole, for what a
    server lists from the same place may be another page the next time. None is begun that may go
    beyond ``terms.limit`` entries, or after its deadline; the first one always is.
    """

    def __init__(self, source: Source, terms: Terms, cursor: str = "") -> None:
        self.cursor: str | None = cursor
        self._is_stopped = False
        self._source = source
        self._terms = terms

    def stop(self) -> None:
        """Begin no other page."""
        self._is_stopped = True

    def __iter__(self) -> Iterator[Part]:
        """The entries, page by page. Raises :class:`BadCursor`."""
        if len(self.cursor or "") > CURSOR_LENGTH:
            raise BadCursor("This is no place to go on from.")
        looked_at = largest = 0
        with closing(self._source.pages(self.cursor or "", self._terms.limit)) as pages:
            for page in pages:
                entries = [credible(each) for each in page.entries]
                looked_at += len(entries)
                largest = max(largest, len(entries), self._source.page)
                yield Part(entries, page.walked)
                self.cursor = page.cursor
                if page.is_sign_of_life and not self._is_stopped:
                    continue
                is_full = looked_at + largest > self._terms.limit
                if self.cursor is None or is_full or self._is_over():
                    return
        self.cursor = None

    def _is_over(self) -> bool:
        return self._is_stopped or time.monotonic() >= self._terms.deadline
