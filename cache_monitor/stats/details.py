"""What happened to the keys of one cache in one time bucket, by groups, views and pages; as a
store has it, and many of them merged."""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Generic, TypeVar

from msgspec import Meta, Raw, Struct, structs

from cache_monitor.stats import hot_keys, sketches
from cache_monitor.stats.codec import Packed
from cache_monitor.stats.groups import GroupKind, GroupStats
from cache_monitor.stats.hot_keys import HotKeys, Ranking, StoredKeys
from cache_monitor.stats.sketches import MergedSample, Samples, few_of
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
        return self.groups.get(group) or self.groups.setdefault(
            _kept(self.groups, group, GROUPS_OF_A_VIEW, OTHER_GROUPS), ViewUse()
        )

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
    (:mod:`cache_monitor.stats.sketches`) of the addresses with and without query strings, and of
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
            sketches.add_hashes(sketch, added)

    def bounded(self) -> "PageStats":
        """The same with sketches as small as they may be stored."""
        for sketch in (self.addresses, self.paths, self.variants):
            sketches.cut(sketch)
        return self


def count_word(words: dict[str, int], word: str, count: int = 1) -> None:
    """Add ``count`` to ``word``; there are few words, and a tampered row's many are left out."""
    if word in words or len(words) < 32:
        words[word] = words.get(word, 0) + count


Keys = TypeVar("Keys", HotKeys, StoredKeys)


class _DetailsFields(Struct, Generic[Keys], array_like=True):
    start: Start
    seconds: Length
    hot_keys: Keys
    group_limit: Count
    groups: dict[str, GroupStats] = {}
    uses: Count = 0
    views: dict[str, ViewStats] = {}

    final: bool = False
    """Whether their process will not change them any more; only then may they be rolled up."""
    pages: dict[str, PageStats] = {}
    """By route: what the page cache was asked for."""


class StoredDetails(_DetailsFields[StoredKeys], array_like=True, gc=False):
    """:class:`Details` as bytes have them."""


class DetailedKeys(Struct, array_like=True, gc=False):
    """The beginning of :class:`StoredDetails`, for those who want its keys alone: what follows is
    not even read."""

    start: Start
    seconds: Length
    hot_keys: StoredKeys


class DetailsState(Struct, array_like=True, gc=False):
    """:class:`StoredDetails` for those who want to know whether they are final, and nothing of
    what is in them."""

    start: Start
    seconds: Length
    hot_keys: Raw
    group_limit: Count
    groups: Raw = Raw()
    uses: Count = 0
    views: Raw = Raw()
    final: bool = False


class Details(_DetailsFields[HotKeys], Packed, array_like=True):
    """What one process did with the keys of one cache from ``start`` for ``seconds``.

    Kept apart from the window, over longer buckets, because it is many times as large and no
    chart needs it.
    """

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
        return _kept(self.groups, name, self.group_limit, OTHER_GROUPS)

    def view(self, name: str) -> ViewStats:
        """The statistics of the view ``name``; one shared view takes what is over the limit."""
        return self.views.get(name) or self.views.setdefault(self.kept_view(name), ViewStats())

    def kept_view(self, name: str) -> str:
        """The name that the view ``name`` is counted under."""
        return _kept(self.views, name, VIEW_LIMIT, OTHER_VIEWS)

    def page(self, route: str) -> PageStats:
        """The statistics of the page ``route``; one shared page takes what is over the limit."""
        kept = _kept(self.pages, route, PAGE_LIMIT, OTHER_PAGES)
        return self.pages.get(kept) or self.pages.setdefault(kept, PageStats())

    def stored_forms(self) -> Iterator[StoredDetails]:
        """Themselves, and with ever more of the least used groups in one."""
        most = len(self.groups)
        yield pack_details(self)
        while most > 1:
            most //= 2
            yield pack_details(folded(self, most))


def _kept(named: Mapping[str, object], name: str, limit: int, other: str) -> str:
    """``name``, or what takes all those that are over the limit."""
    return name if name in named or len(named) < limit else other


def pack_details(details: Details) -> StoredDetails:
    """``details`` as a store takes them."""
    return StoredDetails(
        details.start,
        details.seconds,
        hot_keys.pack(details.hot_keys),
        details.group_limit,
        {name: group.packed() for name, group in details.groups.items()},
        details.uses,
        details.views,
        details.final,
        {route: page.bounded() for route, page in details.pages.items()},
    )


def folded(details: Details, most: int) -> Details:
    """``details`` with the ``most`` used groups of their own, and the others counted as one."""
    ranked = sorted(
        (name for name in details.groups if name != OTHER_GROUPS),
        key=lambda name: details.groups[name].lookups + details.groups[name].sets,
        reverse=True,
    )
    kept = {*ranked[:most]}
    groups = {name: group for name, group in details.groups.items() if name in kept}
    other = GroupStats("key")
    for name, group in details.groups.items():
        if name not in kept:
            other.merge(group)
            other.add_keys([*group.keys])
    return structs.replace(details, groups={**groups, OTHER_GROUPS: other})


Fold = Callable[[str], str]
"""The group that a group belongs to: mostly itself."""


def fold_groups(details: Details, fold: Fold) -> None:
    """Count the groups of ``details`` by the names that ``fold`` gives them, wherever they are
    named."""
    groups = details.groups
    for name in [name for name, group in groups.items() if group.kind == "key"]:
        kept = fold(name)
        if kept == name:
            continue
        group = groups.pop(name)
        if kept in groups:
            _merge(groups[kept], group)
        else:
            groups[kept] = group
    for stats in details.hot_keys.table.values():
        if stats.group not in groups and (kept := fold(stats.group)) in groups:
            stats.group = kept
    for view in details.views.values():
        _fold_uses(view, details, fold)


def _fold_uses(view: ViewStats, details: Details, fold: Fold) -> None:
    for name in [name for name in view.groups if name not in details.groups]:
        kept = fold(name)
        if kept != name:
            use = view.groups.pop(name)
            view.groups.setdefault(kept, ViewUse()).merge(use)


def _merge(into: GroupStats, group: GroupStats) -> None:
    into.merge(group)
    into.keys = sketches.unite(into.keys, group.keys)
    into.sample_hits = few_of((*into.sample_hits, *group.sample_hits))
    into.sample_misses = few_of((*into.sample_misses, *group.sample_misses))


class DetailsMerge:
    """Merges details as they come out of a store.

    Hot keys are ranked while they come, and only those on top looked up at the end. Until then
    their tables are kept as the columns that they were read as.
    """

    def __init__(
        self, start: int, seconds: int, group_limit: int, fold: Fold | None = None
    ) -> None:
        self._fold = fold
        self._whole = Details(start, seconds, HotKeys(1), group_limit)
        # By the names that are kept.
        self._groups: dict[str, _Merging[GroupStats]] = {}
        self._views: dict[str, _Merging[ViewStats]] = {}
        self._ranking = Ranking()
        self._tables: list[StoredKeys] = []

    def add(self, part: StoredDetails) -> None:
        """Take in ``part``, which stays as it is."""
        self._whole.uses += part.uses
        # A report merges tens of thousands of groups and views: hence few calls for each.
        groups, views = self._groups, self._views
        for name, group in part.groups.items():
            merged = groups.get(name) or self._enter_group(name, group)
            merged.add(group)
            merged.keys.add(group.sketch)
        for name, view in part.views.items():
            (views.get(name) or self._enter_view(name)).add(view)
        for route, page in part.pages.items():
            self._whole.page(route).merge(page)
        self._ranking.add(part.hot_keys)
        self._tables.append(part.hot_keys)

    def whole(self, most: int) -> Details:
        """All of them in one, with the ``most`` hottest keys."""
        whole = self._whole
        for group in self._groups.values():
            group.finish()
            group.stats.keys = group.keys.sketch()
        for view in self._views.values():
            view.finish()
        hottest, floor = self._ranking.top(most)
        whole.hot_keys = HotKeys(most, floor, self._ranking.gather(self._tables, hottest))
        return whole

    def _enter_group(self, name: str, group: GroupStats) -> "_Merging[GroupStats]":
        if self._fold is not None and group.kind == "key":
            name = self._fold(name)
        kept = self._whole.kept_group(name)
        merged = self._groups.get(kept)
        if merged is None:
            merged = self._groups[kept] = _Merging(self._whole.group(kept, group.kind))
        return merged

    def _enter_view(self, name: str) -> "_Merging[ViewStats]":
        kept = self._whole.kept_view(name)
        merged = self._views.get(kept)
        if merged is None:
            merged = self._views[kept] = _Merging(self._whole.view(kept))
        return merged


Stats = TypeVar("Stats", GroupStats, ViewStats)


class _Merging(Generic[Stats]):
    """One group or view of many parts: what is merged of it so far."""

    __slots__ = ("_hits", "_misses", "keys", "stats")

    def __init__(self, stats: Stats) -> None:
        self.stats: Stats = stats
        self.keys = sketches.Union()
        self._hits = MergedSample()
        self._misses = MergedSample()

    def add(self, part: Stats) -> None:
        self.stats.merge(part)
        # Asked first: most have none of one or the other.
        if part.sample_hits:
            self._hits.add(part.sample_hits)
        if part.sample_misses:
            self._misses.add(part.sample_misses)

    def finish(self) -> None:
        self.stats.sample_hits = self._hits.samples()
        self.stats.sample_misses = self._misses.samples()
