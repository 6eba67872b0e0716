"""The URLs of the site that programs read, and one that makes traffic."""

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def traffic(request: HttpRequest) -> HttpResponse:
    """A write, a hit and two misses."""
    cache.set("user:1:profile", "a" * 100, 60)
    cache.get_many(["user:1:profile", "user:2:profile", "user:3:profile"])
    return HttpResponse("done")


urlpatterns = [
    path("traffic", traffic),
    path("cache-monitor/", include("cache_monitor.urls")),
]
