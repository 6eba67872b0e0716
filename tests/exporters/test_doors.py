"""One rule for all doors: whom the admin would not show the dashboard gets no figures elsewhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest
from django.contrib.admin import AdminSite, site, sites
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.test import Client, override_settings
from django.urls import include, path, reverse

from cache_monitor.admin import DashboardAdmin
from cache_monitor.models import Dashboard

pytestmark = pytest.mark.usefixtures("store")


class StrictSite(AdminSite):
    """An admin that asks for a second factor."""

    def has_permission(self, request: HttpRequest) -> bool:
        return super().has_permission(request) and "second-factor" in request.COOKIES


strict = StrictSite(name="strict")
strict.register(Dashboard, DashboardAdmin)


def _factor_required(view: Callable[..., Any]) -> Callable[..., Any]:
    """What a project may put around the admin's views."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if "second-factor" not in request.COOKIES:
            return redirect("/second-factor/")
        return view(request, *args, **kwargs)

    return guarded


class WrappedSite(AdminSite):
    """An admin whose every view a project has wrapped."""

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Any:
        return _factor_required(super().admin_view(view, cacheable))


wrapped = WrappedSite(name="wrapped")
wrapped.register(Dashboard, DashboardAdmin)

for each in (strict, wrapped):
    sites.all_sites.discard(each)


@pytest.fixture(autouse=True)
def _sites(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sites of this module, for its tests alone."""
    monkeypatch.setattr(sites, "all_sites", [site, strict, wrapped])


PROGRAMS = path("cache-monitor/", include("cache_monitor.urls"))


class _Urls:
    """A module of URLs."""

    def __init__(self, *sites: AdminSite) -> None:
        places = [path(f"{each.name}/", each.urls) for each in sites]
        self.urlpatterns = [PROGRAMS, *places, path("second-factor/", HttpResponse)]


@pytest.mark.parametrize("name", ["stats_json", "schema_json", "metrics"])
@pytest.mark.parametrize("guarded", [strict, wrapped], ids=["its own rule", "a wrapper"])
def test_who_lacks_the_second_factor_is_let_in_nowhere(
    log_in: Callable[..., Client], guarded: AdminSite, name: str
) -> None:
    with override_settings(ROOT_URLCONF=_Urls(guarded)):
        client = log_in()
        page, figures = (
            f"/{guarded.name}/cache_monitor/dashboard/stats.json",
            f"cache_monitor:{name}",
        )
        assert client.get(page).status_code == 302
        assert client.get(reverse(figures)).status_code == 403
        client.cookies["second-factor"] = "yes"
        assert client.get(page).status_code == 200
        assert client.get(reverse(figures)).status_code == 200


def test_an_admin_that_cannot_be_visited_opens_no_door(log_in: Callable[..., Client]) -> None:
    """The default site has the dashboard too, wherever a project's own takes its place."""
    assert site.is_registered(Dashboard)
    with override_settings(ROOT_URLCONF=_Urls(strict)):
        assert log_in().get(reverse("cache_monitor:stats_json")).status_code == 403


def test_of_several_admins_one_is_enough(log_in: Callable[..., Client]) -> None:
    with override_settings(ROOT_URLCONF=_Urls(strict, site)):
        assert log_in().get(reverse("cache_monitor:stats_json")).status_code == 200


def test_without_an_address_every_admin_has_a_say(log_in: Callable[..., Client]) -> None:
    with override_settings(ROOT_URLCONF=_Urls()):
        client = log_in()
        assert client.get(reverse("cache_monitor:stats_json")).status_code == 403
        client.cookies["second-factor"] = "yes"
        assert client.get(reverse("cache_monitor:stats_json")).status_code == 200


def test_a_site_below_a_path_is_asked_all_the_same(log_in: Callable[..., Client]) -> None:
    with override_settings(ROOT_URLCONF=_Urls(strict), FORCE_SCRIPT_NAME="/shop"):
        response = log_in().get("/cache-monitor/stats.json")
    assert response.status_code == 403


def test_asking_leaves_the_request_as_it_was(log_in: Callable[..., Client]) -> None:
    with override_settings(ROOT_URLCONF=_Urls(site)):
        request = log_in().get(reverse("cache_monitor:stats_json")).wsgi_request
    assert not [name for name in vars(request) if name.startswith("_cache_monitor")]
    assert not hasattr(request, "current_app")


def test_without_an_admin_programs_and_staff_are_let_in() -> None:
    program = """
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="x", ROOT_URLCONF="cache_monitor.urls", ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "cache_monitor"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    CACHE_MONITOR={"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}},
)
django.setup()
from types import SimpleNamespace
from django.test import RequestFactory
from cache_monitor import endpoints
request = RequestFactory().get("/stats.json")
print(endpoints.stats(request).status_code)
for perm in (False, True):
    request.user = SimpleNamespace(
        is_active=True, is_staff=True, is_authenticated=True, has_perm=lambda name: perm)
    print(endpoints.stats(request).status_code)
"""
    answer = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert answer.stdout.split() == ["401", "403", "200"]
