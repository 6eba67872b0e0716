"""What the documentation shows of the exports works as it stands there."""

from __future__ import annotations

import logging
import logging.config
import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest
from django.core.cache import cache
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import set_urlconf
from django.utils.module_loading import import_string

import cache_monitor
from cache_monitor.apps import check_exporters, start_exporters
from cache_monitor.checks import check_settings
from cache_monitor.endpoints import digest, make_token
from cache_monitor.exporters import prometheus
from cache_monitor.worker import wiring
from tests.docs.conftest import MEMORY
from tests.docs.pages import DOCS, ROOT, executed, marked

EXPORTS = (DOCS / "exports.md").read_text()


pytestmark = pytest.mark.usefixtures("fresh")


def test_the_address_and_the_token_let_a_program_in() -> None:
    urls, setting = marked("urls", "python")
    [console] = marked("urls", "console")
    module = ModuleType("readme_urls")
    vars(module).update(executed(urls))
    conf = executed(setting)["CACHE_MONITOR"]
    found = re.search(r'-H "(\w+): Bearer \$TOKEN" "https://example.org([^"]+)"', console)
    assert found is not None
    with override_settings(CACHE_MONITOR=conf):
        assert check_settings(None) == []
    token = make_token()
    conf["EXPORT_TOKENS"].append(digest(token))
    with override_settings(ROOT_URLCONF=module, CACHE_MONITOR={**MEMORY, **conf}):
        response = Client().get(found[2], headers={found[1]: f"Bearer {token}"})
        assert response.json()["schema_version"] == 1
        assert Client().get(found[2]).status_code == 401
    set_urlconf(None)


def test_prometheus_takes_the_configuration(promtool_path: str, tmp_path: Path) -> None:
    config = tmp_path / "prometheus.yml"
    config.write_text(*marked("scrape", "yaml"))
    checked = subprocess.run(
        [promtool_path, "check", "config", str(config)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("name", ["prometheus", "opentelemetry"])
def test_the_settings_of_exporters_are_right(name: str) -> None:
    [setting] = marked(name, "python")
    with override_settings(CACHE_MONITOR=executed(setting)["CACHE_MONITOR"]):
        assert check_settings(None) == []
        assert check_exporters(None) == []


def test_the_middleware_can_be_imported() -> None:
    [setting] = marked("spans", "python")
    [name] = executed(setting)["MIDDLEWARE"]
    assert import_string(name)(lambda request: HttpResponse()).sync_capable


def test_the_table_of_metrics_names_each_with_its_type() -> None:
    rows = re.findall(r"^\| ((?:`cache_monitor_\w+`(?:, )?)+) \| (\w+)", EXPORTS, re.MULTILINE)
    told = {name: kind for names, kind in rows for name in re.findall(r"`(\w+)`", names)}
    made = {
        metric.name + ("_total" if metric.type == "counter" else ""): metric.type
        for metric in prometheus.CacheMonitorCollector().describe()
    }
    assert told == {**made, "cache_monitor_store_up": "gauge"}


def test_the_labels_of_metrics_are_told() -> None:
    rows = dict(
        re.findall(r"^\| (`cache_monitor_\w+_total`) \| counter \| (.*) \|$", EXPORTS, re.MULTILINE)
    )
    cache.set("a", "b")
    cache.get("a")
    assert cache_monitor.flush()
    for metric in prometheus.CacheMonitorCollector(fresh_for=0).collect():
        told = rows.get(f"`{metric.name}_total`")
        for label in {label for sample in metric.samples if told for label in sample.labels}:
            assert f"`{label}`" in str(told), metric.name


def test_the_dashboard_is_where_it_is_said_to_be() -> None:
    found = re.search(r'`python -c "(.*)"`', EXPORTS)
    assert found is not None
    done = subprocess.run(
        [sys.executable, "-c", found[1]], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert Path(done.stdout.strip()).is_file()


def test_the_examples_of_tests_pass(tmp_path: Path) -> None:
    unittest, pytests = marked("unittest", "python")
    (tmp_path / "test_unittest.py").write_text(unittest)
    (tmp_path / "test_pytest.py").write_text(pytests)
    site = """
        from django.http import HttpResponse
        from django.urls import path
        from django.views.decorators.cache import cache_page

        SECRET_KEY = "x"
        ROOT_URLCONF = "readme_site"
        ALLOWED_HOSTS = ["*"]
        INSTALLED_APPS = ["cache_monitor"]
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}

        @cache_page(60)
        def product(request, pk):
            return HttpResponse(f"product {pk}")

        urlpatterns = [path("products/<int:pk>/", product)]
    """
    (tmp_path / "readme_site.py").write_text(dedent(site))
    conftest = """
        import pytest
        from django.core.cache import cache

        @pytest.fixture(autouse=True)
        def empty():
            cache.clear()
    """
    (tmp_path / "conftest.py").write_text(dedent(conftest))
    argv = [sys.executable, "-m", "pytest"]
    argv += ["-p", "no:cacheprovider", "-q", "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "readme_site"},
    )
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_the_log_reads_as_the_readme_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    [setting] = marked("logging", "python")
    [shown] = marked("logging", "text")
    start_exporters()
    calls = logging.getLogger("cache_monitor.calls")
    try:
        logging.config.dictConfig(executed(setting)["LOGGING"])
        cache.set("user:1", "a")
        cache.get("user:1")
        cache.get("user:2")
        assert cache_monitor.flush()
        wiring.background_worker.stop()
    finally:
        calls.handlers.clear()
        calls.setLevel(logging.NOTSET)
        calls.propagate = True
    assert _without_times(capsys.readouterr().err) == _without_times(shown)


def _without_times(text: str) -> list[str]:
    return sorted(re.sub(r"[0-9.]+ ms", "ms", line) for line in text.splitlines())
