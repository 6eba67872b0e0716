"""All URLs of the demo site."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.templatetags.static import static
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("cache-monitor/", include("cache_monitor.urls")),
    path("gallery/", include("gallery.urls")),
    # The admin's pages name no icon, so browsers ask for this one.
    path("favicon.ico", RedirectView.as_view(url=static("shop/icon.svg"))),
    path("", include("shop.urls")),
]

if settings.DEBUG:
    # Importing the toolbar's models raises an error where its app is not installed.
    from debug_toolbar.toolbar import debug_toolbar_urls

    urlpatterns += debug_toolbar_urls()
