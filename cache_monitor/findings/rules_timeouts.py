"""Mistakes with timeouts: entries that go too early, too late, or never."""

from collections.abc import Iterator
from math import sqrt

from cache_monitor.findings.context import (
    Cost,
    Evidence,
    RuleContext,
    is_most,
    predicted_longer_timeout,
    predicted_shorter_timeout,
)
from cache_monitor.reports.schema import Finding, KeyGroup, Memory
from cache_monitor.scan.snapshot import OTHER_GROUPS

_ASKED_AGAIN = 10
"""Lookups for each key: fewer could be chance, and a longer timeout would not help them."""
_SOON = 4
"""One lookup in so many finds its entry expired: each value is found three times at most. One that
is found more often is worth what it takes to produce it again."""
_UNCHANGED = 0.9
"""The share of rewrites that bring what had been there from which on a longer timeout would hardly
serve old values."""
_CHANGED = 0.5
"""Where fewer are the same, a longer timeout mostly would."""
_STALE = 0.1
"""One hit in so many that serves a value which has changed."""
_STANDARD_ERRORS = 3
"""The difference of two estimates counts from so many standard errors on."""
_FULL = 0.5
"""The share of the room for entries from which on expired ones fill it."""


def short_timeout(context: RuleContext) -> Iterator[Finding]:
    """Most misses of a group, and more than one lookup in four, are of expired entries, and its
    keys have at least ten lookups each; to compute their values again costs more than
    ``lost_share`` of a worker's time. Silent if most values had changed by then."""
    for group in context.copies():
        expired, unchanged = group.miss_reasons.expired or 0, group.changes.unchanged
        lost = context.seconds_lost(group, expired)
        if (
            group.lookups >= context.limits.min_calls
            and group.lookups >= _ASKED_AGAIN * max(group.distinct_keys or 1, 1)
            and is_most(expired, group.misses, group.miss_reasons)
            and _SOON * expired > group.lookups
            and (unchanged is None or unchanged >= _CHANGED)
            and context.is_costly(lost)
        ):
            yield context.find(
                group.group,
                lookups=group.lookups,
                misses=group.misses,
                distinct_keys=group.distinct_keys,
                expired=expired,
                **_unchanged(group),
                lost_seconds=lost,
                **predicted_longer_timeout(context, group.group),
            )


def unchanged_rewrites(context: RuleContext) -> Iterator[Finding]:
    """At least nine in ten values of a group were unchanged when they were written again after
    their expiry; to compute these costs more than ``lost_share`` of a worker's time. Silent if few
    such writes were traced."""
    for group in context.copies():
        share = group.changes.unchanged
        if share is None or share < _UNCHANGED:
            continue
        same = round(share * group.changes.rewrites)
        lost = context.seconds_lost(group, same)
        if context.is_costly(lost):
            yield context.find(
                group.group,
                expired_rewrites=group.changes.rewrites,
                **_unchanged(group),
                lost_seconds=lost,
                **predicted_longer_timeout(context, group.group),
            )


def _unchanged(group: KeyGroup) -> Evidence:
    share = group.changes.unchanged
    return {} if share is None else {"unchanged_share": round(share, 4)}


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


def aged_content(context: RuleContext) -> Iterator[Finding]:
    """A group has at least ``min_calls`` hits, and one in ten serves a value older than
    ``aged_after``. Silent if fewer than one in ten of the values are known to have changed by
    then."""
    for group in context.groups():
        age, stale = group.age_p90, group.changes.stale_share
        is_old = age is not None and age > context.limits.aged_after
        if group.hits >= context.limits.min_calls and is_old and (stale is None or stale >= _STALE):
            known: Evidence = {} if stale is None else {"stale_share": round(stale, 4)}
            yield context.find(
                group.group,
                median_age=group.age_p50,
                p90_age=age,
                **known,
                hits=group.hits,
                **predicted_shorter_timeout(context, group.group),
            )


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
