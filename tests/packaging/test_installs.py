"""The app in somebody else's project, installed from a wheel and as an editable checkout."""

from __future__ import annotations

import json

import pytest

from tests.packaging.sites import ROOT, Page, Site, parse

FIND_FILES = """
from django.contrib.staticfiles import finders
from django.template.loader import get_template
import json
wanted = json.loads({wanted!r})
for name in wanted["templates"]:
    get_template(name)
print(json.dumps([name for name in wanted["static"] if not finders.find(name)]))
"""


def names_below(kind: str) -> list[str]:
    directory = ROOT / "cache_monitor" / kind
    return sorted(
        path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()
    )


@pytest.fixture
def dashboard(site: Site) -> Page:
    return site.owner.get(site.reverse("admin:cache_monitor_dashboard"))


def test_django_finds_the_templates_and_the_static_files(site: Site) -> None:
    wanted = json.dumps({kind: names_below(kind) for kind in ("templates", "static")})
    output = site.manage("shell", "-c", FIND_FILES.format(wanted=wanted))
    assert json.loads(output.splitlines()[-1]) == []


def test_the_system_checks_have_nothing_to_say(site: Site) -> None:
    site.manage("check", "--fail-level", "WARNING")


def test_the_models_need_no_migration_that_is_not_shipped(site: Site) -> None:
    site.manage("makemigrations", "cache_monitor", "--check", "--dry-run")


def test_the_admin_index_links_to_the_dashboard(site: Site) -> None:
    links = parse(site.owner.get("/admin/")).links
    assert site.reverse("admin:cache_monitor_dashboard") in links


def test_the_dashboard_is_a_page(dashboard: Page) -> None:
    assert dashboard.status == 200
    assert dashboard.headers.get_content_type() == "text/html"


def test_every_file_that_the_dashboard_loads_is_served(site: Site, dashboard: Page) -> None:
    loaded = parse(dashboard).loaded
    own = {url for url in loaded if "/cache_monitor/" in url}
    assert {url: site.owner.get(url).status for url in loaded} == dict.fromkeys(loaded, 200)
    assert any(url.endswith("/vendor/chart.umd.min.js") for url in own)


def test_the_statistics_are_served_as_json(site: Site) -> None:
    answer = site.owner.get(site.reverse("admin:cache_monitor_stats_json"))
    assert answer.headers.get_content_type() == "application/json"
    document = json.loads(answer.body)
    assert document["schema_version"] == 1
    assert "default" in document["caches"]


def test_the_statistics_command_prints_json(site: Site) -> None:
    document = json.loads(site.manage("cache_stats", "--format", "json"))
    assert document["schema_version"] == 1
