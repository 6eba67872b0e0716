"""The details of many processes and buckets in one, and several key groups in one."""

from collections.abc import Callable

from cache_monitor.stats import compact
from cache_monitor.stats.columns import Ranking, StoredKeys
from cache_monitor.stats.compact import Union
from cache_monitor.stats.details import Details, GroupStats, StoredDetails, ViewStats, ViewUse
from cache_monitor.stats.top_keys import HotKeys, MergedSample, few_of

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
    into.keys = compact.unite(into.keys, group.keys)
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
        self._groups: dict[str, _Group] = {}
        self._views: dict[str, _View] = {}
        self._ranking = Ranking()
        self._tables: list[StoredKeys] = []

    def add(self, part: StoredDetails) -> None:
        """Take in ``part``, which stays as it is."""
        self._whole.uses += part.uses
        # A report merges tens of thousands of groups and views: hence few calls for each.
        groups, views = self._groups, self._views
        for name, group in part.groups.items():
            (groups.get(name) or self._enter_group(name, group)).add(group)
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
        for view in self._views.values():
            view.finish()
        hottest, floor = self._ranking.top(most)
        whole.hot_keys = HotKeys(most, floor, self._ranking.gather(self._tables, hottest))
        return whole

    def _enter_group(self, name: str, group: GroupStats) -> "_Group":
        if self._fold is not None and group.kind == "key":
            name = self._fold(name)
        kept = self._whole.kept_group(name)
        merged = self._groups.get(kept)
        if merged is None:
            merged = self._groups[kept] = _Group(self._whole.group(kept, group.kind))
        return merged

    def _enter_view(self, name: str) -> "_View":
        kept = self._whole.kept_view(name)
        merged = self._views.get(kept)
        if merged is None:
            merged = self._views[kept] = _View(self._whole.view(kept))
        return merged


class _Group:
    """One group of many parts: what is merged of it so far."""

    __slots__ = ("_hits", "_keys", "_misses", "_stats")

    def __init__(self, stats: GroupStats) -> None:
        self._stats = stats
        self._keys = Union()
        self._hits = MergedSample()
        self._misses = MergedSample()

    def add(self, group: GroupStats) -> None:
        self._stats.merge(group)
        # As it was stored at first, or as it is now.
        if group.keys:
            self._keys.add(group.keys)
        self._keys.add_packed(group.sketch)
        # Asked first: most have none of one or the other.
        if group.sample_hits:
            self._hits.add(group.sample_hits)
        if group.sample_misses:
            self._misses.add(group.sample_misses)

    def finish(self) -> None:
        self._stats.keys = self._keys.sketch()
        self._stats.sample_hits = self._hits.samples()
        self._stats.sample_misses = self._misses.samples()


class _View:
    """One view of many parts."""

    __slots__ = ("_hits", "_misses", "_stats")

    def __init__(self, stats: ViewStats) -> None:
        self._stats = stats
        self._hits = MergedSample()
        self._misses = MergedSample()

    def add(self, view: ViewStats) -> None:
        self._stats.merge(view)
        if view.sample_hits:
            self._hits.add(view.sample_hits)
        if view.sample_misses:
            self._misses.add(view.sample_misses)

    def finish(self) -> None:
        self._stats.sample_hits = self._hits.samples()
        self._stats.sample_misses = self._misses.samples()
