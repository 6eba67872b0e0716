"""What the toolbar's store keeps of a request: values for JSON."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

from django.conf import settings
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from cache_monitor.api import backend_path
from cache_monitor.capture import Capture, Totals, watched_aliases
from cache_monitor.keys.naming import name_key
from cache_monitor.page_cache import outcomes
from cache_monitor.page_cache.outcomes import PagePass
from cache_monitor.stacks import caller_of
from cache_monitor.toolbar.reasons import Places
from cache_monitor.toolbar.request import CallRow, CallRows, Kept, milliseconds


class PageRow(TypedDict):
    """A page that went through the cache: how it was looked up, and whether it was stored."""

    alias: str
    fetch: str | None
    missed: str | None
    key: str | None
    varies: list[str]
    age: float | None
    ttl: float | None
    stored: bool | None
    reason: str | None
    detail: str
    cause: str | None
    unvaried: str | None


def page_row(page_pass: PagePass) -> PageRow:
    """``page_pass`` as values for JSON."""
    key = page_pass.looked_up or page_pass.looked_up_list or page_pass.key
    return {
        "alias": page_pass.alias,
        "fetch": page_pass.fetch,
        "missed": page_pass.missed,
        # As the rows of the calls name it.
        "key": None if key is None else name_key(key, page_pass.alias)[0],
        "varies": list(page_pass.varies),
        "age": page_pass.age,
        "ttl": page_pass.ttl,
        "stored": page_pass.stored,
        "reason": page_pass.reason,
        "detail": page_pass.detail[:200],
        "cause": _with_place(page_pass.cause()),
        "unvaried": _with_place(page_pass.unvaried()),
    }


def _with_place(found: tuple[str, Any] | None) -> str | None:
    place = None if found is None else caller_of(found[1])
    return f"{found[0]} {place.where}" if found and place else None


def page_sentences(
    page: PageRow, rows: Sequence[CallRow], reasons: Places, words: Mapping[str, Promise]
) -> Iterator[str]:
    """The outcome of a page for the panel; ``words`` are those for the reasons of misses."""
    if page["fetch"] == "hit":
        yield _served(page)
        return
    if page["fetch"] == "miss" and page["missed"] is not None:
        yield _("This page was not served from the cache.")
        yield outcomes.missed(page["missed"], tuple(page["varies"]), page["detail"])
        if page["missed"] != "other_key" and (reason := _reason(page, rows, reasons)):
            yield _("Why: %(reason)s.") % {"reason": words[reason]}
    yield from _stored(page)


def _stored(page: PageRow) -> Iterator[str]:
    if page["stored"]:
        yield (
            _("It is stored now.")
            if page["ttl"] is None
            else _("It is stored now, for %(seconds)s s.") % {"seconds": _number(page["ttl"])}
        )
    elif page["stored"] is False:
        yield _("It was not stored.")
        if page["reason"] is not None:
            yield outcomes.not_stored(page["reason"], page["detail"])
    if page["unvaried"]:
        yield outcomes.unvaried(page["unvaried"])
    elif page["cause"]:
        yield outcomes.cause(page["cause"])


def _served(page: PageRow) -> str:
    if page["age"] is None:
        return _("This page was served from the cache.")
    return _("This page was served from the cache, %(age)s s after it was stored.") % {
        "age": _number(page["age"])
    }


def _reason(page: PageRow, rows: Sequence[CallRow], reasons: Places) -> str | None:
    """The reason of the page's last miss, where known."""
    for number in range(len(rows) - 1, -1, -1):
        for place, each in enumerate(rows[number]["keys"]):
            if each["hit"] is False and each["key"] == page["key"]:
                return reasons.get((number, place))
    return None


def _number(value: float) -> str:
    return number_format(round(value), force_grouping=True)


Stats = dict[str, Any]


def request_stats(capture: Capture, kept: Kept, rows: CallRows, seconds: float) -> Stats:
    """The panel's data of a request that took ``seconds``."""
    totals = capture.totals()
    watched = watched_aliases()
    total = _counts(sum(totals.values(), Totals()))
    total["request_milliseconds"] = milliseconds(seconds)
    return {
        "total": total,
        "caches": [
            {"alias": alias, "backend": backend_path(alias), **_counts(totals[alias])}
            for alias in settings.CACHES
            if alias in totals
        ],
        "not_called": [alias for alias in watched if alias not in totals],
        "not_watched": [alias for alias in settings.CACHES if alias not in (*watched, *totals)],
        "calls": rows.make(kept),
        "stacks": rows.stacks,
        "pages": [page_row(each) for each in capture.page_passes],
    }


def _counts(totals: Totals) -> Stats:
    names = ("calls", "reads", "writes", "deletes", "others", "lookups", "hits", "misses")
    return {
        **{name: getattr(totals, name) for name in (*names, "errors", "interrupted")},
        "hit_percent": totals.hit_percent,
        "milliseconds": milliseconds(totals.seconds),
    }
