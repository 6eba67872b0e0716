"""The what-if page: predictions for other sizes, policies and timeouts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from cache_monitor.dashboard import formats
from cache_monitor.dashboard.formats import Cell, ColumnSpec, figure_column, ratio_column
from cache_monitor.dashboard.query import BadParameterError, Links, PageRequest
from cache_monitor.dashboard.tables import (
    ROWS_OF_SEVERAL,
    CacheItem,
    Caches,
    Content,
    TableSpec,
    cache_column,
    group_column,
)
from cache_monitor.reports import Cache
from cache_monitor.what_if import (
    FACTORS,
    LEAST_LOOKUPS,
    PERIODS,
    CacheWhatIf,
    Entries,
    TimeoutOption,
    Timeouts,
)

MOST_STALE = 10.0
"""Per cent of stale hits up to which the reader may choose."""


def build(page_request: PageRequest) -> Content:
    caches, links = page_request.report.caches, page_request.links
    stale = _stale_share(page_request.query.own.get("stale", ""))
    rows = whatif_rows(caches)
    return Content(
        tables=[sizes(caches), timeouts(caches, links, stale)],
        context={
            "predicted": [each for each in rows if not each.problem],
            "unpredicted": [each for each in rows if each.problem],
            "findings_url": links.page("findings"),
            "knows_stale": knows_stale_shares(caches),
            "most_stale": MOST_STALE,
            "stale": page_request.query.own.get("stale", MOST_STALE),
            "other_parameters": page_request.query.without("stale"),
        },
    )


def _stale_share(text: str) -> float | None:
    """The share of stale hits that the user accepts; None where none was chosen."""
    if not text:
        return None
    try:
        percent = float(text)
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        raise BadParameterError("stale", _("Write a number of per cent from 0 to 100, such as 1."))
    return percent / 100


@dataclass(frozen=True, slots=True)
class WhatIfRows:
    """The predictions for one cache; ``problem`` says why there are none."""

    alias: str
    backend_name: str
    since: datetime | None
    until: datetime | None
    problem: str
    basis: Sequence[str]
    labels: str


class Size(NamedTuple):
    """A size of one cache; and the ratios of other policies there, by name."""

    factor: float
    entries: Entries
    best: float | None
    policies: Mapping[str, float | None]
    bytes: int | None = None


def whatif_rows(caches: Caches) -> Sequence[WhatIfRows]:
    """The caches that were called, or of which something is predicted."""
    return [
        WhatIfRows(
            alias=alias,
            backend_name=cache.backend.rpartition(".")[2],
            since=formats.moment(it.since) if it else None,
            until=formats.moment(it.until) if it else None,
            problem=_problem(cache),
            basis=_basis(it) if it and it.entries else [],
            labels=json.dumps(_labels(it), ensure_ascii=False) if it else "",
        )
        for alias, cache in caches.items()
        for it in [cache.what_if]
        if cache.lookups or (it and it.lookups)
    ]


def sizes(caches: Caches) -> TableSpec[CacheItem[Size]]:
    """The figures of the charts."""
    items = [CacheItem(alias, size) for alias, it in _predicted(caches) for size in _sizes(it)]
    names = list(dict.fromkeys(name for item in items for name in item.item.policies))
    bytes_column: ColumnSpec[CacheItem[Size]] = figure_column(
        "bytes", _("Memory"), text=formats.size
    )
    return TableSpec(
        "sizes",
        _("Hit ratio by size"),
        [
            ColumnSpec(
                "factor", _("Size"), lambda each: each.item.factor, _factor_cell, is_numeric=False
            ),
            *cache_column(caches),
            figure_column("entries", _("Entries"), "entries.entries"),
            *([bytes_column] if any(each.item.bytes is not None for each in items) else []),
            ratio_column("hit_ratio", _("Hit ratio"), "entries.hit_ratio"),
            figure_column("error", _("Error"), "entries.error", text=_error),
            figure_column(
                "seconds_saved_per_hour",
                _("Saved an hour"),
                "entries.seconds_saved_per_hour",
                text=_saved,
            ),
            *(_policy_column(name) for name in names),
            ratio_column("optimum", _("Optimum"), "best", has_bars=False),
        ],
        items,
        note=_(
            "Saved an hour: the time of computing that this size saves beyond that of today. The"
            " optimum knows what comes; no real policy exceeds it."
        ),
        empty=_("Nothing is predicted yet."),
        rows=2 * ROWS_OF_SEVERAL,
        is_searchable=False,
    )


def timeouts(
    caches: Caches, links: Links, most_stale: float | None
) -> TableSpec[CacheItem[Timeouts]]:
    """The groups with their hit ratios by timeout; ``most_stale`` is the share of stale hits that
    the user accepts."""
    every = dict(_predicted(caches))

    def best_timeout(each: CacheItem[Timeouts]) -> float | None:
        best = each.item.best(most_stale)
        return best.timeout if best else None

    return TableSpec(
        "timeouts",
        _("Hit ratio by timeout"),
        [
            group_column(links),
            *cache_column(caches),
            figure_column("timeout", _("Timeout"), text=formats.age),
            ratio_column("hit_ratio", _("Hit ratio"), has_bars=False),
            *(_timeout_column(factor, every) for factor in FACTORS),
            ColumnSpec(
                "gains_most",
                _("Gains most"),
                best_timeout,
                lambda each: _best_cell(each.item, most_stale),
                is_numeric=False,
            ),
            ratio_column("unchanged", _("Rewrites unchanged"), has_bars=False),
            figure_column("seconds_to_change", _("A value lasts"), text=formats.age),
            ratio_column("stale_share", _("Stale hits"), has_bars=False),
        ],
        [CacheItem(alias, each) for alias, it in every.items() for each in it.timeouts],
        note=_(
            "A longer timeout finds more, and may serve older values. A dash under a timeout: the"
            " trace is not yet as long as twice that timeout."
        ),
        empty=_("No group with a timeout has been looked up often enough yet."),
        rows=ROWS_OF_SEVERAL,
        is_searchable=False,
    )


def knows_stale_shares(caches: Caches) -> bool:
    """Whether it is known of any timeout how many hits would be stale."""
    return any(
        option.stale_share is not None
        for _alias, it in _predicted(caches)
        for each in it.timeouts
        for option in each.options
    )


def _predicted(caches: Caches) -> list[tuple[str, CacheWhatIf]]:
    return [
        (alias, cache.what_if)
        for alias, cache in caches.items()
        if cache.what_if is not None and cache.what_if.entries
    ]


def _problem(cache: Cache) -> str:
    """Why nothing is predicted; empty where something is."""
    it = cache.what_if
    if it is None:
        if cache.backend.endswith(".DummyCache"):
            return _("This backend stores nothing, whatever its size.")
        return _("Nothing was predicted yet. The first prediction comes within minutes of traffic.")
    if it.entries:
        return ""
    if (it.lookups or 0) < LEAST_LOOKUPS:
        return _("The trace has %(lookups)s lookups so far; a prediction takes %(least)s.") % {
            "lookups": formats.count(it.lookups),
            "least": formats.count(LEAST_LOOKUPS),
        }
    if it.hit_ratio is None:
        return _("There was no time yet to simulate this cache.")
    return _(
        "The simulation of this cache as it is gives a hit ratio of %(simulated)s; in truth it was"
        " %(observed)s. So nothing is predicted."
    ) % {
        "simulated": formats.ratio(it.hit_ratio),
        "observed": formats.ratio(it.observed_hit_ratio),
    }


def _basis(it: CacheWhatIf) -> Sequence[str]:
    policy = _("assumed: %(policy)s") if it.policy_is_assumed else _("policy: %(policy)s")
    size = (
        _("today no limit, about %(entries)s entries held")
        if it.room is None
        else _("today room for %(entries)s entries")
    )
    rate = (
        _("every key traced (%(keys)s)")
        if it.rate == 1.0
        else _("%(keys)s keys traced, %(rate)s of all")
    )
    return [
        policy % {"policy": it.policy},
        size % {"entries": formats.count(it.size)},
        _("observed %(observed)s, simulated %(simulated)s")
        % {
            "observed": formats.ratio(it.observed_hit_ratio),
            "simulated": formats.ratio(it.hit_ratio),
        },
        rate % {"keys": formats.count(it.keys), "rate": formats.ratio(it.rate)},
    ]


def _labels(it: CacheWhatIf) -> Mapping[str, str]:
    return {
        "own": it.policy,
        "optimum": _("optimum"),
        "today": pgettext("of a size", "today"),
        "error": pgettext("of an estimate", "error"),
        "saved": _("saved an hour"),
        "entries": _("entries"),
        "hit_ratio": _("Hit ratio"),
    }


def _sizes(it: CacheWhatIf) -> list[Size]:
    best = {each.entries: each.hit_ratio for each in it.optimum}
    bytes_of = {each.entries: each.bytes for each in it.bytes}
    others = {
        policy.policy: {each.entries: each.hit_ratio for each in policy.entries}
        for policy in it.policies
    }
    return [
        Size(
            it.factor(each.entries),
            each,
            best.get(each.entries),
            {name: curve.get(each.entries) for name, curve in others.items()},
            bytes_of.get(each.entries),
        )
        for each in it.entries
    ]


def _factor_cell(each: CacheItem[Size]) -> Cell:
    text = _times(each.item.factor)
    is_today = each.item.factor == 1
    return Cell(_("%(size)s, today") % {"size": text} if is_today else text, is_numeric=False)


def _times(factor: float) -> str:
    number = formats.significant(factor)
    return f"\u00d7\N{NARROW NO-BREAK SPACE}{number}"


def _error(error: float | None) -> str:
    if error is None:
        return formats.UNKNOWN
    points = {"points": formats.decimal(100 * error)}
    return _("± %(points)s points") % points if error else _("none")


def _saved(seconds: float | None) -> str:
    if seconds is None:
        return formats.UNKNOWN
    return ("+" if seconds > 0 else "") + formats.duration(seconds)


def _policy_column(name: str) -> ColumnSpec[CacheItem[Size]]:
    return ratio_column(name, name, lambda each: each.item.policies.get(name), has_bars=False)


def _timeout_column(
    factor: float, every: Mapping[str, CacheWhatIf]
) -> ColumnSpec[CacheItem[Timeouts]]:
    def option(each: CacheItem[Timeouts]) -> TimeoutOption | None:
        return next((one for one in each.item.options if one.factor == factor), None)

    def value(each: CacheItem[Timeouts]) -> float | None:
        found = option(each)
        return found.hit_ratio if found else None

    def cell(each: CacheItem[Timeouts]) -> Cell:
        found = option(each)
        if found is None:
            return Cell(formats.UNKNOWN)
        if found.hit_ratio is None:
            return Cell(formats.UNKNOWN, title=_too_short(found, every[each.alias]))
        return Cell(formats.ratio(found.hit_ratio), title=_gain(each.item, found))

    return ColumnSpec(f"times_{factor:g}", _times(factor), value, cell)


def _too_short(option: TimeoutOption, it: CacheWhatIf) -> str:
    return _("%(timeout)s takes a trace of %(needed)s; there are %(seen)s.") % {
        "timeout": formats.age(option.timeout),
        "needed": formats.age(PERIODS * option.timeout),
        "seen": formats.age(it.trace_seconds),
    }


def _gain(group: Timeouts, option: TimeoutOption) -> str:
    """Such as "10 min: +9 points ±0.4, 41 s an hour, 0.4% stale"."""
    gained = formats.points(option.hit_ratio, group.hit_ratio)
    error = f" ±{formats.decimal(100 * option.error)}" if option.error else ""
    text = f"{formats.age(option.timeout)}: {gained}{error}"
    parts = [text]
    if option.seconds_saved_per_hour is not None:
        saved = _saved(option.seconds_saved_per_hour)
        parts.append(_("%(seconds)s an hour") % {"seconds": saved})
    if option.stale_share is not None:
        parts.append(_("%(share)s stale") % {"share": formats.ratio(option.stale_share)})
    return ", ".join(parts)


def _best_cell(group: Timeouts, most_stale: float | None) -> Cell:
    best = group.best(most_stale)
    if best is not None:
        return Cell(_gain(group, best), is_numeric=False)
    is_unknown = any(each.stale_share is None for each in group.gaining)
    return Cell(
        _("unknown: how stale it would be") if is_unknown else _("none of them"), is_numeric=False
    )
