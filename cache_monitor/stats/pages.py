"""What became of the requests of one page that Django's page cache was asked for."""

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct

from cache_monitor.stats import compact
from cache_monitor.stats.window import Count, Duration, Hash

PAGE_LIMIT = 200
OTHER_PAGES = "(other pages)"

Word = Annotated[str, Meta(max_length=32)]
Words = Annotated[dict[Word, Count], Meta(max_length=32)]
"""How many requests, by reason."""
Text = Annotated[str, Meta(max_length=300)]
Details = Annotated[dict[Word, Text], Meta(max_length=32)]
Sketch = set[Hash]


class PageStats(Struct, array_like=True, gc=False):
    """The requests of one route.

    ``bypassed`` were neither GET nor HEAD. ``missed`` is by what was not there, ``not_stored`` by
    why the answer was not stored; ``details`` has for each of those reasons an example, such as
    the name of a cookie, and ``causes`` the line of code that led to it. ``varies`` counts the
    headers that pages vary by. ``addresses``, ``paths`` and ``variants`` are sketches
    (:mod:`cache_monitor.stats.compact`) of the addresses with and without query strings, and of
    the pages that are kept apart. ``made`` answers took ``made_seconds`` to make.
    """

    served: Count = 0
    stored: Count = 0
    bypassed: Count = 0
    missed: Words = {}
    not_stored: Words = {}
    details: Details = {}
    causes: Details = {}
    varies: Words = {}
    addresses: Sketch = set()
    paths: Sketch = set()
    variants: Sketch = set()
    made: Count = 0
    made_seconds: Duration = 0.0
    not_stored_seconds: Duration = 0.0
    """What the answers that were not stored took to make, together."""
    site_wide: Count = 0
    """How many passed the cache of the whole site, not one that stands above this view."""

    def merge(self, other: "PageStats") -> None:
        """Add what ``other`` counted."""
        self.served += other.served
        self.stored += other.stored
        self.bypassed += other.bypassed
        self.made += other.made
        self.made_seconds += other.made_seconds
        self.not_stored_seconds += other.not_stored_seconds
        self.site_wide += other.site_wide
        for own, others in (
            (self.missed, other.missed),
            (self.not_stored, other.not_stored),
            (self.varies, other.varies),
        ):
            for word, count in others.items():
                count_word(own, word, count)
        for texts, more in ((self.details, other.details), (self.causes, other.causes)):
            for word, text in more.items():
                # The same one in whatever order they come.
                texts[word] = min(texts.get(word, text), text)
        for sketch, added in (
            (self.addresses, other.addresses),
            (self.paths, other.paths),
            (self.variants, other.variants),
        ):
            add_hashes(sketch, added)

    def bounded(self) -> "PageStats":
        """The same with sketches as small as they may be stored."""
        for sketch in (self.addresses, self.paths, self.variants):
            _cut(sketch)
        return self


def count_word(words: dict[str, int], word: str, count: int = 1) -> None:
    """Add ``count`` to ``word``; there are few words, and a tampered row's many are left out."""
    if word in words or len(words) < 32:
        words[word] = words.get(word, 0) + count


def add_hashes(sketch: set[int], hashes: Iterable[int]) -> None:
    """Add ``hashes`` to a sketch in place, and keep it small."""
    sketch.update(hashes)
    if len(sketch) > 2 * compact.SIZE:
        _cut(sketch)


def _cut(sketch: set[int]) -> None:
    if len(sketch) > compact.SIZE:
        sketch.intersection_update(compact.smallest(sketch))
