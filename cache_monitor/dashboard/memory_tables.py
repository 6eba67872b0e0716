"""What the last scan found in each cache: the memory and the stale page."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from django.utils.translation import gettext as _

from cache_monitor.dashboard import formats
from cache_monitor.dashboard.overview import memory_figures, share
from cache_monitor.dashboard.query import Links, Query
from cache_monitor.dashboard.rows import Cell, Figure, FilterChoice, LiveRows, ShareBar
from cache_monitor.dashboard.table_specs import (
    ROWS_OF_SEVERAL,
    Caches,
    ColumnSpec,
    Of,
    TableSpec,
    aged,
    bar_of,
    button,
    cache_column,
    coded,
    counted,
    dated,
    shared,
    sized,
    worded,
)
from cache_monitor.reports.build import once, same_entries
from cache_monitor.reports.schema import (
    Cache,
    LargestEntry,
    Memory,
    ProcessMemory,
    Stale,
    StaleEntry,
    StaleReason,
)
from cache_monitor.scan.capabilities import COLUMNS, ESTIMATED, MATRIX, RECORDED, YES, Capability

STALE_REASONS: tuple[StaleReason, ...] = ("expired", "idle", "never_read", "no_expiry")


class Weighed(NamedTuple):
    """What the entries of one group weigh, and what the whole cache does."""

    group: str
    entries: int
    bytes: int | None
    whole: int | None
    exact: bool | None


def stale_words() -> dict[StaleReason, str]:
    """The words for the kinds of stale entries, by their names in the report."""
    return {
        "expired": _("expired"),
        "idle": _("idle"),
        "never_read": _("never read"),
        "no_expiry": _("no expiry"),
    }


def memory_groups(
    caches: Caches, links: Links, *, may_delete: bool = False
) -> TableSpec[Of[Weighed]]:
    """The groups by what they weigh; with a button each for whoever ``may_delete`` them."""
    every = [
        Of(alias, Weighed(each.group, each.entries, each.bytes, it.bytes, it.exact))
        for alias, it in _memories(caches)
        for each in it.groups
    ]
    return TableSpec(
        "groups",
        _("Memory by key group"),
        [
            coded(
                "group",
                _("Group"),
                lambda each: each.it.group,
                lambda each: links.group(each.alias, each.it.group),
            ),
            *cache_column(caches),
            counted("entries", _("Entries"), lambda each: each.it.entries, _exact),
            sized("bytes", _("Size"), lambda each: each.it.bytes, _exact),
            shared("share", _("Share"), lambda each: share(each.it.bytes, each.it.whole)),
            *([_delete_column(links)] if may_delete else []),
        ],
        every,
        order="-bytes",
        empty=_("No cache has been scanned yet, or there is nothing in it."),
        rows=ROWS_OF_SEVERAL,
    )


def largest(caches: Caches, links: Links) -> TableSpec[Of[LargestEntry]]:
    return TableSpec(
        "largest",
        _("Largest entries"),
        [
            coded(
                "key",
                _("Key"),
                lambda each: each.it.key,
                lambda each: links.entry(each.alias, each.it.key),
            ),
            *cache_column(caches),
            sized("bytes", _("Size"), lambda each: each.it.bytes),
        ],
        [Of(alias, each) for alias, it in _memories(caches) for each in it.largest],
        order="-bytes",
        empty=_("No entry's size is known."),
        rows=ROWS_OF_SEVERAL,
    )


def processes(caches: Caches) -> TableSpec[Of[ProcessMemory]]:
    """What each process holds of the caches that live in each process."""
    return TableSpec(
        "processes",
        _("Per process"),
        [
            dated("measured_at", _("Seen at"), lambda each: each.it.measured_at),
            *cache_column(caches),
            counted("entries", _("Entries"), lambda each: each.it.entries),
            sized("bytes", _("Size"), lambda each: each.it.bytes),
        ],
        [Of(alias, each) for alias, it in _memories(caches) for each in it.processes],
        order="-bytes",
        rows=ROWS_OF_SEVERAL,
    )


def stale_entries(caches: Caches, links: Links, why: str = "") -> TableSpec[Of[StaleEntry]]:
    """The entries that no longer earn their place, those stale for ``why`` alone if given."""
    words = stale_words()
    return TableSpec(
        "entries",
        _("Entries"),
        [
            coded(
                "key",
                _("Key"),
                lambda each: each.it.key,
                lambda each: links.entry(each.alias, each.it.key, each.it.group),
            ),
            *cache_column(caches),
            worded("why", _("Why"), lambda each: ", ".join(words[why] for why in each.it.why)),
            coded("group", _("Group"), lambda each: each.it.group),
            aged("age", _("Age"), lambda each: each.it.age),
            aged("idle", _("Not read for"), lambda each: each.it.idle),
            _expiry_column(),
            sized("bytes", _("Size"), lambda each: each.it.bytes),
        ],
        [
            Of(alias, each)
            for alias, cache in once(caches).items()
            for each in cache.stale.entries
            if why in {"", *each.why}
        ],
        order="-bytes",
        empty=(
            _("The last scan of the caches found no stale entry.")
            if any(cache.memory.measured_at for cache in caches.values())
            else _("The caches have not been scanned yet.")
        ),
    )


def _expiry_column() -> ColumnSpec[Of[StaleEntry]]:
    return ColumnSpec(
        "expires_in",
        _("Expires in"),
        lambda each: each.it.expires_in,
        lambda each: Cell(expiry(each.it.expires_in, never="no_expiry" in each.it.why)),
    )


def expiry(seconds: float | None, *, never: bool) -> str:
    """When an entry expires, or how long ago it did."""
    if never:
        return _("never")
    if seconds is not None and seconds < 0:
        return _("%(age)s ago") % {"age": formats.age(-seconds)}
    return formats.age(seconds)


def _memories(caches: Caches) -> Sequence[tuple[str, Memory]]:
    return [(alias, cache.memory) for alias, cache in once(caches).items()]


def _exact(each: Of[Weighed]) -> bool | None:
    return each.it.exact


def _delete_column(links: Links) -> ColumnSpec[Of[Weighed]]:
    return button(
        _("Delete…"),
        lambda each: links.action("delete_group", alias=each.alias, group=each.it.group),
    )


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


def stale_caches(caches: Caches, action_url: ActionUrl) -> TableSpec[Of[Cache]]:
    """How much each cache holds that no longer earns its place; ``action_url`` leads to deleting
    it, or is empty."""

    def delete_url(each: Of[Cache]) -> str:
        return action_url(each.alias) if _has_stale(each.it.stale) else ""

    return TableSpec(
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


def stale_choices(caches: Caches, links: Links, query: Query, why: str) -> Sequence[FilterChoice]:
    """A link for each kind of stale entries, with how many the caches have of it."""
    labels = {
        "expired": _("Expired, still stored"),
        "idle": _("Idle"),
        "never_read": _("Never read"),
        "no_expiry": _("No expiry"),
    }
    here = links.path("stale")
    every = [FilterChoice(_("All kinds"), "", f"{here}?{query.encode(why='', page='')}", not why)]
    for reason in STALE_REASONS:
        counts = [getattr(cache.stale, reason) for cache in once(caches).values()]
        known = [count for count in counts if count is not None]
        every.append(
            FilterChoice(
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
    parts: Sequence[ShareBar],
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
        return _("not scanned yet")
    if memory.exact is None or not memory.examined:
        return memory.problem or ""
    examined = formats.count(memory.examined)
    if memory.exact:
        return _("exact: every entry was scanned (%(count)s)") % {"count": examined}
    return _("~estimated from the %(count)s entries scanned") % {"count": examined}


def _rests_on(cache: Cache) -> str:
    """How much of the cache the figures rest on, and by how much those of its uses may be off."""
    memory, stale = cache.memory, cache.stale
    if not memory.exact or not memory.examined:
        said = [_said(memory)]
    else:
        said = [_("all %(count)s entries") % {"count": formats.count(memory.examined)}]
    errors = [
        (_("idle"), stale.idle_error),
        (_("never read"), stale.never_read_error),
    ]
    said += [f"{name} ±{formats.count(error)}" for name, error in errors if error]
    return "; ".join(said)


def _since(cache: Cache) -> str | None:
    return cache.stale.recorded_since if cache.memory.examined else None


def _freed(memory: Memory) -> Sequence[ShareBar]:
    """What expiry will free, as parts of what is there now."""
    labels = {
        "minute": _("within a minute"),
        "hour": _("within an hour"),
        "day": _("within a day"),
        "never": _("never: no expiry"),
    }
    every = [(label, getattr(memory.freed_within, name)) for name, label in labels.items()]
    return [
        ShareBar(
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


def capabilities() -> TableSpec[Capability]:
    """A row for each kind of backend."""
    columns = [_column(column, label) for column, label in _labels().items()]
    backend: ColumnSpec[Capability] = worded("backend", _("Backend"), lambda each: each.backend)
    return TableSpec("abilities", _("What each backend can report"), [backend, *columns], MATRIX)


def capability_notes() -> Sequence[tuple[str, Sequence[tuple[str, str]]]]:
    """For each backend how far what it tells goes, or why it does not, by column."""
    labels = _labels()
    return [
        (each.backend, [(labels[column], note) for column, note in each.notes.items()])
        for each in MATRIX
    ]


def _labels() -> dict[str, str]:
    known = {
        "entries": _("Entries"),
        "bytes": _("Bytes"),
        "limit": _("Limit"),
        "evictions": _("Evictions"),
        "expired": _("Expired"),
        "idle": _("Idle"),
        "never_read": _("Never read"),
        "no_expiry": _("No expiry"),
        "age": _("Age"),
        "keys": _("Keys"),
        "value_sizes": _("Size of each value"),
    }
    return {column: known.get(column, column) for column in COLUMNS}


def _column(column: str, label: str) -> ColumnSpec[Capability]:
    def text(each: Capability) -> str:
        told = each.cells[column]
        words = {YES: _("yes"), RECORDED: _("recorded"), ESTIMATED: _("estimated")}
        return words.get(told, told)

    def cell(each: Capability) -> Cell:
        return Cell(text(each), numeric=False, title=each.notes.get(column, ""))

    return ColumnSpec(column, label, text, cell, numeric=False)
