"""A real Prometheus scrapes a real site of two processes."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests import forked
from tests.exporters.conftest import TOKEN, wait_for_midnight
from tests.exporters.test_prometheus import grafana_queries
from tests.services import LOOPBACK, Server, answers_http, free_port, run_process, run_server

SCRAPE_SECONDS = 4
"""Longer than one reading of the store serves the scrapes of a worker."""


def site_env(directory: Path) -> dict[str, str]:
    """The environment of a site that keeps its files in ``directory``."""
    return {
        "CACHE_MONITOR_TEST_VAR": str(directory),
        "DJANGO_SETTINGS_MODULE": "tests.exporters.site",
        "SITE_TOKEN": TOKEN,
    }


@contextmanager
def run_site(directory: Path) -> Iterator[str]:
    """A site in two processes; gives its address."""
    env = site_env(directory)
    forked.printed(["-m", "django", "migrate", "-v0"], env)
    url = f"http://{LOOPBACK}:{(port := free_port())}"
    argv = [sys.executable, "-m", "gunicorn", "--workers", "2", "--bind", f"{LOOPBACK}:{port}"]
    with run_server([*argv, "django.core.wsgi:get_wsgi_application()"], env, f"{url}/not-there"):
        yield url


@contextmanager
def run_prometheus(command: str, site: str, directory: Path) -> Iterator[str]:
    """A Prometheus that scrapes ``site``; gives the address of its API."""
    (directory / "token").write_text(TOKEN)
    scraped = {
        "job_name": "site",
        "scrape_interval": f"{SCRAPE_SECONDS}s",
        "metrics_path": "/cache-monitor/metrics",
        "authorization": {"credentials_file": str(directory / "token")},
        "static_configs": [{"targets": [site.removeprefix("http://")]}],
    }
    config = directory / "prometheus.yml"
    config.write_text(json.dumps({"scrape_configs": [scraped]}))  # JSON is YAML
    server = Server("http", LOOPBACK, free_port())
    argv = [command, f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}"]
    argv += [f"--web.listen-address={server.address}"]
    with run_process(argv, lambda: answers_http(f"{server.url}/-/ready")):
        yield server.url


def _ask(prometheus: str, query: str) -> list[dict[str, Any]]:
    url = f"{prometheus}/api/v1/query?{urlencode({'query': query})}"
    with urllib.request.urlopen(url) as response:  # noqa: S310 - a URL of the test's own
        answer = json.load(response)
    assert answer["status"] == "success"
    return answer["data"]["result"]  # type: ignore[no-any-return]  # a document of many shapes


def _eventually(question: Callable[[], float | None], expected: float) -> None:
    """Asks until the answer is ``expected``; fails with the last one."""
    deadline = time.monotonic() + 60
    while (answer := question()) != expected and time.monotonic() < deadline:
        time.sleep(0.5)
    assert answer == expected


@pytest.mark.slow
@pytest.mark.at_once("processes")
def test_a_prometheus_reads_what_all_processes_did(prometheus_path: str, tmp_path: Path) -> None:
    def total(name: str, *labels: str) -> float | None:
        found = _ask(prometheus, f"sum({name}{{{','.join(labels)}}})")
        return float(found[0]["value"][1]) if found else None

    wait_for_midnight(90)
    with (
        run_site(tmp_path) as site,
        run_prometheus(prometheus_path, site, tmp_path) as prometheus,
    ):
        for _ in range(30):
            assert answers_http(f"{site}/traffic")
        misses = ('alias="default"', 'operation="get_many"', 'outcome="miss"')
        _eventually(lambda: total("cache_monitor_lookups_total", *misses), 60)
        calls = ('alias="default"', 'operation="set"')
        _eventually(lambda: total("cache_monitor_call_duration_seconds_count", *calls), 30)
        _eventually(lambda: total("cache_monitor_key_group_lookups", 'outcome="hit"'), 30)
        _eventually(lambda: total("up"), 1)
        # Whichever of the two processes was asked, no counter has gone down.
        for name in ("lookups_total", "call_duration_seconds_bucket", "call_duration_seconds_sum"):
            resets = _ask(prometheus, f"resets(cache_monitor_{name}[5m])")
            assert {each["value"][1] for each in resets} == {"0"}
        for query in grafana_queries():
            plain = query.replace("$alias", ".*").replace("$__rate_interval", "1m")
            _ask(prometheus, plain)
