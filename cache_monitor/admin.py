"""The dashboard's place in the admin."""

from typing import TYPE_CHECKING, cast

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

from cache_monitor.dashboard import views
from cache_monitor.models import Dashboard

if TYPE_CHECKING:
    from collections.abc import Callable

    ModelAdmin = admin.ModelAdmin[Dashboard]
else:
    ModelAdmin = admin.ModelAdmin


@admin.register(Dashboard)
class DashboardAdmin(ModelAdmin):
    """Shows the report to staff with ``cache_monitor.view_dashboard``; there is nothing to edit."""

    def get_urls(self) -> list[URLPattern]:
        page = self._guarded(lambda request: views.page(request, self.admin_site))
        stats = self._guarded(views.stats)
        return [
            path("", page, name="cache_monitor_dashboard"),
            # The admin index links to a model's list by this name.
            path("", page, name="cache_monitor_dashboard_changelist"),
            path("stats.json", stats, name="cache_monitor_stats_json"),
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Dashboard | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Dashboard | None = None) -> bool:
        return False

    def _guarded(
        self, view: "Callable[[HttpRequest], HttpResponse]"
    ) -> "Callable[..., HttpResponse]":
        def guarded(request: HttpRequest) -> HttpResponse:
            if not self.has_view_permission(request):
                raise PermissionDenied
            # Links in the page lead to the admin site that shows it, also where there are several.
            request.current_app = self.admin_site.name
            return view(request)

        return cast("Callable[..., HttpResponse]", self.admin_site.admin_view(guarded))
