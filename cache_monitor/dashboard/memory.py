"""The memory page: what the last scan found in each cache, and what each backend can report."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.functional import Promise
from django.utils.translation import gettext as _

from cache_monitor.dashboard import columns, formats
from cache_monitor.dashboard.charts import charts, recorded_from, series
from cache_monitor.dashboard.columns import Bar, CacheItem, Caches, Cell, ColumnSpec, Figure
from cache_monitor.dashboard.page import Content, PageRequest
from cache_monitor.dashboard.query import Links
from cache_monitor.dashboard.tables import ROWS_OF_SEVERAL, TableSpec
from cache_monitor.reports.caches import once, same_entries
from cache_monitor.reports.schema import LargestEntry, Memory, MemoryGroup, ProcessMemory
from cache_monitor.scan.capabilities import ESTIMATED, HEADINGS, MATRIX, RECORDED, YES, Capability


def build(page_request: PageRequest) -> Content:
    caches, links = page_request.report.caches, page_request.links

    def clear_url(alias: str) -> str:
        return links.action("clear", alias=alias) if page_request.may("clear_cache") else ""

    own = processes(caches)
    return Content(
        tables=[
            memory_groups(caches, links, may_delete=page_request.may("delete_group")),
            largest(caches, links),
            *([own] if own.items else []),
            capabilities(),
        ],
        downloads=[spec for spec in series(page_request.report) if spec.name == "memory"],
        context={
            "caches": memory_rows(caches, clear_url),
            "empty_caches": empty_caches(caches),
            "unscanned_caches": unscanned_caches(caches),
            "ability_notes": capability_notes(),
            "charts": charts(page_request.report, links.page("memory"), ("memory",)),
            "begins_at": recorded_from(page_request),
        },
    )


@dataclass(frozen=True, slots=True)
class LabelledShare:
    label: str
    text: str
    share: str
    bar: Bar | None


@dataclass(frozen=True, slots=True)
class CacheMemory:
    """What the last scan found in one cache.

    ``names`` are the cache's and those of others with the same entries. ``neighbours`` have other
    entries in the same store: its limit and its evictions are theirs too. ``basis`` says how many
    entries were scanned, ``problem`` why something is unknown.
    """

    alias: str
    names: str
    neighbours: str
    backend_name: str
    measured_at: datetime | None
    basis: str
    problem: str
    is_known: bool
    figures: Sequence[Figure]
    bar: Bar | None
    freed_within: Sequence[LabelledShare]
    has_chart: bool
    """Whether there are groups to draw."""
    action_url: str


def memory_groups(
    caches: Caches, links: Links, *, may_delete: bool = False
) -> TableSpec[CacheItem[MemoryGroup]]:
    """The groups by their bytes; with a button each for a user who ``may_delete`` them."""

    def exact(each: CacheItem[MemoryGroup]) -> bool | None:
        return caches[each.alias].memory.exact

    def share(each: CacheItem[MemoryGroup]) -> float | None:
        return caches[each.alias].memory.share(each.item.bytes)

    def delete_url(each: CacheItem[MemoryGroup]) -> str:
        return links.action("delete_group", alias=each.alias, group=each.item.group)

    return TableSpec(
        "groups",
        _("Memory by key group"),
        [
            columns.group(links),
            *columns.cache(caches),
            columns.figure("entries", _("Entries"), exact=exact),
            columns.figure("bytes", _("Size"), exact=exact, text=formats.size),
            columns.ratio("share", _("Share"), share),
            *([columns.link(_("Delete…"), delete_url)] if may_delete else []),
        ],
        [CacheItem(alias, each) for alias, it in _memories(caches) for each in it.groups],
        order="-bytes",
        empty=_("No cache has been scanned yet, or there is nothing in it."),
        rows=ROWS_OF_SEVERAL,
    )


def largest(caches: Caches, links: Links) -> TableSpec[CacheItem[LargestEntry]]:
    return TableSpec(
        "largest",
        _("Largest entries"),
        [
            columns.key(links),
            *columns.cache(caches),
            columns.figure("bytes", _("Size"), text=formats.size),
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
            columns.time("measured_at", _("Seen at")),
            *columns.cache(caches),
            columns.figure("entries", _("Entries")),
            columns.figure("bytes", _("Size"), text=formats.size),
        ],
        [
            CacheItem(alias, each)
            for alias, it in _memories(caches)
            if it.entries != 0
            for each in it.processes
        ],
        order="-bytes",
        rows=ROWS_OF_SEVERAL,
    )


def _memories(caches: Caches) -> Sequence[tuple[str, Memory]]:
    return [(alias, cache.memory) for alias, cache in once(caches).items()]


ActionUrl = Callable[[str], str]


def memory_rows(caches: Caches, action_url: ActionUrl) -> Sequence[CacheMemory]:
    """The memory of each cache that may have entries; ``action_url`` leads to clearing it, or is
    empty."""
    return [
        CacheMemory(
            alias=alias,
            names=named(alias, caches),
            neighbours=", ".join(each for each in it.aliases if each not in same),
            backend_name=cache.backend.rpartition(".")[2],
            measured_at=formats.moment(it.measured_at),
            basis=basis(it),
            problem=it.problem or "",
            is_known=it.entries is not None or it.bytes is not None,
            figures=memory_figures(it, says_period=True),
            bar=columns.make_bar(it.full),
            freed_within=list(_freed(it)) if it.entries else [],
            has_chart=any(group.bytes for group in it.groups),
            action_url=action_url(alias),
        )
        for alias, cache in once(caches).items()
        for it, same in [(cache.memory, same_entries(alias, caches))]
        if it.measured_at is not None and it.entries != 0
    ]


def empty_caches(caches: Caches) -> Sequence[str]:
    """The caches without an entry, which get no block of zeros."""
    return [alias for alias, cache in caches.items() if cache.memory.entries == 0]


def unscanned_caches(caches: Caches) -> Sequence[str]:
    return [
        alias
        for alias, cache in caches.items()
        if cache.memory.measured_at is None and cache.memory.entries != 0
    ]


def named(alias: str, caches: Caches) -> str:
    """The cache, and those whose entries are the same."""
    return ", ".join(same_entries(alias, caches))


def basis(memory: Memory) -> str:
    """How many entries the figures are based on."""
    if memory.exact is None or not memory.examined:
        return memory.problem or ""
    examined = formats.count(memory.examined)
    if memory.exact:
        return _("exact: every entry was scanned (%(count)s)") % {"count": examined}
    return _("~estimated from the %(count)s entries scanned") % {"count": examined}


def _freed(memory: Memory) -> Iterator[LabelledShare]:
    """What expiry will free, as shares of the cache's bytes."""
    labels = {
        "minute": _("within a minute"),
        "hour": _("within an hour"),
        "day": _("within a day"),
        "never": _("never: no expiry"),
    }
    for name, label in labels.items():
        if (freed := getattr(memory.freed_within, name)) is not None:
            text, share = (
                formats.about(formats.size(freed), exact=memory.exact),
                memory.share(freed),
            )
            yield LabelledShare(label, text, formats.ratio(share), columns.make_bar(share))


def memory_figures(memory: Memory, *, says_period: bool = False) -> Sequence[Figure]:
    """Bytes and entries with their limits. ``says_period`` where the other figures are of now."""
    return [
        Figure(
            _("Memory"),
            formats.about(formats.size(memory.bytes), exact=memory.exact),
            note=_limit(memory.limit_bytes, formats.size),
        ),
        Figure(
            _("Entries"),
            formats.about(formats.count(memory.entries), exact=memory.exact),
            note=_limit(memory.limit_entries, formats.count),
        ),
        Figure(
            _("Evictions"),
            formats.count(memory.evictions),
            note=_("in this period") if says_period and memory.evictions_since else "",
        ),
    ]


def _limit(value: int | None, written: Callable[[int | None], str]) -> str:
    return "" if value is None else _("of %(limit)s") % {"limit": written(value)}


def capabilities() -> TableSpec[Capability]:
    backend: ColumnSpec[Capability] = columns.text(
        "backend", _("Backend"), lambda each: each.backend
    )
    return TableSpec(
        "abilities",
        _("What each backend can report"),
        [backend, *(_column(name, str(heading)) for name, heading in HEADINGS.items())],
        MATRIX,
        is_searchable=False,
    )


def capability_notes() -> Sequence[tuple[str, Sequence[tuple[Promise, str]]]]:
    return [
        (each.backend, [(HEADINGS[column], note) for column, note in each.notes.items()])
        for each in MATRIX
    ]


def _column(column: str, label: str) -> ColumnSpec[Capability]:
    def text(each: Capability) -> str:
        value = each.cells[column]
        words = {YES: _("yes"), RECORDED: _("recorded"), ESTIMATED: _("estimated")}
        return words.get(value, value)

    def cell(each: Capability) -> Cell:
        return Cell(text(each), is_numeric=False, title=each.notes.get(column, ""))

    return ColumnSpec(column, label, text, cell, is_numeric=False)
