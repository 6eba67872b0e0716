"""The memory page and the page of stale entries: what the last scan found in each cache."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from django.utils.translation import gettext as _

from cache_monitor.dashboard import formats
from cache_monitor.dashboard.overview import memory_figures
from cache_monitor.dashboard.query import Links, Query
from cache_monitor.dashboard.tables import (
    ROWS_OF_SEVERAL,
    CacheItem,
    CacheMemory,
    Caches,
    Cell,
    ColumnSpec,
    Figure,
    FilterChoice,
    LabelledShare,
    TableSpec,
    age_column,
    cache_column,
    code_column,
    count_column,
    link_column,
    make_bar,
    ratio_column,
    size_column,
    text_column,
    time_column,
)
from cache_monitor.reports.build import once, same_entries, stale_total
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


class GroupMemory(NamedTuple):
    """The entries and bytes of one group, and its share of the cache's bytes."""

    group: str
    entries: int
    bytes: int | None
    share: float | None
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
) -> TableSpec[CacheItem[GroupMemory]]:
    """The groups by their bytes; with a button each for a user who ``may_delete`` them."""
    every = [
        CacheItem(
            alias, GroupMemory(each.group, each.entries, each.bytes, it.share(each.bytes), it.exact)
        )
        for alias, it in _memories(caches)
        for each in it.groups
    ]
    return TableSpec(
        "groups",
        _("Memory by key group"),
        [
            code_column(
                "group", _("Group"), url=lambda each: links.group(each.alias, each.item.group)
            ),
            *cache_column(caches),
            count_column("entries", _("Entries"), lambda each: each.item.entries, _exact),
            size_column("bytes", _("Size"), lambda each: each.item.bytes, _exact),
            ratio_column("share", _("Share")),
            *([_delete_column(links)] if may_delete else []),
        ],
        every,
        order="-bytes",
        empty=_("No cache has been scanned yet, or there is nothing in it."),
        rows=ROWS_OF_SEVERAL,
    )


def largest(caches: Caches, links: Links) -> TableSpec[CacheItem[LargestEntry]]:
    return TableSpec(
        "largest",
        _("Largest entries"),
        [
            code_column("key", _("Key"), url=lambda each: links.entry(each.alias, each.item.key)),
            *cache_column(caches),
            size_column("bytes", _("Size")),
        ],
        [CacheItem(alias, each) for alias, it in _memories(caches) for each in it.largest],
        order="-bytes",
        empty=_("No entry's size is known."),
        rows=ROWS_OF_SEVERAL,
    )


def processes(caches: Caches) -> TableSpec[CacheItem[ProcessMemory]]:
    """The caches that each process has for itself, by process."""
    return TableSpec(
        "processes",
        _("Per process"),
        [
            time_column("measured_at", _("Seen at")),
            *cache_column(caches),
            count_column("entries", _("Entries")),
            size_column("bytes", _("Size")),
        ],
        [CacheItem(alias, each) for alias, it in _memories(caches) for each in it.processes],
        order="-bytes",
        rows=ROWS_OF_SEVERAL,
    )


def stale_entries(caches: Caches, links: Links, why: str = "") -> TableSpec[CacheItem[StaleEntry]]:
    """The stale entries; only those stale for ``why`` if given."""
    words = stale_words()
    return TableSpec(
        "entries",
        _("Entries"),
        [
            code_column(
                "key",
                _("Key"),
                url=lambda each: links.entry(each.alias, each.item.key, each.item.group),
            ),
            *cache_column(caches),
            text_column(
                "why", _("Why"), lambda each: ", ".join(words[why] for why in each.item.why)
            ),
            code_column("group", _("Group")),
            age_column("age", _("Age")),
            age_column("idle", _("Not read for")),
            _expiry_column(),
            size_column("bytes", _("Size")),
        ],
        [
            CacheItem(alias, each)
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


def _expiry_column() -> ColumnSpec[CacheItem[StaleEntry]]:
    return ColumnSpec(
        "expires_in",
        _("Expires in"),
        lambda each: each.item.expires_in,
        lambda each: Cell(expiry(each.item.expires_in, never="no_expiry" in each.item.why)),
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


def _exact(each: CacheItem[GroupMemory]) -> bool | None:
    return each.item.exact


def _delete_column(links: Links) -> ColumnSpec[CacheItem[GroupMemory]]:
    return link_column(
        _("Delete…"),
        lambda each: links.action("delete_group", alias=each.alias, group=each.item.group),
    )


ActionUrl = Callable[[str], str]


def memory_rows(caches: Caches, action_url: ActionUrl) -> Sequence[CacheMemory]:
    """The memory of each cache that may have entries; ``action_url`` leads to clearing it, or is
    empty."""
    return [
        _live(
            alias,
            cache,
            caches,
            figures=memory_figures(cache.memory, says_period=True),
            freed_within=_freed(cache.memory) if cache.memory.entries else [],
            action_url=action_url(alias),
        )
        for alias, cache in once(caches).items()
        if cache.memory.measured_at is not None and cache.memory.entries != 0
    ]


def empty_caches(caches: Caches) -> Sequence[str]:
    """The caches without an entry, which get no block of zeros."""
    return [alias for alias, cache in caches.items() if cache.memory.entries == 0]


def unscanned_caches(caches: Caches) -> Sequence[str]:
    """The caches that were not scanned yet."""
    return [
        alias
        for alias, cache in caches.items()
        if cache.memory.measured_at is None and cache.memory.entries != 0
    ]


def stale_caches(caches: Caches, action_url: ActionUrl) -> TableSpec[CacheItem[Cache]]:
    """The number of stale entries in each cache; ``action_url`` leads to deleting them, or is
    empty."""

    def delete_url(each: CacheItem[Cache]) -> str:
        return action_url(each.alias) if _has_stale(each.item.stale) else ""

    return TableSpec(
        "caches",
        _("Stale entries by cache"),
        [
            code_column("cache", _("Cache"), lambda each: named(each.alias, caches)),
            count_column(
                "expired", _("Expired, still stored"), lambda each: each.item.stale.expired
            ),
            count_column(
                "idle",
                _("Idle"),
                lambda each: each.item.stale.idle,
                lambda each: not each.item.stale.idle_error,
            ),
            count_column(
                "never_read",
                _("Never read"),
                lambda each: each.item.stale.never_read,
                lambda each: not each.item.stale.never_read_error,
            ),
            count_column("no_expiry", _("No expiry"), lambda each: each.item.stale.no_expiry),
            size_column("bytes", _("Bytes held"), lambda each: each.item.stale.bytes),
            time_column("measured_at", _("Seen at"), lambda each: each.item.memory.measured_at),
            text_column("rests_on", _("Rests on"), lambda each: _basis_and_errors(each.item)),
            time_column("recorded_since", _("Uses known since"), lambda each: _since(each.item)),
            link_column(_("Delete…"), delete_url),
        ],
        [
            CacheItem(alias, cache)
            for alias, cache in once(caches).items()
            if cache.memory.entries != 0
        ],
        empty=_("No cache has an entry."),
        is_searchable=False,
    )


def stale_choices(caches: Caches, links: Links, query: Query, why: str) -> Sequence[FilterChoice]:
    """A link for each kind of stale entries, with their number in all caches."""
    labels = {
        "expired": _("Expired, still stored"),
        "idle": _("Idle"),
        "never_read": _("Never read"),
        "no_expiry": _("No expiry"),
    }
    here = links.path("stale")
    return [
        FilterChoice(_("All kinds"), "", f"{here}?{query.encode(why='', page='')}", not why),
        *(
            FilterChoice(
                labels[reason],
                formats.count(stale_total(caches, reason)),
                f"{here}?{query.encode(why=reason, page='')}",
                why == reason,
            )
            for reason in STALE_REASONS
        ),
    ]


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
    freed_within: Sequence[LabelledShare],
    action_url: str,
) -> CacheMemory:
    memory = cache.memory
    return CacheMemory(
        alias=alias,
        names=named(alias, caches),
        neighbours=", ".join(_neighbours(alias, memory, caches)),
        backend_name=cache.backend.rpartition(".")[2],
        measured_at=formats.moment(memory.measured_at),
        basis=_basis(memory),
        problem=memory.problem or "",
        is_known=memory.entries is not None or memory.bytes is not None,
        figures=figures,
        bar=make_bar(memory.full),
        freed_within=freed_within,
        has_chart=any(group.bytes for group in memory.groups),
        action_url=action_url,
    )


def _basis(memory: Memory) -> str:
    """How many entries the figures are based on."""
    if memory.measured_at is None:
        return _("not scanned yet")
    if memory.exact is None or not memory.examined:
        return memory.problem or ""
    examined = formats.count(memory.examined)
    if memory.exact:
        return _("exact: every entry was scanned (%(count)s)") % {"count": examined}
    return _("~estimated from the %(count)s entries scanned") % {"count": examined}


def _basis_and_errors(cache: Cache) -> str:
    """How many entries the figures are based on, and the errors of those about uses."""
    memory, stale = cache.memory, cache.stale
    if not memory.exact or not memory.examined:
        words = [_basis(memory)]
    else:
        words = [_("all %(count)s entries") % {"count": formats.count(memory.examined)}]
    errors = [
        (_("idle"), stale.idle_error),
        (_("never read"), stale.never_read_error),
    ]
    words += [f"{name} ±{formats.count(error)}" for name, error in errors if error]
    return "; ".join(words)


def _since(cache: Cache) -> str | None:
    return cache.stale.recorded_since if cache.memory.examined else None


def _freed(memory: Memory) -> Sequence[LabelledShare]:
    """What expiry will free, as shares of the cache's bytes."""
    labels = {
        "minute": _("within a minute"),
        "hour": _("within an hour"),
        "day": _("within a day"),
        "never": _("never: no expiry"),
    }
    every = [(label, getattr(memory.freed_within, name)) for name, label in labels.items()]
    return [
        LabelledShare(
            label,
            formats.about(formats.size(value), exact=memory.exact),
            formats.ratio(memory.share(value)),
            make_bar(memory.share(value)),
        )
        for label, value in every
        if value is not None
    ]


def _has_stale(stale: Stale) -> bool:
    return bool(stale.expired or stale.idle or stale.never_read or stale.no_expiry)


def capabilities() -> TableSpec[Capability]:
    """A row for each kind of backend."""
    columns = [_column(column, label) for column, label in _labels().items()]
    backend: ColumnSpec[Capability] = text_column(
        "backend", _("Backend"), lambda each: each.backend
    )
    return TableSpec("abilities", _("What each backend can report"), [backend, *columns], MATRIX)


def capability_notes() -> Sequence[tuple[str, Sequence[tuple[str, str]]]]:
    """The notes on each backend, by column."""
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
        value = each.cells[column]
        words = {YES: _("yes"), RECORDED: _("recorded"), ESTIMATED: _("estimated")}
        return words.get(value, value)

    def cell(each: Capability) -> Cell:
        return Cell(text(each), is_numeric=False, title=each.notes.get(column, ""))

    return ColumnSpec(column, label, text, cell, is_numeric=False)
