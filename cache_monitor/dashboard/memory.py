"""The pages of memory and of stale entries: what the last scan found in each cache, and what each
backend can report."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.functional import Promise
from django.utils.translation import gettext as _

from cache_monitor.conf import get_conf
from cache_monitor.dashboard import formats
from cache_monitor.dashboard.formats import (
    Bar,
    Cell,
    ColumnSpec,
    Figure,
    code_column,
    expiry,
    figure_column,
    link_column,
    ratio_column,
    stale_kinds,
    text_column,
    time_column,
)
from cache_monitor.dashboard.overview import charts, memory_figures, recorded_from, series
from cache_monitor.dashboard.query import Links, PageRequest, Query, check_choice
from cache_monitor.dashboard.tables import (
    ROWS_OF_SEVERAL,
    CacheItem,
    Caches,
    Content,
    TableSpec,
    cache_column,
    group_column,
    key_column,
)
from cache_monitor.reports import (
    Cache,
    LargestEntry,
    Memory,
    MemoryGroup,
    ProcessMemory,
    StaleEntry,
    StaleReason,
)
from cache_monitor.reports.caches import once, same_entries, stale_total
from cache_monitor.scan.backends import ESTIMATED, HEADINGS, MATRIX, RECORDED, YES, Capability
from cache_monitor.scan.base import STALE_REASONS


def build_memory(page_request: PageRequest) -> Content:
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
            group_column(links),
            *cache_column(caches),
            figure_column("entries", _("Entries"), exact=exact),
            figure_column("bytes", _("Size"), exact=exact, text=formats.size),
            ratio_column("share", _("Share"), share),
            *([link_column(_("Delete…"), delete_url)] if may_delete else []),
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
            key_column(links),
            *cache_column(caches),
            figure_column("bytes", _("Size"), text=formats.size),
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
            figure_column("entries", _("Entries")),
            figure_column("bytes", _("Size"), text=formats.size),
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
            bar=formats.make_bar(it.full),
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
            yield LabelledShare(label, text, formats.ratio(share), formats.make_bar(share))


def capabilities() -> TableSpec[Capability]:
    backend: ColumnSpec[Capability] = text_column(
        "backend", _("Backend"), lambda each: each.backend
    )
    return TableSpec(
        "abilities",
        _("What each backend can report"),
        [backend, *(_capability_column(name, str(heading)) for name, heading in HEADINGS.items())],
        MATRIX,
        is_searchable=False,
    )


def capability_notes() -> Sequence[tuple[str, Sequence[tuple[Promise, str]]]]:
    return [
        (each.backend, [(HEADINGS[column], note) for column, note in each.notes.items()])
        for each in MATRIX
    ]


def _capability_column(column: str, label: str) -> ColumnSpec[Capability]:
    def text(each: Capability) -> str:
        value = each.cells[column]
        words = {YES: _("yes"), RECORDED: _("recorded"), ESTIMATED: _("estimated")}
        return words.get(value, value)

    def cell(each: Capability) -> Cell:
        return Cell(text(each), is_numeric=False, title=each.notes.get(column, ""))

    return ColumnSpec(column, label, text, cell, is_numeric=False)


def build_stale(page_request: PageRequest) -> Content:
    """The page of stale entries; ``why`` in the URL chooses a kind."""
    caches, links = page_request.report.caches, page_request.links
    why = page_request.query.own.get("why", "")
    if why:
        check_choice("why", why, STALE_REASONS)

    def delete_url(alias: str) -> str:
        may = page_request.may("delete_stale")
        return links.action("delete_stale", alias=alias, why=why or "any") if may else ""

    return Content(
        tables=[
            stale_entries(caches, links, why),
            stale_caches(caches, delete_url),
        ],
        context={
            "stale_after": formats.age(get_conf().stale_after),
            "empty_caches": empty_caches(caches),
            "unscanned_caches": unscanned_caches(caches),
            "choices": stale_choices(caches, links, page_request.query, why),
        },
    )


@dataclass(frozen=True, slots=True)
class FilterChoice:
    label: str
    text: str
    url: str
    chosen: bool


def stale_entries(caches: Caches, links: Links, why: str = "") -> TableSpec[CacheItem[StaleEntry]]:
    """The stale entries; only those stale for ``why`` if given."""
    return TableSpec(
        "entries",
        _("Entries"),
        [
            key_column(links),
            *cache_column(caches),
            text_column("why", _("Why"), lambda each: stale_kinds(each.item.why)),
            code_column("group", _("Group")),
            figure_column("age", _("Age"), text=formats.age),
            figure_column("idle", _("Not read for"), text=formats.age),
            ColumnSpec(
                "expires_in",
                _("Expires in"),
                lambda each: each.item.expires_in,
                lambda each: Cell(expiry(each.item.expires_in, never="no_expiry" in each.item.why)),
            ),
            figure_column("bytes", _("Size"), text=formats.size),
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


def stale_caches(caches: Caches, action_url: ActionUrl) -> TableSpec[CacheItem[Cache]]:
    """The number of stale entries in each cache; ``action_url`` leads to deleting them, or is
    empty."""

    def recorded_since(each: CacheItem[Cache]) -> str | None:
        return each.item.stale.recorded_since if each.item.memory.examined else None

    def delete_url(each: CacheItem[Cache]) -> str:
        has_any = any(getattr(each.item.stale, reason) for reason in STALE_REASONS)
        return action_url(each.alias) if has_any else ""

    return TableSpec(
        "caches",
        _("Stale entries by cache"),
        [
            code_column("cache", _("Cache"), lambda each: named(each.alias, caches)),
            *(_stale_column(reason, label) for reason, label in _stale_labels().items()),
            figure_column("bytes", _("Bytes held"), "stale.bytes", text=formats.size),
            time_column("measured_at", _("Seen at"), "memory.measured_at"),
            text_column("rests_on", _("Rests on"), lambda each: _basis_and_errors(each.item)),
            time_column("recorded_since", _("Uses known since"), recorded_since),
            link_column(_("Delete…"), delete_url),
        ],
        [
            CacheItem(alias, cache)
            for alias, cache in once(caches).items()
            if cache.memory.measured_at is not None and cache.memory.entries != 0
        ],
        empty=_("No cache has been scanned yet, or there is nothing in it."),
        is_searchable=False,
    )


def _stale_column(reason: StaleReason, label: str) -> ColumnSpec[CacheItem[Cache]]:
    return figure_column(
        reason,
        label,
        lambda each: getattr(each.item.stale, reason),
        lambda each: not getattr(each.item.stale, f"{reason}_error", None),
    )


def _stale_labels() -> Mapping[StaleReason, str]:
    return {
        "expired": _("Expired, still stored"),
        "idle": _("Idle"),
        "never_read": _("Never read"),
        "no_expiry": _("No expiry"),
    }


def stale_choices(caches: Caches, links: Links, query: Query, why: str) -> Sequence[FilterChoice]:
    """A link for each kind of stale entries, with their number in all caches."""
    here = links.path("stale")
    counts: dict[str, str] = {
        reason: formats.count(stale_total(caches, reason)) for reason in STALE_REASONS
    }
    return [
        FilterChoice(
            label, counts.get(kind, ""), f"{here}?{query.encode(why=kind, page='')}", why == kind
        )
        for kind, label in [("", _("All kinds")), *_stale_labels().items()]
    ]


def _basis_and_errors(cache: Cache) -> str:
    """How many entries the figures are based on, and the errors of those about uses."""
    memory, stale = cache.memory, cache.stale
    text = basis(memory)
    if memory.exact and memory.examined:
        text = _("all %(count)s entries") % {"count": formats.count(memory.examined)}
    errors = [(_("idle"), stale.idle_error), (_("never read"), stale.never_read_error)]
    words = [f"{name} ±{formats.count(error)}" for name, error in errors if error]
    return "; ".join([text, *words])
