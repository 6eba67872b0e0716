"""The debug toolbar's panel: what one request did with the caches.

The only module that needs django-debug-toolbar, which alone imports it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any

from debug_toolbar.panels import Panel
from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from cache_monitor.api import backend_path
from cache_monitor.capture import Capture, CapturedCall, Totals, watched_aliases
from cache_monitor.scope import start_listening, stop_listening

SHOWN_CALLS = 500
SHOWN_KEYS_OF_CALL = 20
SHOWN_KEYS = 2000
"""All calls of a request together, so that the page stays small; each call shows one at least."""

Stats = dict[str, Any]
"""What the toolbar's store keeps of a request: plain values that survive JSON."""


class CacheMonitorPanel(Panel):
    """The calls that a request made on the caches, with their keys, outcomes, times and sizes.

    Listens from ``enable_instrumentation`` to ``disable_instrumentation``: the toolbar calls both
    in the request's own thread or task, the latter whatever happens, and keeps its own data
    outside of them. The listener travels in a context variable, so requests cannot mix.
    """

    title = gettext_lazy("Cache monitor")
    nav_title = title
    nav_icon = "cache_monitor/panel/icon.svg"  # type: ignore[assignment]  # the base says None
    template = "cache_monitor/panel/panel.html"
    is_async = True

    def __init__(self, toolbar: Any, get_response: Any) -> None:
        super().__init__(toolbar, get_response)
        self._capture = Capture(keep=SHOWN_CALLS)
        self._is_listening = False

    @property
    def nav_subtitle(self) -> str:
        """The short form in the side bar."""
        stats = self._stats()
        return _short_form(stats["total"]) if stats else ""

    @property
    def content(self) -> str:
        """The panel's HTML, from what the store kept."""
        stats = self._stats()
        return render_to_string(self.template, {"shown_calls": len(stats["calls"]), **stats})

    def enable_instrumentation(self) -> None:
        """Listen to the request's calls."""
        if not self._is_listening:
            self._is_listening = True
            start_listening(self._capture)

    def disable_instrumentation(self) -> None:
        """Listen no more."""
        self._is_listening = False
        stop_listening(self._capture)

    def generate_stats(self, request: HttpRequest, response: HttpResponse) -> None:
        """Store what was heard."""
        stats = request_stats(self._capture)
        stats["is_streaming"] = response.streaming
        stats["toolbar_counts"] = self._deviating_counts(stats["total"])
        self.record_stats(stats)  # type: ignore[no-untyped-call]

    def generate_server_timing(self, request: HttpRequest, response: HttpResponse) -> None:
        """The ``Server-Timing`` entry; not translated, since a header is ASCII."""
        total = self._stats()["total"]
        title = "Cache calls: {calls}, hits: {hits} of {lookups} lookups".format(**total)
        self.record_server_timing(  # type: ignore[no-untyped-call]
            "total_time", title, total["milliseconds"]
        )

    @classmethod
    def run_checks(cls) -> list[CheckMessage]:
        """E005: the panel is listed, the app is not."""
        if apps.is_installed("cache_monitor"):
            return []
        return [
            Error(
                "DEBUG_TOOLBAR_PANELS lists cache_monitor.panel.CacheMonitorPanel, but "
                "cache_monitor is not installed.",
                hint='Add "cache_monitor" to INSTALLED_APPS.',
                id="cache_monitor.E005",
            )
        ]

    def _stats(self) -> Stats:
        stats: Stats = self.get_stats()  # type: ignore[no-untyped-call]
        return stats

    def _deviating_counts(self, total: Stats) -> dict[str, int] | None:
        """Hits and misses by the toolbar's own cache panel, where it is on and they differ."""
        for panel in self.toolbar.enabled_panels:
            if panel.panel_id == "CachePanel" and hasattr(panel, "misses"):
                counts = {"hits": panel.hits, "misses": panel.misses}
                return None if counts.items() <= total.items() else counts
        return None


def request_stats(capture: Capture) -> Stats:
    """What ``capture`` heard, and which caches it heard nothing of."""
    totals = capture.totals()
    watched = watched_aliases()
    return {
        "total": _counts(_sum(totals.values())),
        "caches": [
            {"alias": alias, "backend": backend_path(alias), **_counts(totals[alias])}
            for alias in settings.CACHES
            if alias in totals
        ],
        "not_called": [alias for alias in watched if alias not in totals],
        "not_watched": [alias for alias in settings.CACHES if alias not in (*watched, *totals)],
        "calls": list(_rows(capture.calls())),
    }


def _sum(parts: Iterable[Totals]) -> Totals:
    total = Totals()
    for part in parts:
        for each in fields(Totals):
            setattr(total, each.name, getattr(total, each.name) + getattr(part, each.name))
    return total


def _counts(totals: Totals) -> Stats:
    return {
        "calls": totals.calls,
        "reads": totals.reads,
        "writes": totals.writes,
        "deletes": totals.deletes,
        "others": totals.others,
        "lookups": totals.lookups,
        "hits": totals.hits,
        "misses": totals.misses,
        "hit_percent": _percent(totals.hits, totals.lookups),
        "errors": totals.errors,
        "milliseconds": _milliseconds(totals.seconds),
    }


def _percent(part: int, whole: int) -> int | None:
    """A whole per cent; only a true none or all gives 0 or 100."""
    if whole == 0:
        return None
    if part in {0, whole}:
        return 100 if part else 0
    return min(max(round(100 * part / whole), 1), 99)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 4)


def _rows(calls: Iterable[CapturedCall]) -> Iterator[Stats]:
    room = SHOWN_KEYS
    for call in calls:
        shown = min(len(call.keys), SHOWN_KEYS_OF_CALL, max(room, 1))
        room -= shown
        yield _row(call, shown)


def _row(call: CapturedCall, shown_keys: int) -> Stats:
    keys = zip(call.keys, call.groups, call.outcomes, strict=True)
    return {
        "alias": call.alias,
        "operation": call.operation,
        "keys": [
            {"key": key, "group": "" if group == key else group, "hit": hit}
            for key, group, hit in list(keys)[:shown_keys]
        ],
        "more_keys": len(call.keys) - shown_keys,
        "hits": call.hits,
        "misses": call.misses,
        "milliseconds": _milliseconds(call.seconds),
        "bytes": call.bytes,
        "timeout": call.timeout,
        "error": call.error,
    }


def _short_form(total: Stats) -> str:
    calls, time = total["calls"], total["milliseconds"]
    if not calls:
        return _("no calls")
    places = 1 if time >= 1 else 2
    short = ngettext("%(calls)s call in %(time)s ms", "%(calls)s calls in %(time)s ms", calls) % {
        "calls": number_format(calls, force_grouping=True),
        # number_format() cuts digits off, it does not round.
        "time": number_format(round(time, places), places, force_grouping=True),
    }
    if total["hit_percent"] is None:
        return short
    ratio = _("%(percent)s %% hits") % {"percent": total["hit_percent"]}
    return f"{short} · {ratio}"
