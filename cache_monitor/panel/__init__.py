"""The debug toolbar's panel: what one request did with the caches.

The only room that needs django-debug-toolbar, which alone imports it. At the end of the request
its calls become plain rows for the toolbar's store (``request``). All that takes thought is done
when somebody opens the panel, in whichever process that is (``present``, ``hints``, ``site``).
"""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from debug_toolbar.panels import Panel
from debug_toolbar.settings import get_config
from django.apps import apps
from django.core.checks import CheckMessage, Error
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from cache_monitor.calls import recorder
from cache_monitor.context import start_listening, stop_listening
from cache_monitor.dashboard.formats import count, rounded
from cache_monitor.errors import let_pass
from cache_monitor.listeners import Capture
from cache_monitor.panel.present import RequestReport
from cache_monitor.panel.request import (
    SHOWN_CALLS,
    RequestRows,
    TotalRow,
    capture_stream,
    request_rows,
)
from cache_monitor.panel.site import (
    SiteStats,
    compute_times,
    computed_in,
    misses_of_requests,
    of_the_last_hour,
)
from cache_monitor.stacks import StackTaker

__all__ = ["CacheMonitorPanel"]

LARGEST_HTML = 1_000_000
"""Bytes. Where escaping makes more of the keys than that, fewer calls are listed."""


class CacheMonitorPanel(Panel):
    """The calls that a request made on the caches: keys, outcomes, times, sizes, who made them.

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
        take_stack = StackTaker().take if get_config()["ENABLE_STACKTRACES"] else None
        self._capture = Capture(keep=SHOWN_CALLS, take_stack=take_stack)
        self._is_listening = False
        self._began = self._ended = perf_counter()

    @property
    def nav_subtitle(self) -> str:
        """The short form in the side bar."""
        return self._text(lambda rows: _short_form(rows["total"]))

    @property
    def content(self) -> str:
        """The panel's HTML, from what the store kept."""
        return self._text(self._html)

    def _text(self, make: Callable[[RequestRows], str]) -> str:
        """What ``make`` makes of the stored rows; empty where there are none, or another version of
        the monitor stored them: the toolbar would let the error reach the site."""
        rows = self._stored()
        if rows is None:
            return ""
        try:
            return make(rows)
        except Exception as error:
            let_pass(error)
            recorder.failed(error)
            return ""

    def _html(self, rows: RequestRows) -> str:
        request_report = RequestReport(rows, get_config()["HIDE_IN_STACKTRACES"])
        # Within the request itself (RENDER_PANELS) there is no time to wait or to read a store.
        is_later = bool(getattr(self, "from_store", False))
        reasons = misses_of_requests.reasons(self.toolbar.request_id) if is_later else {}
        aliases = {row["alias"] for row in request_report.rows}
        site_stats = of_the_last_hour(aliases) if is_later else SiteStats()
        most = len(request_report.rows)
        while True:
            html = render_to_string(
                self.template, request_report.context(reasons, site_stats, most)
            )
            if len(html.encode("utf-8", "replace")) <= LARGEST_HTML or most <= 1:
                return html
            most //= 2

    @property
    def scripts(self) -> list[str]:
        """The module that filters and sorts the calls."""
        return [*super().scripts, static("cache_monitor/panel/panel.js")]

    def enable_instrumentation(self) -> None:
        """Listen to the request's calls."""
        if not self._is_listening:
            self._is_listening = True
            self._began = perf_counter()
            start_listening(self._capture)

    def disable_instrumentation(self) -> None:
        """Listen no more."""
        self._is_listening = False
        self._ended = perf_counter()
        stop_listening(self._capture)

    def generate_stats(self, request: HttpRequest, response: HttpResponse) -> None:
        """Store the calls; of a stream once more when it ends."""
        try:
            rows = self._rows(request, response)
        except Exception as error:
            # The toolbar would let it reach the site, whose response is ready.
            let_pass(error)
            recorder.failed(error)
            return
        rows["toolbar_counts"] = self._deviating_counts(rows["total"])
        self.record_stats(rows)  # type: ignore[no-untyped-call]
        if response.streaming:
            before = rows["total"]["calls"]
            capture_stream(
                response, self._capture, lambda: self._stream_ended(request, response, before)
            )
        else:
            compute_times.learn(computed_in(rows["calls"]))

    def generate_server_timing(self, request: HttpRequest, response: HttpResponse) -> None:
        """The ``Server-Timing`` entry; not translated, since a header is ASCII."""
        rows = self._stored()
        if rows is None:
            return
        total = rows["total"]
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

    def _stored(self) -> RequestRows | None:
        """What the toolbar's store has of the request; None where it has nothing."""
        rows: RequestRows | None = self.get_stats()  # type: ignore[no-untyped-call]
        return rows or None

    def _rows(self, request: HttpRequest, response: HttpResponse) -> RequestRows:
        """The rows of the request until now; its misses are remembered."""
        kept = self._capture.kept()
        lasted = self._began, self._ended
        rows = request_rows(self._capture, kept, lasted, request, response)
        misses_of_requests.remember(self.toolbar.request_id, kept, rows["calls"])
        return rows

    def _stream_ended(self, request: HttpRequest, response: HttpResponse, before: int) -> None:
        self._ended = perf_counter()
        if not self.toolbar.store.exists(self.toolbar.request_id):
            # Pushed out by newer requests: to store it again would push out another.
            return
        rows = self._rows(request, response)
        compute_times.learn(computed_in(rows["calls"]))
        rows["stream"] = {"ended": True, "calls": rows["total"]["calls"] - before}
        self.record_stats(rows)  # type: ignore[no-untyped-call]

    def _deviating_counts(self, total: TotalRow) -> dict[str, int] | None:
        """Hits and misses by the toolbar's own cache panel, where it is on and they differ."""
        for panel in self.toolbar.enabled_panels:
            if panel.panel_id == "CachePanel" and hasattr(panel, "misses"):
                counts = {"hits": panel.hits, "misses": panel.misses}
                return None if counts.items() <= total.items() else counts
        return None


def _short_form(total: TotalRow) -> str:
    calls, time = total["calls"], total["milliseconds"]
    if not calls:
        return _("no calls")
    places = 1 if time >= 1 else 2
    short = ngettext("%(calls)s call in %(time)s ms", "%(calls)s calls in %(time)s ms", calls) % {
        "calls": count(calls),
        "time": rounded(time, places),
    }
    if total["hit_percent"] is None:
        return short
    ratio = _("%(percent)s %% hits") % {"percent": total["hit_percent"]}
    return f"{short} · {ratio}"
