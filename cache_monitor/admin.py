"""The dashboard's place in the admin."""

from typing import TYPE_CHECKING, cast

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

from cache_monitor.models import Dashboard

if TYPE_CHECKING:
    from collections.abc import Callable

    ModelAdmin = admin.ModelAdmin[Dashboard]
else:
    ModelAdmin = admin.ModelAdmin

__all__ = ["DashboardAdmin"]

_PAGES = ("findings", "keys", "groups", "views", "memory", "stale", "what_if", "entry")
_DELETIONS = ("delete_entry", "delete_group", "delete_stale", "clear")
_NAMES = (*_PAGES, *_DELETIONS, "mute_finding", "unmute_finding")
PLACES = {
    "dashboard": "",
    # The admin index links to a model's list by this name.
    "dashboard_changelist": "",
    "stats_json": "stats.json",
    **{name: f"{name.replace('_', '-')}/" for name in _NAMES},
}
"""The addresses, by the ends of their names."""


@admin.register(Dashboard)
class DashboardAdmin(ModelAdmin):
    """Shows the report to staff with ``cache_monitor.view_dashboard``; there is nothing to edit."""

    def get_urls(self) -> list[URLPattern]:
        return [
            path(place, self._view(name), name=f"cache_monitor_{name}")
            for name, place in PLACES.items()
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Dashboard | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Dashboard | None = None) -> bool:
        return False

    def _view(self, name: str) -> "Callable[..., HttpResponse]":
        def view(request: HttpRequest) -> HttpResponse:
            if not self.has_view_permission(request):
                raise PermissionDenied
            # Imported when it is opened: at each start they would take 0.1 s of CPU time, for
            # workers and commands that never show it.
            from cache_monitor import endpoints  # noqa: PLC0415 - dear at each start
            from cache_monitor.dashboard import views  # noqa: PLC0415 - dear at each start

            if hasattr(request, endpoints.PROBE):
                return HttpResponse(status=endpoints.PERMITTED)
            # Links in the page lead to the admin site that shows it, also where there are several.
            request.current_app = self.admin_site.name
            return views.answer(request, self.admin_site, name)

        return cast("Callable[..., HttpResponse]", self.admin_site.admin_view(view))
