"""What happened to the keys of one cache in one time bucket, by groups, views and pages."""

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct

from cache_monitor.stats import distinct
from cache_monitor.stats.groups import GroupKind, GroupStats
from cache_monitor.stats.top_keys import HotKeys, Samples
from cache_monitor.stats.window import Count, Duration, Hash, Length, Start

OTHER_GROUPS = "(other groups)"
OTHER_VIEWS = "(other views)"
VIEW_LIMIT = 500
GROUPS_OF_A_VIEW = 32
"""Groups of keys that are told apart for one view."""


class ViewUse(Struct, array_like=True, gc=False):
    """What the requests of one view did with the keys of one group."""

    calls: Count = 0
    """Calls on its keys; of a call on several keys each counts its part."""
    lookups: Count = 0
    hits: Count = 0
    rewrites: Count = 0
    """Hits whose value the same request wrote anew."""
    seconds: Duration = 0.0

    def merge(self, other: "ViewUse") -> None:
        """Add what ``other`` counted."""
        self.calls += other.calls
        self.lookups += other.lookups
        self.hits += other.hits
        self.rewrites += other.rewrites
        self.seconds += other.seconds


class ViewStats(Struct, array_like=True, gc=False):
    """What the requests of one view did with the cache."""

    requests: Count = 0
    lookups: Count = 0
    misses: Count = 0
    seconds: Duration = 0.0
    calls: Count = 0
    request_seconds: Duration = 0.0
    """The time of the requests themselves."""
    sample_hits: Samples = ()
    """A few of the keys that its requests found."""
    sample_misses: Samples = ()
    groups: dict[str, ViewUse] = {}

    def use(self, group: str) -> ViewUse:
        """What its requests did with ``group``; one shared use takes what is over the limit."""
        found = self.groups.get(group)
        if found is None:
            kept = group if len(self.groups) < GROUPS_OF_A_VIEW else OTHER_GROUPS
            found = self.groups.setdefault(kept, ViewUse())
        return found

    def merge(self, other: "ViewStats") -> None:
        """Add what ``other`` counted, but for its samples."""
        self.requests += other.requests
        self.lookups += other.lookups
        self.misses += other.misses
        self.seconds += other.seconds
        self.calls += other.calls
        self.request_seconds += other.request_seconds
        for name, use in other.groups.items():
            (self.groups.get(name) or self.use(name)).merge(use)


PAGE_LIMIT = 200
OTHER_PAGES = "(other pages)"

Word = Annotated[str, Meta(max_length=32)]
Words = Annotated[dict[Word, Count], Meta(max_length=32)]
"""How many requests, by reason."""
Text = Annotated[str, Meta(max_length=300)]
Examples = Annotated[dict[Word, Text], Meta(max_length=32)]
Sketch = set[Hash]


class PageStats(Struct, array_like=True, gc=False):
    """The requests of one route.

    ``bypassed`` were neither GET nor HEAD. ``missed`` is by what was not there, ``not_stored`` by
    why the answer was not stored; ``details`` has for each of those reasons an example, such as
    the name of a cookie, and ``causes`` the line of code that led to it. ``varies`` counts the
    headers that pages vary by. ``addresses``, ``paths`` and ``variants`` are sketches
    (:mod:`cache_monitor.stats.distinct`) of the addresses with and without query strings, and of
    the pages that are kept apart. ``made`` answers took ``made_seconds`` to make.
    """

    served: Count = 0
    stored: Count = 0
    bypassed: Count = 0
    missed: Words = {}
    not_stored: Words = {}
    details: Examples = {}
    causes: Examples = {}
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
    if len(sketch) > 2 * distinct.SIZE:
        _cut(sketch)


def _cut(sketch: set[int]) -> None:
    if len(sketch) > distinct.SIZE:
        sketch.intersection_update(distinct.smallest(sketch))


class Details(Struct, array_like=True):
    """What one process did with the keys of one cache from ``start`` for ``seconds``.

    Kept apart from the window, over longer buckets, because it is many times as large and no
    chart needs it.
    """

    start: Start
    seconds: Length
    hot_keys: HotKeys
    group_limit: Count
    groups: dict[str, GroupStats] = {}
    uses: Count = 0
    views: dict[str, ViewStats] = {}

    final: bool = False
    """Whether their process will not change them any more; only then may they be rolled up."""
    pages: dict[str, PageStats] = {}
    """By route: what the page cache was asked for."""

    @property
    def revision(self) -> tuple[object, ...]:
        """Something that changes whenever the details do."""
        return self.uses, self.final

    def group(self, name: str, kind: GroupKind) -> GroupStats:
        """The statistics of the group ``name``; one shared group takes what is over the limit."""
        stats = self.groups.get(name)
        if stats is None:
            kept = self.kept_group(name)
            stats = self.groups.setdefault(kept, GroupStats(kind if kept == name else "key"))
        return stats

    def kept_group(self, name: str) -> str:
        """The name that the group ``name`` is counted under."""
        if name in self.groups or len(self.groups) < self.group_limit:
            return name
        return OTHER_GROUPS

    def view(self, name: str) -> ViewStats:
        """The statistics of the view ``name``; one shared view takes what is over the limit."""
        return self.views.get(name) or self.views.setdefault(self.kept_view(name), ViewStats())

    def kept_view(self, name: str) -> str:
        """The name that the view ``name`` is counted under."""
        return name if name in self.views or len(self.views) < VIEW_LIMIT else OTHER_VIEWS

    def page(self, route: str) -> PageStats:
        """The statistics of the page ``route``; one shared page takes what is over the limit."""
        return self.pages.get(route) or self.pages.setdefault(self.kept_page(route), PageStats())

    def kept_page(self, route: str) -> str:
        """The name that the page ``route`` is counted under."""
        return route if route in self.pages or len(self.pages) < PAGE_LIMIT else OTHER_PAGES
