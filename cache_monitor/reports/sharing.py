"""Aliases that lead to one store are told together, and the entries that they share once."""

from collections import defaultdict
from collections.abc import Mapping

from msgspec.structs import replace

from cache_monitor.inspectors.snapshot import Snapshot
from cache_monitor.reports.schema import Cache


def told_together(
    caches: Mapping[str, Cache], looks: Mapping[str, Snapshot | None]
) -> dict[str, Cache]:
    """``caches`` with the names of those that share a store, as the last ``looks`` found.

    Of those whose keys have the same prefix, version and function too, the entries are the same:
    they count in the first of them.
    """
    stores: defaultdict[str, list[str]] = defaultdict(list)
    first: dict[tuple[str, str], str] = {}
    for alias, look in looks.items():
        if look is not None and look.store:
            stores[look.store].append(alias)
            first.setdefault((look.store, look.keys), alias)
    found = dict(caches)
    for alias, look in looks.items():
        aliases = stores[look.store] if look is not None and look.store else []
        if look is None or len(aliases) < 2:
            continue
        counted_in = first[look.store, look.keys]
        memory = replace(
            found[alias].memory,
            aliases=aliases,
            counted_in=None if counted_in == alias else counted_in,
        )
        found[alias] = replace(found[alias], memory=memory)
    return found
