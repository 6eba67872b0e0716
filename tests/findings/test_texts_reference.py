"""Where a finding is explained."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from threading import Thread

import pytest
from django.test import Client, override_settings

from cache_monitor.findings import texts
from cache_monitor.findings.engine import RULES
from cache_monitor.findings.texts import docs_url
from tests.findings.healthy import cache, findings, group

README = Path(__file__).resolve().parents[2] / "README.md"
PAGE = "/admin/cache_monitor/dashboard/findings/"


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    texts._published.cache_clear()
    yield
    texts._published.cache_clear()


@pytest.mark.urls("tests.dashboard.site_urls")
def test_a_finding_leads_to_the_admins_page_of_the_findings() -> None:
    [finding] = findings(cache(key_groups=[group(age_p50=80_000.0, age_p90=90_000.0)]))
    assert finding.docs == f"{PAGE}#finding-aged-content"


@pytest.mark.urls("tests.dashboard.site_urls")
def test_the_page_explains_every_finding_where_the_link_leads(admin_client: Client) -> None:
    text = admin_client.get(PAGE).content.decode()
    for code in RULES:
        path, _, anchor = docs_url(code).partition("#")
        assert path == PAGE
        assert text.count(f'id="{anchor}"') == 1


@pytest.mark.urls("tests.exporters.site_urls")
def test_without_an_admin_it_leads_to_the_readme() -> None:
    path, _, anchor = docs_url("no-expiry").partition("#")
    assert path == README.name
    assert f'<a id="{anchor}"></a>' in README.read_text()


@override_settings(ROOT_URLCONF="tests.no_such_module")
def test_broken_urls_are_no_matter_of_the_report() -> None:
    assert docs_url("no-expiry") == "README.md#finding-no-expiry"


def test_the_monitors_own_thread_does_not_import_the_sites_urls() -> None:
    module = "tests.exporters.site_urls"
    sys.modules.pop(module, None)
    found: list[str] = []
    with override_settings(ROOT_URLCONF=module):
        thread = Thread(target=lambda: found.append(docs_url("no-expiry")))
        thread.start()
        thread.join()
        assert module not in sys.modules
    assert found == ["README.md#finding-no-expiry"]


@pytest.mark.urls("tests.dashboard.site_urls")
def test_documentation_that_the_package_names_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    named = Message()
    named["Project-URL"] = "Changelog, https://docs.example.org/changes"
    named["Project-URL"] = "Documentation, https://docs.example.org/findings"
    monkeypatch.setattr(texts, "metadata", lambda _: named)
    assert docs_url("no-expiry") == "https://docs.example.org/findings#finding-no-expiry"
