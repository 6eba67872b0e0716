"""The app in a site of somebody else: what ``wagtail start`` makes, and the README's lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.docs.pages import README
from tests.packaging.sites import (
    QUICK_PASSWORDS,
    ROOT,
    Site,
    Visitor,
    create_environment,
    make_database,
    only_migrations_of,
    run,
)
from tests.services import free_port

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wagtail")]

LOCAL_SETTINGS = """
from .base import INSTALLED_APPS, MIDDLEWARE

INSTALLED_APPS = [*INSTALLED_APPS, "cache_monitor", "debug_toolbar"]
MIDDLEWARE = [
    "cache_monitor.middleware.CacheMonitorMiddleware",
    "debug_toolbar.middleware.DebugToolbarMiddleware",
    *MIDDLEWARE,
]
INTERNAL_IPS = ["127.0.0.1"]
DEBUG_TOOLBAR_PANELS = ["cache_monitor.panel.CacheMonitorPanel"]
"""
HOME = """
from home.models import HomePage
from wagtail.models import Locale, Page, Site

Locale.objects.create(language_code="en")
home = Page.add_root(title="Root", slug="root").add_child(
    instance=HomePage(title="Home", slug="home")
)
Site.objects.create(hostname="localhost", root_page=home, is_default_site=True)
"""
"""What Wagtail's migrations put into its tables."""
MORE_URLS = """
from debug_toolbar.toolbar import debug_toolbar_urls
from django.http import HttpResponse
from wagtail.models import Page


def pages(request):
    links = "".join(f'<a href="{page.get_url(request)}">{page}</a>' for page in Page.objects.all())
    return HttpResponse(f"<html><body>{links}</body></html>")


urlpatterns = [path("all-pages/", pages), *debug_toolbar_urls(), *urlpatterns]
"""

ROOT_PATHS = "wagtail_site_root_paths"
"""A key that Wagtail reads, through Django's cache, to link to a page."""


@pytest.fixture(scope="module")
def wagtail_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("wagtail")
    requirement = ["wagtail", "django-debug-toolbar", "--editable", str(ROOT)]
    python = create_environment(directory / "environment", requirement)
    project = directory / "project-of-somebody"
    project.mkdir()
    start = "from wagtail.bin.wagtail import main; main()"
    run([str(python), "-c", start, "start", "mysite", "."], project, {"DJANGO_SETTINGS_MODULE": ""})
    migrated = only_migrations_of("cache_monitor")
    local = LOCAL_SETTINGS + QUICK_PASSWORDS + migrated
    (project / "mysite" / "settings" / "local.py").write_text(local)
    with (project / "mysite" / "urls.py").open("a") as urls:
        urls.write(MORE_URLS)
    site = Site(project, python, free_port(), "mysite.settings.dev", "/django-admin/")
    make_database(site, HOME)
    with site.served():
        yield site


@pytest.fixture(scope="module")
def visited(wagtail_site: Site) -> str:
    """A page that links to pages, after three visits."""
    pages = [Visitor(wagtail_site.url).get("/all-pages/") for _ in range(3)]
    assert [page.status for page in pages] == [200] * 3
    return pages[-1].text


@pytest.fixture(scope="module")
def dashboard(wagtail_site: Site, visited: str) -> str:
    """The site's process, which is asked for it, writes what is new to the store first."""
    return wagtail_site.owner.get("/django-admin/cache_monitor/dashboard/").text


def test_what_is_added_are_lines_of_the_readme() -> None:
    added = re.findall(r'"(cache_monitor[\w.]*)",', LOCAL_SETTINGS)
    assert len(added) >= 2
    text = README.read_text()
    assert [name for name in [*added, "cache_monitor"] if f'"{name}",' not in text] == []


def test_the_checks_have_nothing_to_say_of_us(wagtail_site: Site) -> None:
    assert "cache_monitor" not in wagtail_site.manage("check")


def test_the_export_has_the_calls_that_wagtail_makes(wagtail_site: Site, dashboard: str) -> None:
    document = json.loads(wagtail_site.manage("cache_stats", "--format", "json"))
    hot = {each["key"]: each for each in document["caches"]["default"]["hot_keys"]}
    assert hot[ROOT_PATHS]["lookups"] >= 3
    assert hot[ROOT_PATHS]["sets"] >= 1


def test_the_dashboard_shows_them(dashboard: str) -> None:
    assert ROOT_PATHS in dashboard


def test_the_panel_shows_them(wagtail_site: Site, visited: str) -> None:
    found = re.search(r'data-request-id="([^"]+)"', visited)
    assert found is not None
    address = f"/__debug__/render_panel/?request_id={found[1]}&panel_id=CacheMonitorPanel"
    content = json.loads(Visitor(wagtail_site.url).get(address).body)["content"]
    assert ROOT_PATHS in content
