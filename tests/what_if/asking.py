"""Lookups of a simulated cache, as by ``get`` and then ``set`` after a miss."""

from collections.abc import Iterable

from cache_monitor.what_if.simulated_caches import Access, Model


def found(model: Model, access: Access) -> bool:
    """Look a key up, and write it if it is missing; whether it was there."""
    is_hit = model.look_up(access)
    if not is_hit:
        model.write(access)
    return is_hit


def hits(model: Model, accesses: Iterable[Access]) -> float:
    """The hits of all of them, by weight."""
    return sum(access.weight for access in accesses if found(model, access))


def number_of_entries(model: Model) -> int:
    return len(model._ends)
