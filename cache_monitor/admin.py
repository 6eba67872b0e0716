"""The dashboard's place in the admin."""

from typing import TYPE_CHECKING, cast

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

from cache_monitor.exporters import access
from cache_monitor.models import Dashboard

if TYPE_CHECKING:
    from collections.abc import Callable

    ModelAdmin = admin.ModelAdmin[Dashboard]
else:
    ModelAdmin = admin.ModelAdmin

__all__ = ["DashboardAdmin"]

PAGES = {
    "dashboard": "",
    "findings": "findings/",
    "keys": "keys/",
    "groups": "groups/",
    "views": "views/",
    "memory": "memory/",
    "stale": "stale/",
    "whatif": "what-if/",
    "entry": "entry/",
    # The admin index links to a model's list by this name.
    "dashboard_changelist": "",
}
"""The addresses of the pages."""
ACTIONS = {
    "delete_entry": "delete-entry/",
    "delete_group": "delete-group/",
    "delete_stale": "delete-stale/",
    "clear": "clear/",
}
MUTING = {"mute_finding": "mute-finding/", "unmute_finding": "unmute-finding/"}


@admin.register(Dashboard)
class DashboardAdmin(ModelAdmin):
    """Shows the report to staff with ``cache_monitor.view_dashboard``; there is nothing to edit."""

    def get_urls(self) -> list[URLPattern]:
        views = [
            *((name, place, self._page(name)) for name, place in PAGES.items()),
            *((name, place, self._action(name)) for name, place in ACTIONS.items()),
            *((name, place, self._muting(name)) for name, place in MUTING.items()),
            ("stats_json", "stats.json", self._guarded(_stats)),
        ]
        return [path(place, view, name=f"cache_monitor_{name}") for name, place, view in views]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Dashboard | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Dashboard | None = None) -> bool:
        return False

    # The dashboard is imported when it is opened: at each start it would take 0.1 s of CPU time,
    # for workers and commands that never show it.

    def _page(self, name: str) -> "Callable[..., HttpResponse]":
        def page(request: HttpRequest) -> HttpResponse:
            from cache_monitor.dashboard import views  # noqa: PLC0415 - dear at each start

            return views.page(request, self.admin_site, name.removesuffix("_changelist"))

        return self._guarded(page)

    def _action(self, name: str) -> "Callable[..., HttpResponse]":
        def action(request: HttpRequest) -> HttpResponse:
            from cache_monitor.dashboard import deleting  # noqa: PLC0415 - dear at each start

            return deleting.action(request, self.admin_site, name)

        return self._guarded(action)

    def _muting(self, name: str) -> "Callable[..., HttpResponse]":
        def change(request: HttpRequest) -> HttpResponse:
            from cache_monitor.dashboard.findings import mute, unmute  # noqa: PLC0415 - dear at each start

            view = mute if name == "mute_finding" else unmute
            return view(request, self.admin_site)

        return self._guarded(change)

    def _guarded(
        self, view: "Callable[[HttpRequest], HttpResponse]"
    ) -> "Callable[..., HttpResponse]":
        def guarded(request: HttpRequest) -> HttpResponse:
            if not self.has_view_permission(request):
                raise PermissionDenied
            if access.is_permission_probe(request):
                return HttpResponse(status=access.YES)
            # Links in the page lead to the admin site that shows it, also where there are several.
            request.current_app = self.admin_site.name
            return view(request)

        return cast("Callable[..., HttpResponse]", self.admin_site.admin_view(guarded))


def _stats(request: HttpRequest) -> HttpResponse:
    from cache_monitor.dashboard import views  # noqa: PLC0415 - dear at each start

    return views.stats(request)
