"""The fixtures, in projects of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = """
    from django.conf import settings

    settings.configure(SECRET_KEY="x", INSTALLED_APPS={apps})

    import django

    django.setup()
"""


def _pytest(directory: Path, conftest: str, test: str) -> tuple[str, dict[str, int]]:
    """What pytest prints for a project of this one test module, and how its tests ended."""
    (directory / "conftest.py").write_text(dedent(conftest))
    (directory / "test_it.py").write_text(dedent(test))
    argv = [sys.executable, "-W", "error", "-m", "pytest"]
    # Plugins of other packages that the tests need import Django as well.
    others = ("django", "pytest-django-constance", "randomly", "cacheprovider")
    argv += [*(f"-pno:{each}" for each in others), "-q", "-rA"]
    done = subprocess.run(
        [*argv, "--rootdir", str(directory), str(directory)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": ""},
    )
    lines = done.stdout.splitlines()
    ends = ("PASSED", "FAILED", "ERROR")
    return done.stdout + done.stderr, {
        end: sum(line.startswith(f"{end} ") for line in lines) for end in ends
    }


def test_the_fixtures_hear_the_calls_of_a_test(tmp_path: Path) -> None:
    output, ends = _pytest(
        tmp_path,
        SETTINGS.format(apps=["cache_monitor"]),
        """
        from django.core.cache import cache

        def test_calls(cache_calls):
            cache.get("a")
            assert cache_calls.misses == 1

        def test_assertion(assert_cache_calls):
            cache.set("a", 1)
            with assert_cache_calls(hits=1, misses=0):
                cache.get("a")

        def test_that_fails(assert_cache_calls):
            with assert_cache_calls(hits=1):
                cache.get("b")
        """,
    )
    assert ends == {"PASSED": 2, "FAILED": 1, "ERROR": 0}, output
    assert "hits: 0 instead of 1" in output
    assert "default.get('b' miss)" in output


def test_a_project_without_the_app_runs_and_learns_what_is_missing(tmp_path: Path) -> None:
    output, ends = _pytest(
        tmp_path,
        SETTINGS.format(apps=[]),
        """
        def test_of_its_own():
            pass

        def test_calls(cache_calls):
            pass
        """,
    )
    assert ends == {"PASSED": 1, "FAILED": 0, "ERROR": 1}, output
    assert 'Add "cache_monitor" to INSTALLED_APPS' in output


def test_a_project_without_django_runs(tmp_path: Path) -> None:
    output, ends = _pytest(
        tmp_path,
        "",
        """
        import sys

        def test_of_its_own():
            assert "django.core.handlers.wsgi" not in sys.modules
        """,
    )
    assert ends == {"PASSED": 1, "FAILED": 0, "ERROR": 0}, output


def test_pytest_finds_the_plugin_by_the_packages_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [name] = project["entry-points"]["pytest11"].values()
    assert import_module(name).cache_calls
