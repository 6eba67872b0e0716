"""Several groups of keys in one, where they have turned out to be one: no count is lost."""

from collections.abc import Callable

from cache_monitor.stats import distinct
from cache_monitor.stats.details import Details, GroupStats, ViewStats, ViewUse
from cache_monitor.stats.samples import smallest

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
    into.keys = distinct.unite(into.keys, group.keys)
    into.sample_hits = smallest((*into.sample_hits, *group.sample_hits))
    into.sample_misses = smallest((*into.sample_misses, *group.sample_misses))
