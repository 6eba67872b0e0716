"""The URLs of a project that serves the exports."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("cache-monitor/", include("cache_monitor.urls")),
]
