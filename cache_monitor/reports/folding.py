"""Key groups that have turned out to be one, in what was counted before that was known.

Processes learn at different times, and rows of before have the single names: the sums of these are
added up when a report is made, and nothing is lost.
"""

from cache_monitor.keys.learned import learned, with_more
from cache_monitor.keys.naming import is_chosen
from cache_monitor.stats.details import OTHER_GROUPS, Details
from cache_monitor.stats.folding import fold_groups


def fold_learned(details: Details) -> None:
    """Fold the groups of ``details`` by what this process has learned and by what they show
    themselves, which it learns with it."""
    names = [
        name
        for name, group in details.groups.items()
        if group.kind == "key" and name != OTHER_GROUPS and not is_chosen(name)
    ]
    folding = with_more(learned.folding, names)
    if folding is not learned.folding:
        learned.learn(folding.templates)
    fold_groups(details, lambda name: name if is_chosen(name) else folding.fold(name))
