"""The dashboard's place in the admin."""

from typing import TYPE_CHECKING, cast

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

from cache_monitor.dashboard import actions, muting, views
from cache_monitor.dashboard.pages import PAGES
from cache_monitor.dashboard.targets import ACTIONS, Action
from cache_monitor.dashboard.visit import Page
from cache_monitor.exporters import access
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
        urls = [
            path(page.path, self._page(page), name=f"cache_monitor_{page.name}") for page in PAGES
        ]
        urls += [
            path(each.path, self._action(each), name=f"cache_monitor_{each.name}")
            for each in ACTIONS
        ]
        for name, view in (("mute_finding", muting.mute), ("unmute_finding", muting.unmute)):
            place = f"{name.replace('_', '-')}/"
            urls.append(path(place, self._on_this_site(view), name=f"cache_monitor_{name}"))
        return [
            *urls,
            # The admin index links to a model's list by this name.
            path("", self._page(PAGES[0]), name="cache_monitor_dashboard_changelist"),
            path("stats.json", self._guarded(views.stats), name="cache_monitor_stats_json"),
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Dashboard | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Dashboard | None = None) -> bool:
        return False

    def _page(self, page: Page) -> "Callable[..., HttpResponse]":
        return self._guarded(lambda request: views.page(request, self.admin_site, page))

    def _action(self, action: Action) -> "Callable[..., HttpResponse]":
        return self._guarded(lambda request: actions.action(request, self.admin_site, action))

    def _on_this_site(
        self, view: "Callable[[HttpRequest, admin.AdminSite], HttpResponse]"
    ) -> "Callable[..., HttpResponse]":
        return self._guarded(lambda request: view(request, self.admin_site))

    def _guarded(
        self, view: "Callable[[HttpRequest], HttpResponse]"
    ) -> "Callable[..., HttpResponse]":
        def guarded(request: HttpRequest) -> HttpResponse:
            if not self.has_view_permission(request):
                raise PermissionDenied
            if access.is_only_asked(request):
                return HttpResponse(status=access.YES)
            # Links in the page lead to the admin site that shows it, also where there are several.
            request.current_app = self.admin_site.name
            return view(request)

        return cast("Callable[..., HttpResponse]", self.admin_site.admin_view(guarded))
