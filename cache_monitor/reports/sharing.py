"""Aliases that lead to one store are told together, and the entries that they share once."""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from msgspec.structs import replace

from cache_monitor.inspectors.snapshot import Snapshot
from cache_monitor.reports.schema import Cache


class Sharing(NamedTuple):
    """The aliases that share a store, and the one of them in which entries count that are the same;
    None for that one itself."""

    aliases: list[str]
    counted_in: str | None


def sharing(looks: Mapping[str, Snapshot | None]) -> dict[str, Sharing]:
    """What the aliases share that have a store in common, as the last ``looks`` found.

    Of those whose keys have the same prefix, version and function too, the entries are the same:
    they count in the first of them.
    """
    stores: defaultdict[str, list[str]] = defaultdict(list)
    first: dict[tuple[str, str], str] = {}
    known = {alias: look for alias, look in looks.items() if look is not None and look.store}
    for alias, look in known.items():
        stores[look.store].append(alias)
        first.setdefault((look.store, look.keys), alias)
    found = {}
    for alias, look in known.items():
        counted_in = first[look.store, look.keys]
        if len(stores[look.store]) > 1:
            found[alias] = Sharing(stores[look.store], counted_in if counted_in != alias else None)
    return found


def told_together(
    caches: Mapping[str, Cache], looks: Mapping[str, Snapshot | None]
) -> dict[str, Cache]:
    """``caches`` with the names of those that share a store. What one of them evicts may be
    another's: where they count it themselves, it is the store's, as it is a server's."""
    found = dict(caches)
    for alias, (aliases, counted_in) in sharing(looks).items():
        memory = replace(found[alias].memory, aliases=aliases, counted_in=counted_in)
        if memory.evictions_since is not None:
            evicted = sum(caches[each].memory.evictions or 0 for each in aliases)
            memory = replace(memory, evictions=evicted)
        found[alias] = replace(found[alias], memory=memory)
    return found


def same_entries(alias: str, caches: Mapping[str, Cache]) -> list[str]:
    """``alias`` and those whose entries count in it."""
    return [alias, *(each for each, it in caches.items() if it.memory.counted_in == alias)]


def once(caches: Mapping[str, Cache]) -> dict[str, Cache]:
    """``caches`` without those whose entries are another's as well, which stands for them; all of
    them where that one is not among them."""
    return {
        alias: cache for alias, cache in caches.items() if cache.memory.counted_in not in caches
    }
