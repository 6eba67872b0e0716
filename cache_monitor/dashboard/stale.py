"""The page of stale entries: what no longer earns its place in the caches, by the last scan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from cache_monitor.conf import get_conf
from cache_monitor.dashboard import columns, formats
from cache_monitor.dashboard.columns import CacheItem, Caches, Cell, ColumnSpec
from cache_monitor.dashboard.formats import expiry, stale_kinds
from cache_monitor.dashboard.memory import ActionUrl, basis, empty_caches, named, unscanned_caches
from cache_monitor.dashboard.page import Content, PageRequest
from cache_monitor.dashboard.query import Links, Query, check_choice
from cache_monitor.dashboard.tables import TableSpec
from cache_monitor.reports.caches import once, stale_total
from cache_monitor.reports.schema import Cache, StaleEntry, StaleReason
from cache_monitor.scan.base import STALE_REASONS


def build(page_request: PageRequest) -> Content:
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
            columns.key(links),
            *columns.cache(caches),
            columns.text("why", _("Why"), lambda each: stale_kinds(each.item.why)),
            columns.code("group", _("Group")),
            columns.figure("age", _("Age"), text=formats.age),
            columns.figure("idle", _("Not read for"), text=formats.age),
            ColumnSpec(
                "expires_in",
                _("Expires in"),
                lambda each: each.item.expires_in,
                lambda each: Cell(expiry(each.item.expires_in, never="no_expiry" in each.item.why)),
            ),
            columns.figure("bytes", _("Size"), text=formats.size),
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
            columns.code("cache", _("Cache"), lambda each: named(each.alias, caches)),
            *(_reason_column(reason, label) for reason, label in _labels().items()),
            columns.figure("bytes", _("Bytes held"), "stale.bytes", text=formats.size),
            columns.time("measured_at", _("Seen at"), "memory.measured_at"),
            columns.text("rests_on", _("Rests on"), lambda each: _basis_and_errors(each.item)),
            columns.time("recorded_since", _("Uses known since"), recorded_since),
            columns.link(_("Delete…"), delete_url),
        ],
        [
            CacheItem(alias, cache)
            for alias, cache in once(caches).items()
            if cache.memory.measured_at is not None and cache.memory.entries != 0
        ],
        empty=_("No cache has been scanned yet, or there is nothing in it."),
        is_searchable=False,
    )


def _reason_column(reason: StaleReason, label: str) -> ColumnSpec[CacheItem[Cache]]:
    return columns.figure(
        reason,
        label,
        lambda each: getattr(each.item.stale, reason),
        lambda each: not getattr(each.item.stale, f"{reason}_error", None),
    )


def _labels() -> Mapping[StaleReason, str]:
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
        for kind, label in [("", _("All kinds")), *_labels().items()]
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
