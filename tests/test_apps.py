"""What the settings name is started; what cannot be is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import override_settings

from cache_monitor.apps import check_exporters
from cache_monitor.conf import problems

ROOT = Path(__file__).resolve().parents[1]


def _run(
    code: str, exporters: list[str], hidden: str = "", start: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a project with these exporters, without the package ``hidden``; ``start``
    them once more than the app does."""
    lines = [
        "import sys, django",
        f"sys.modules[{hidden!r}] = None",
        "from django.conf import settings",
        "from django.core.management import call_command",
        "settings.configure(",
        "    INSTALLED_APPS=['cache_monitor'], SECRET_KEY='x',",
        f"    CACHE_MONITOR={{'EXPORTERS': {exporters!r},",
        "        'STORE': {'BACKEND': 'cache_monitor.stores.memory.MemoryStore'}},",
        ")",
        "django.setup()",
        "from cache_monitor.apps import start_exporters",
        "start_exporters()" if start else "",
        code,
    ]
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": ""},
    )


def test_the_default_registry_shows_the_caches() -> None:
    done = _run(
        "from django.core.cache import cache\n"
        "import cache_monitor, prometheus_client\n"
        "cache.get('absent')\n"
        "assert cache_monitor.flush()\n"
        "print(prometheus_client.generate_latest().decode())",
        ["prometheus"],
    )
    assert 'cache_monitor_lookups_total{alias="default",operation="get",outcome="miss"} 1.0' in (
        done.stdout
    ), done.stderr
    assert "python_info" in done.stdout


def test_the_metrics_of_opentelemetry_are_started_once() -> None:
    done = _run(
        "from cache_monitor.listeners import subscribers\n"
        "print(sorted(type(each).__name__ for each in subscribers._subscribers))",
        ["opentelemetry"],
    )
    assert done.stdout.splitlines() == ["['CallLog', 'CallMetrics']"], done.stderr


@pytest.mark.parametrize(
    ("exporter", "package", "extra"),
    [
        ("prometheus", "prometheus_client", "prometheus"),
        ("opentelemetry", "opentelemetry", "opentelemetry"),
    ],
)
def test_a_missing_package_is_told_and_stops_nothing(
    exporter: str, package: str, extra: str
) -> None:
    done = _run("print('started')\ncall_command('check')", [exporter], hidden=package)
    assert "started" in done.stdout
    assert f"pip install 'django-cache-monitor[{extra}]'" in done.stderr
    assert "cache_monitor.E010" in done.stderr
    assert done.returncode == 1


@override_settings(CACHE_MONITOR={"EXPORTERS": ["prometheus", "opentelemetry"]})
def test_what_is_installed_is_no_error() -> None:
    assert check_exporters(None) == []


@pytest.mark.parametrize("value", ["prometheus", ["statsd"], ["prometheus", "prometheus"], [5]])
def test_an_exporter_that_is_not_known_is_a_problem(value: object) -> None:
    [problem] = problems({"EXPORTERS": value})
    assert "'opentelemetry', 'prometheus'" in problem.hint


def test_the_app_starts_them() -> None:
    done = _run(
        "from cache_monitor.listeners import subscribers\n"
        "print(sorted(type(each).__name__ for each in subscribers._subscribers))",
        ["opentelemetry"],
        start=False,
    )
    assert done.stdout.splitlines() == ["['CallLog', 'CallMetrics']"], done.stderr
