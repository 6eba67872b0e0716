"""For programs, without the admin: ``path("cache-monitor/", include("cache_monitor.urls"))``."""

from django.urls import path

from cache_monitor import endpoints

app_name = "cache_monitor"

urlpatterns = [
    path("stats.json", endpoints.stats, name="stats_json"),
    path("schema.json", endpoints.schema, name="schema_json"),
    path("metrics", endpoints.metrics, name="metrics"),
]
