"""What the last look into each cache found, for the memory and the stale page."""

from collections.abc import Callable, Sequence

from django.utils.translation import gettext as _

from cache_monitor.dashboard import formats
from cache_monitor.dashboard.links import Links
from cache_monitor.dashboard.livesheets import STALE_REASONS
from cache_monitor.dashboard.present import memory_figures, share
from cache_monitor.dashboard.query import Query
from cache_monitor.dashboard.rows import Choice, Figure, LiveRows, Part
from cache_monitor.dashboard.sheets import (
    Caches,
    Of,
    Sheet,
    bar_of,
    button,
    coded,
    counted,
    dated,
    sized,
    worded,
)
from cache_monitor.reports.schema import Cache, Memory, Stale
from cache_monitor.reports.sharing import once, same_entries

ActionUrl = Callable[[str], str]


def memory_rows(caches: Caches, action_url: ActionUrl) -> Sequence[LiveRows]:
    """What each cache weighs that may have something in it; ``action_url`` leads to clearing it, or
    is empty."""
    return [
        _live(
            alias,
            cache,
            caches,
            figures=memory_figures(cache.memory, says_period=True),
            parts=_freed(cache.memory) if cache.memory.entries else [],
            action_url=action_url(alias),
        )
        for alias, cache in once(caches).items()
        if cache.memory.measured_at is not None and cache.memory.entries != 0
    ]


def empty_caches(caches: Caches) -> Sequence[str]:
    """The caches without an entry: a block of zeros each would be all there is to see."""
    return [alias for alias, cache in caches.items() if cache.memory.entries == 0]


def unseen_caches(caches: Caches) -> Sequence[str]:
    """The caches that nobody has looked into."""
    return [
        alias
        for alias, cache in caches.items()
        if cache.memory.measured_at is None and cache.memory.entries != 0
    ]


def stale_caches(caches: Caches, action_url: ActionUrl) -> Sheet[Of[Cache]]:
    """How much each cache holds that no longer earns its place; ``action_url`` leads to deleting
    it, or is empty."""

    def delete_url(each: Of[Cache]) -> str:
        return action_url(each.alias) if _has_stale(each.it.stale) else ""

    return Sheet(
        "caches",
        _("Stale entries by cache"),
        [
            coded("cache", _("Cache"), lambda each: named(each.alias, caches)),
            counted("expired", _("Expired, still stored"), lambda each: each.it.stale.expired),
            counted(
                "idle",
                _("Idle"),
                lambda each: each.it.stale.idle,
                lambda each: not each.it.stale.idle_error,
            ),
            counted(
                "never_read",
                _("Never read"),
                lambda each: each.it.stale.never_read,
                lambda each: not each.it.stale.never_read_error,
            ),
            counted("no_expiry", _("No expiry"), lambda each: each.it.stale.no_expiry),
            sized("bytes", _("Bytes held"), lambda each: each.it.stale.bytes),
            dated("measured_at", _("Seen at"), lambda each: each.it.memory.measured_at),
            worded("rests_on", _("Rests on"), lambda each: _rests_on(each.it)),
            dated("recorded_since", _("Uses known since"), lambda each: _since(each.it)),
            button(_("Delete…"), delete_url),
        ],
        [Of(alias, cache) for alias, cache in once(caches).items() if cache.memory.entries != 0],
        empty=_("No cache has an entry."),
        searched=False,
    )


def stale_choices(caches: Caches, links: Links, query: Query, why: str) -> Sequence[Choice]:
    """A link for each kind of stale entries, with how many the caches have of it."""
    labels = {
        "expired": _("Expired, still stored"),
        "idle": _("Idle"),
        "never_read": _("Never read"),
        "no_expiry": _("No expiry"),
    }
    here = links.path("stale")
    every = [Choice(_("All kinds"), "", f"{here}?{query.encode(why='', page='')}", not why)]
    for reason in STALE_REASONS:
        counts = [getattr(cache.stale, reason) for cache in once(caches).values()]
        known = [count for count in counts if count is not None]
        every.append(
            Choice(
                labels[reason],
                formats.count(sum(known) if known else None),
                f"{here}?{query.encode(why=reason, page='')}",
                why == reason,
            )
        )
    return every


def named(alias: str, caches: Caches) -> str:
    """The cache, and those whose entries are the same."""
    return ", ".join(same_entries(alias, caches))


def _neighbours(alias: str, memory: Memory, caches: Caches) -> list[str]:
    """The caches with other entries in the same store, whose limit and evictions are the same."""
    same = same_entries(alias, caches)
    return [each for each in memory.aliases if each not in same]


def _live(
    alias: str,
    cache: Cache,
    caches: Caches,
    *,
    figures: Sequence[Figure],
    parts: Sequence[Part],
    action_url: str,
) -> LiveRows:
    memory = cache.memory
    return LiveRows(
        alias=alias,
        names=named(alias, caches),
        neighbours=", ".join(_neighbours(alias, memory, caches)),
        backend_name=cache.backend.rpartition(".")[2],
        measured_at=formats.moment(memory.measured_at),
        said=_said(memory),
        problem=memory.problem or "",
        known=memory.entries is not None or memory.bytes is not None,
        figures=figures,
        bar=bar_of(share(memory.bytes, memory.limit_bytes)),
        parts=parts,
        drawn=any(group.bytes for group in memory.groups),
        action_url=action_url,
    )


def _said(memory: Memory) -> str:
    """How much of the cache the figures rest on."""
    if memory.measured_at is None:
        return _("not looked into yet")
    if memory.exact is None or not memory.looked_at:
        return memory.problem or ""
    looked_at = formats.count(memory.looked_at)
    if memory.exact:
        return _("exact: every entry was looked at (%(count)s)") % {"count": looked_at}
    return _("~estimated from the %(count)s entries that were looked at") % {"count": looked_at}


def _rests_on(cache: Cache) -> str:
    """How much of the cache the figures rest on, and by how much those of its uses may be off."""
    memory, stale = cache.memory, cache.stale
    if not memory.exact or not memory.looked_at:
        said = [_said(memory)]
    else:
        said = [_("all %(count)s entries") % {"count": formats.count(memory.looked_at)}]
    errors = [
        (_("idle"), stale.idle_error),
        (_("never read"), stale.never_read_error),
    ]
    said += [f"{name} ±{formats.count(error)}" for name, error in errors if error]
    return "; ".join(said)


def _since(cache: Cache) -> str | None:
    return cache.stale.recorded_since if cache.memory.looked_at else None


def _freed(memory: Memory) -> Sequence[Part]:
    """What expiry will free, as parts of what is there now."""
    labels = {
        "minute": _("within a minute"),
        "hour": _("within an hour"),
        "day": _("within a day"),
        "never": _("never: no expiry"),
    }
    every = [(label, getattr(memory.freed_within, name)) for name, label in labels.items()]
    return [
        Part(
            label,
            formats.about(formats.size(value), exact=memory.exact),
            formats.ratio(share(value, memory.bytes)),
            bar_of(share(value, memory.bytes)),
        )
        for label, value in every
        if value is not None
    ]


def _has_stale(stale: Stale) -> bool:
    return bool(stale.expired or stale.idle or stale.never_read or stale.no_expiry)
