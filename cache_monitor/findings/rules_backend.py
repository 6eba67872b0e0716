"""Mistakes with a backend: it does not work, it has too little room, or too much is asked of it."""

from collections.abc import Callable, Iterator
from math import sqrt

from cache_monitor.findings.context import Cost, Evidence, RuleContext, is_most, predicted_room
from cache_monitor.keys.naming import name_key
from cache_monitor.reports import Cache, Finding, Memory, MissReasons, Operation
from cache_monitor.reports.keys import whole_groups
from cache_monitor.stats.details import OTHER_GROUPS

_SEVERAL = 2


def backend_errors(context: RuleContext) -> Iterator[Finding]:
    """At least ``min_errors`` calls raised, and more than ``error_share`` of all. Not counted are
    what the site's own function raises in a ``get_or_set``, the errors of one that a backend has of
    its own unless most of its calls fail, and counters that ``incr`` does not find."""
    operations = context.cache.operations
    failed = {name: _failed(name, each) for name, each in operations.items()}
    calls = sum(each.calls for each in operations.values())
    errors = sum(failed.values())
    if errors >= max(context.limits.min_errors, 1) and errors > context.limits.error_share * calls:
        worst = max(failed, key=lambda name: failed[name])
        yield context.find(
            None,
            Cost(failed_calls=errors),
            errors=errors,
            calls=calls,
            operation=worst,
        )


def _failed(name: str, operation: Operation) -> int:
    errors = operation.errors - operation.absent
    is_the_sites = name == "get_or_set" and 2 * errors <= operation.calls - operation.absent
    return 0 if is_the_sites else errors


def dummy_backend(context: RuleContext) -> Iterator[Finding]:
    """A ``DummyCache``, which stores nothing, is asked for keys. Silent where ``DEBUG`` is on."""
    if (
        context.backend == "DummyCache"
        and not context.environment.is_debug
        and context.cache.lookups
    ):
        lookups, lost = context.cache.lookups, context.cache.miss_reasons.lost
        yield context.find(None, Cost(failed_calls=lookups), lookups=lookups, lost=lost)


def local_memory_many_processes(context: RuleContext) -> Iterator[Finding]:
    """Several processes use a ``LocMemCache`` now, and it had at least ``min_calls`` lookups.
    Silent where ``DEBUG`` is on."""
    processes = context.environment.processes.get(context.alias, 0)
    if (
        context.backend == "LocMemCache"
        and not context.environment.is_debug
        and processes >= _SEVERAL
        and context.cache.lookups >= context.limits.min_calls
    ):
        yield context.find(
            None,
            Cost(context.cache.misses * context.mean_produce_seconds),
            processes=processes,
            lookups=context.cache.lookups,
        )


WORTH = 10
"""A cause of misses counts from one lookup in so many: what is rarer than that, the hits outweigh
by far."""
_MUCH_OF_THE_LOAD = 1 / 3
_CULLED = 2
"""A cache that was full still has one entry in so many that it has room for."""


def evicted_early(context: RuleContext) -> Iterator[Finding]:
    """Most misses, and at least one lookup in ten, are of evicted entries; to compute their values
    again costs more than ``lost_share`` of a worker's time. Silent if the server or the entries say
    that the cache has evicted nothing."""
    cache = context.cache
    evicted = cache.miss_reasons.evicted or 0
    lost = evicted * context.mean_produce_seconds
    if (
        cache.lookups >= context.limits.min_calls
        and is_most(evicted, cache.misses, cache.miss_reasons)
        and WORTH * evicted > cache.lookups
        and _has_evicted(cache)
        and context.is_costly(lost)
    ):
        yield context.find(
            _hit_most(cache, lambda reasons: reasons.evicted),
            evicted=evicted,
            misses=cache.misses,
            lookups=cache.lookups,
            entries=cache.memory.entries,
            limit_entries=cache.memory.limit_entries,
            limit_bytes=cache.memory.limit_bytes,
            lost_seconds=lost,
            **predicted_room(context),
        )


def lost_entries(context: RuleContext) -> Iterator[Finding]:
    """Most misses, and at least one lookup in ten, are of entries that were gone before their
    timeout though the cache had evicted nothing; to compute their values again costs more than
    ``lost_share`` of a worker's time."""
    cache = context.cache
    gone = cache.miss_reasons.lost or 0
    lost = gone * context.mean_produce_seconds
    if (
        cache.lookups >= context.limits.min_calls
        and is_most(gone, cache.misses, cache.miss_reasons)
        and WORTH * gone > cache.lookups
        and context.is_costly(lost)
    ):
        yield context.find(
            _hit_most(cache, lambda reasons: reasons.lost),
            lost=gone,
            evicted=cache.miss_reasons.evicted,
            misses=cache.misses,
            lookups=cache.lookups,
            **_causes(cache),
            lost_seconds=lost,
        )


def _hit_most(cache: Cache, count: Callable[[MissReasons], int | None]) -> str | None:
    """The group with most misses of one reason; None where no group is known to have any."""
    counts = {each.group: count(each.miss_reasons) or 0 for each in whole_groups(cache.key_groups)}
    # Those of many groups may all be one's.
    others = counts.pop(OTHER_GROUPS, 0)
    most = max(counts, key=counts.__getitem__, default=None)
    return most if most is not None and counts[most] > others else None


def _causes(cache: Cache) -> Evidence:
    """What is known of what took entries away."""
    lives = [each.lives for each in cache.key_groups]
    restarted = sum(each.lost_by_restart for each in lives)
    refused = sum(each.lost_by_refusal for each in lives)
    lagged = sum(each.lost_by_replica for each in lives)
    at = max((each.restarted_at for each in lives if each.restarted_at), default=None)
    # What begins anew is a server, or the directory of a cache of so many files.
    is_server = cache.memory.limit_entries is None
    figures: Evidence = {
        "lost_by_restart" if is_server else "lost_by_new_directory": restarted,
        "lost_by_refusal": refused,
        "lost_by_replica": lagged,
        "restarted_at" if is_server else "new_directory_at": at if restarted else None,
    }
    return {name: figure for name, figure in figures.items() if figure}


def _has_evicted(cache: Cache) -> bool:
    """Whether the cache evicted, as far as its server's counter or its room tell."""
    counted = [point.evictions for point in cache.series if point.evictions is not None]
    if counted:
        return any(counted)
    entries, limit = cache.memory.entries, cache.memory.limit_entries
    # Where it was full it has thrown out a third, or more where CULL_FREQUENCY says so.
    return entries is None or limit is None or _CULLED * entries >= limit


def large_values(context: RuleContext) -> Iterator[Finding]:
    """A value of a hot key, or one that a scan found, is larger than ``large_value_bytes``. One
    finding for each group."""
    groups = {entry.key: entry.group for entry in context.cache.hot_keys}
    sizes = {entry.key: entry.bytes for entry in context.cache.memory.largest}
    # What a call has carried; several calls on one key may have carried different values.
    for key in context.cache.hot_keys:
        sizes[key.key] = max(sizes.get(key.key, 0), key.bytes or 0)
    bytes_read = {each.group: each.bytes_read for each in context.cache.key_groups}
    worst: dict[str, tuple[int, str]] = {}
    for name, size in sizes.items():
        group = groups.get(name) or name_key(name, context.alias).group
        if size > context.limits.large_value_bytes and (size, name) > worst.get(group, (0, "")):
            worst[group] = size, name
    for group, (size, name) in sorted(worst.items()):
        read = bytes_read.get(group) or 0
        yield context.find(
            group,
            Cost(bytes=max(size, read)),
            name,
            bytes=size,
            read_bytes=read,
        )


def clear_under_traffic(context: RuleContext) -> Iterator[Finding]:
    """At least ``min_calls`` lookups missed because of ``clear()``; to compute their values again
    costs more than ``lost_share`` of a worker's time."""
    clears = context.cache.operations.get("clear")
    cleared = context.cache.miss_reasons.cleared or 0
    lost = cleared * context.mean_produce_seconds
    if (
        clears is not None
        and clears.calls
        and cleared >= context.limits.min_calls
        and context.is_costly(lost)
    ):
        yield context.find(
            clears=clears.calls,
            misses_by_clear=cleared,
            misses=context.cache.misses,
            lost_seconds=lost,
        )


_STANDARD_ERRORS = 3
"""The difference of two estimates counts from so many standard errors on."""
_FULL = 0.5
"""The share of the room for entries from which on expired ones fill it."""


def no_expiry(context: RuleContext) -> Iterator[Finding]:
    """A scan found that more than ``idle_memory_share`` of the entries have no timeout, and that
    these are more than ``idle_memory_entries``, or larger than ``idle_memory_bytes``."""
    memory, endless = context.cache.memory, context.cache.stale.no_expiry
    if not memory.entries or not endless:
        return
    size = memory.freed_within.never
    is_many = (
        endless > context.limits.idle_memory_entries
        and endless > context.limits.idle_memory_share * memory.entries
    )
    is_much = (
        size is not None
        and size > context.limits.idle_memory_bytes
        and size > context.limits.idle_memory_share * (memory.bytes or 0)
    )
    if is_many or is_much:
        yield context.find(
            _most_endless_group(context.cache.memory, endless),
            Cost(bytes=size),
            entries_without_expiry=endless,
            entries=memory.entries,
            bytes_without_expiry=size,
            bytes=memory.bytes,
        )


def _most_endless_group(memory: Memory, endless: int) -> str | None:
    """The group that surely has most of the ``endless`` entries, those without a timeout; None
    where that is not known. The scan counts them in each group that it lists."""
    counts = {each.group: each.no_expiry or 0 for each in memory.groups}
    # All that are in no group of the list, or in the one of many, may be those of one other.
    unnamed = endless - sum(counts.values()) + counts.pop(OTHER_GROUPS, 0)
    first, second, *_ = [*sorted(counts.values(), reverse=True), 0, 0]
    others = second + max(unnamed, 0)
    if memory.exact is False:
        # Those examined are a sample, and the error of each count about its root.
        scale = (memory.entries or 0) / max(memory.examined or 0, 1)
        margin = _STANDARD_ERRORS * sqrt((first + others) * scale)
    else:
        margin = 0.0
    if first - others <= margin:
        return None
    return max(counts, key=counts.__getitem__)


def expired_stored(context: RuleContext) -> Iterator[Finding]:
    """A scan found that expired entries take half of the room for entries and are more than
    ``idle_memory_entries``, or take more than ``idle_memory_bytes``."""
    memory, expired = context.cache.memory, context.cache.stale.expired
    if not memory.entries or not expired:
        return
    size = context.cache.stale.expired_bytes
    is_many = (
        expired > context.limits.idle_memory_entries
        and memory.limit_entries is not None
        and expired > _FULL * memory.limit_entries
    )
    is_much = (
        size is not None
        and size > context.limits.idle_memory_bytes
        and expired > context.limits.idle_memory_share * memory.entries
    )
    if is_many or is_much:
        yield context.find(
            None,
            Cost(bytes=size),
            expired=expired,
            entries=memory.entries,
            limit_entries=memory.limit_entries,
            expired_bytes=size,
        )


def hot_key(context: RuleContext) -> Iterator[Finding]:
    """One key has more than a third of the lookups, and these take more than ``hot_key_load`` of
    one core's time. Silent for cached pages."""
    own = {group.group for group in context.groups() if group.kind != "page"}
    for key in context.cache.hot_keys[:1]:
        sure = key.lookups - key.max_overcount
        seconds = sure * context.lookup_seconds
        load = seconds / context.active_seconds
        if (
            key.group in own
            and (key.share or 0) > _MUCH_OF_THE_LOAD
            and load > context.limits.hot_key_load
        ):
            yield context.find(
                key.group,
                Cost(seconds),
                key.key,
                lookups=sure,
                lookups_share=key.share,
                load_share=load,
            )
