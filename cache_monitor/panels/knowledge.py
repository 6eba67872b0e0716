"""What the whole site's statistics add to the account of one request."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cache_monitor import api, scope
from cache_monitor.interruptions import let_pass
from cache_monitor.panels.hints import Usage
from cache_monitor.panels.savings import Group
from cache_monitor.recorder import recorder


@dataclass(frozen=True, slots=True)
class Knowledge:
    """By alias and key group: the mean milliseconds to produce a value, and how it is used. The
    busiest keys have means of their own."""

    means: Mapping[Group, float] = field(default_factory=dict)
    key_means: Mapping[Group, float] = field(default_factory=dict)
    usage: Mapping[Group, Usage] = field(default_factory=dict)


def of_the_last_hour() -> Knowledge:
    """What the report says; nothing where it cannot be made."""
    try:
        with scope.muted():
            report = api.report()
    except Exception as error:
        let_pass(error)
        # A fault of ours, or of the store's that is none of those it may have: the panel has
        # the request to tell of all the same.
        recorder.failed(error)
        return Knowledge()
    groups = [
        ((alias, group.group), group)
        for alias, cache in report.caches.items()
        for group in cache.key_groups
    ]
    return Knowledge(
        means={
            name: group.produce_seconds * 1000
            for name, group in groups
            if group.produce_seconds is not None
        },
        key_means={
            (alias, key.key): key.produce_seconds * 1000
            for alias, cache in report.caches.items()
            for key in cache.hot_keys
            if key.produce_seconds is not None
        },
        usage={name: Usage(group.sets, group.lookups) for name, group in groups},
    )
