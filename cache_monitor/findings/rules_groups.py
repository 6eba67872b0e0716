"""Mistakes with groups of keys: values that expire too early or too late, that are hardly read, or
that are never there when they are asked for."""

from collections.abc import Iterator
from datetime import datetime

from msgspec import structs

from cache_monitor.findings.context import (
    IN_PROCESS,
    Cost,
    Evidence,
    RuleContext,
    is_most,
    predicted_longer_timeout,
    predicted_room,
    predicted_shorter_timeout,
)
from cache_monitor.reports import Finding, KeyGroup, MissReasons

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
_HARDLY = 0.1
"""Uses for each write below which a group is hardly asked for."""
_AGAIN = 5
"""Writes for each key without a miss before from which on they overwrite one another."""
_ESTIMATE = 1.3
"""How many more keys there may be than estimated: three standard errors."""
_AN_HOUR = 3300.0
"""Seconds; a report of the last hour covers a little less."""
_SEEN = 10
"""The least number of measured values: the mean of fewer tells little."""
_SELDOM = 4
"""The least lookups for each write of values that are cached to be found again."""
_BY_CHANCE = 200
"""With fewer hits, one in so many writes, keys out of many thousands were found by chance."""
_RARELY = 4
"""A hit ratio below one in four, not counting each key's first miss."""


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


def never_read(context: RuleContext) -> Iterator[Finding]:
    """A group is written at least ``min_calls`` times and used less than a tenth as often, though
    half of its timeout, or an hour, has passed; that wastes more than ``lost_share`` of a worker's
    time, or ``idle_memory_bytes``. Silent for cached pages."""
    for group in _written(context):
        # A page is written by who has asked for it, maybe under another key.
        uses = group.lookups + group.other_uses
        waste = context.waste(group, group.sets)
        if (
            group.kind != "page"
            and uses < _HARDLY * group.sets
            and not _is_overwritten(group)
            and _had_time(context, group)
            and waste.is_costly
        ):
            yield context.find(
                group.group,
                waste.cost,
                **_use(group),
            )


def overwritten(context: RuleContext) -> Iterator[Finding]:
    """Keys of a group are set at least five times each without a miss before, and twice for each
    time that one is found; that wastes more than ``lost_share`` of a worker's time, or
    ``idle_memory_bytes``. Or each value that is found is written again, as a growing list is, with
    ``idle_memory_bytes`` in all. Silent if each traced value was read."""
    for group in context.groups():
        unasked = _unasked(group)
        waste = context.waste(group, unasked)
        in_vain = group.sets >= context.limits.min_calls and _is_overwritten(group)
        size = waste.cost.bytes
        if (in_vain and not group.is_state and waste.is_costly) or (
            _is_rewritten(group) and (size or 0) >= context.limits.idle_memory_bytes
        ):
            spent = waste.cost.seconds if in_vain else group.seconds - group.lookup_seconds
            yield context.find(
                group.group,
                Cost(spent, size),
                **_use(group),
                **_unread("overwritten_unread", group.lives.overwritten_unread),
                written_bytes=size,
                **predicted_longer_timeout(context, group.group),
            )


def key_explosion(context: RuleContext) -> Iterator[Finding]:
    """Keys of a group are looked up once each, then written, at least ``min_calls`` in all, and not
    found again; that wastes more than ``lost_share`` of a worker's time, or ``idle_memory_bytes``.
    A few hot keys do not count. Silent if most misses are of entries that had been there."""
    for group in _written(context):
        rest = _without_hot_keys(context, group)
        asked = max(rest.lookups, rest.sets) if group.kind == "page" else rest.lookups
        waste = context.waste(group, rest.sets)
        if (
            rest.sets >= context.limits.min_calls
            and 2 * asked > rest.sets
            and asked <= _ESTIMATE * max(rest.distinct_keys or 1, 1)
            and rest.hits * _BY_CHANCE < rest.sets
            and not group.other_uses
            and 2 * _explained(group.miss_reasons) < group.misses
            and waste.is_costly
        ):
            yield context.find(
                group.group,
                waste.cost,
                **_use(group),
                one_of_a_kind=rest.distinct_keys,
                # What is left of the group without hot keys, by the mean size of its values.
                written_bytes=waste.cost.bytes,
            )


def deleted_early(context: RuleContext) -> Iterator[Finding]:
    """Most misses of a group are of deleted entries, and it is deleted at least ``min_calls`` times
    and more often than found; to compute the values again costs more than ``lost_share`` of a
    worker's time. Silent if each traced value was read."""
    for group in context.copies():
        deleted = group.miss_reasons.deleted or 0
        lost = context.seconds_lost(group, deleted)
        if (
            group.deletes >= context.limits.min_calls
            and group.hits + group.other_uses < group.deletes
            and is_most(deleted, group.misses, group.miss_reasons)
            and (group.lives.deleted < _SEEN or group.lives.deleted_unread)
            and context.is_costly(lost)
        ):
            yield context.find(
                group.group,
                **_use(group),
                deletes=group.deletes,
                misses_by_deletion=deleted,
                **_unread("deleted_unread", group.lives.deleted_unread),
                lost_seconds=lost,
            )


def cheap_to_recompute(context: RuleContext) -> Iterator[Finding]:
    """To compute a value of a group takes no longer than to look it up, by at least ten measured
    values, with at least ``min_calls`` hits and four lookups for each write. Silent if the requests
    that find the values hardly compute any."""
    for group in context.copies():
        to_produce = group.produce_seconds
        if (
            group.hits >= context.limits.min_calls
            and group.produced >= _SEEN
            and group.lookups >= _SELDOM * group.sets
            and to_produce is not None
            and to_produce <= (lookup := _lookup_seconds(context, group))
            and not _is_made_elsewhere(context, group)
        ):
            yield context.find(
                group.group,
                Cost(group.lookups * lookup - group.hits * to_produce),
                produce_seconds=to_produce,
                lookup_seconds=round(lookup, 9),
                hits=group.hits,
            )


def _is_made_elsewhere(context: RuleContext, group: KeyGroup) -> bool:
    """Whether the requests that find values of ``group`` have hardly missed any: others compute
    them, such as a task that stores its result."""
    uses = [use for view in context.cache.views for use in view.groups if use.group == group.group]
    hits = sum(use.hits for use in uses)
    return hits > 0 and 2 * (sum(use.lookups for use in uses) - hits) < group.produced


def _lookup_seconds(context: RuleContext, group: KeyGroup) -> float:
    """The typical seconds of a lookup of ``group``: the mean of its own, or less if a few slow ones
    raised that."""
    own = group.lookup_seconds / group.lookups if group.lookups else 0.0
    return min(own, context.typical_lookup_seconds * _share_of_lookup(context, group))


def _share_of_lookup(context: RuleContext, group: KeyGroup) -> float:
    """The seconds of a lookup of ``group``, divided by those of any of its cache. Without a server,
    the time goes into the value, which is unpickled; with one, into the round trip."""
    if context.backend not in IN_PROCESS:
        return 1.0
    own, every = group.bytes_read, context.cache.bytes_read
    if not (own and every and group.hits):
        # The sizes of values that several keys brought at once are unknown.
        return 0.0
    return min(1.0, own / group.hits / (every / max(context.cache.hits, 1)))


def never_stored(context: RuleContext) -> Iterator[Finding]:
    """A group is looked up at least ``min_calls`` times, and none of its keys was found, written or
    deleted. Silent if most keys are asked for once in a request, as flags are, unless that costs
    more than ``lost_share`` of a worker's time."""
    for group in context.groups():
        in_loops = (group.repeated_gets or 0) + (group.single_gets or 0)
        if (
            group.lookups >= context.limits.min_calls
            and not (group.hits or group.sets or group.other_uses or group.deletes)
            and (2 * in_loops >= group.lookups or context.is_costly(group.lookup_seconds))
        ):
            view = context.view_of(group.group)
            yield context.find(
                group.group,
                Cost(group.lookup_seconds, failed_calls=group.lookups),
                lookups=group.lookups,
                lookups_share=round(group.lookups / context.cache.lookups, 4),
                distinct_keys=group.distinct_keys,
                view=view.view if view else None,
                lost_seconds=group.lookup_seconds,
            )


def low_hit_ratio(context: RuleContext) -> Iterator[Finding]:
    """A group is looked up at least ``min_calls`` times, and three in four lookups miss, not
    counting the first miss of each key; to compute the values again costs more than ``lost_share``
    of a worker's time. Silent if another finding says why."""
    for group in context.copies():
        # The first of a key that is then stored cannot be helped.
        first = min(round(_ESTIMATE * (group.distinct_keys or 0)), group.sets)
        avoidable = max(min(group.misses, group.sets) - first, 0)
        lost = context.seconds_lost(group, avoidable)
        if (
            group.lookups >= context.limits.min_calls
            and (group.hits + avoidable) >= context.limits.min_calls
            and group.hits * _RARELY < group.hits + avoidable
            and context.is_costly(lost)
        ):
            yield context.find(
                group.group,
                **_use(group),
                hit_ratio=group.hit_ratio,
                lost_seconds=lost,
                **(predicted_longer_timeout(context, group.group) or predicted_room(context)),
            )


def _written(context: RuleContext) -> Iterator[KeyGroup]:
    return (group for group in context.copies() if group.sets >= context.limits.min_calls)


def _had_time(context: RuleContext, group: KeyGroup) -> bool:
    """Whether the entries were there for long enough that somebody could have read them: the first
    one, and most others at least half as long."""
    if group.first_set_at is None or context.until is None:
        return False
    moments = group.first_set_at, group.mean_set_at or group.first_set_at
    first, mean = ((context.until - datetime.fromisoformat(it)).total_seconds() for it in moments)
    due = min(_AN_HOUR, group.timeout / 2 if group.timeout else _AN_HOUR)
    return first >= due and mean >= due / 2


def _without_hot_keys(context: RuleContext, group: KeyGroup) -> KeyGroup:
    """``group`` without those of the cache's hottest keys that were found."""
    hot = [key for key in context.cache.hot_keys if key.group == group.group and key.hits]
    return structs.replace(
        group,
        lookups=max(group.lookups - sum(key.hits + key.misses for key in hot), 0),
        hits=max(group.hits - sum(key.hits for key in hot), 0),
        sets=max(group.sets - sum(key.sets for key in hot), 0),
        distinct_keys=max((group.distinct_keys or 0) - len(hot), 0),
    )


def _is_rewritten(group: KeyGroup) -> bool:
    """Whether what is found is mostly written anew, key by key."""
    unasked = max(_unasked(group), group.rewrites or 0)
    again = group.sets >= _AGAIN * max(group.distinct_keys or 1, 1)
    return again and unasked >= _SEEN and 2 * unasked >= group.hits


def _unasked(group: KeyGroup) -> int:
    """The writes that no miss has asked for."""
    return max(group.sets - group.misses, 0)


def _explained(reasons: MissReasons) -> int:
    """The misses of entries that had been there."""
    gone = reasons.expired, reasons.evicted, reasons.lost, reasons.deleted, reasons.cleared
    return sum(each or 0 for each in (*gone, reasons.version_changed))


def _is_overwritten(group: KeyGroup) -> bool:
    unasked, keys = _unasked(group), max(group.distinct_keys or 1, 1)
    if group.lives.overwritten >= _SEEN and not group.lives.overwritten_unread:
        return False  # Each of the values was read, or may have been.
    return unasked >= _AGAIN * keys and 2 * (group.hits + group.other_uses) < unasked


def _unread(name: str, count: int) -> Evidence:
    """How many entries surely nobody read: that there were none is not known as surely."""
    return {name: count} if count else {}


def _use(group: KeyGroup) -> Evidence:
    return {
        "sets": group.sets,
        "lookups": group.lookups,
        "hits": group.hits,
        "distinct_keys": group.distinct_keys,
    }
