"""URLs of a project with an admin site of its own beside the default one."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from cache_monitor.admin import DashboardAdmin
from cache_monitor.models import Dashboard

office = admin.AdminSite(name="back_office")
office.register(Dashboard, DashboardAdmin)

urlpatterns = [path("admin/", admin.site.urls), path("office/", office.urls)]
