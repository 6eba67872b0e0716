"""The README's start, taken literally: every command and every line of it, in an empty place."""

from __future__ import annotations

import re
import shlex
import time
import venv
from collections.abc import Iterator
from pathlib import Path

import django
import pytest

from tests.docs.pages import marked
from tests.packaging.sites import Site, Visitor, make_owner, run
from tests.services import free_port

PAGE = """
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.cache import cache_page

urlpatterns += [path("", cache_page(60)(lambda request: HttpResponse("a page")))]
"""
"""A page of the site that caches something."""

NAME = "django-cache-monitor"


def commands() -> list[list[str]]:
    return [
        shlex.split(line.removeprefix("$ "))
        for block in marked("install", "console")
        for line in block.splitlines()
    ]


def test_the_steps_are_those_that_are_taken_here() -> None:
    assert [command[:-1] for command in commands()] == [
        ["python", "-m", "pip", "install"],
        *[["python", "manage.py"]] * 3,
    ]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Iterator[Site]:
    """A site that somebody has, where the README's steps up to ``runserver`` were taken."""
    directory = tmp_path_factory.mktemp("start")
    python = directory / "environment" / "bin" / "python"
    venv.create(directory / "environment", with_pip=True, symlinks=True)
    pip = [str(python), "-m", "pip", "--quiet"]
    run([*pip, "install", f"Django=={django.get_version()}"], directory)
    project = directory / "project-of-somebody"
    project.mkdir()
    run([str(python), "-m", "django", "startproject", "project", "."], project)
    with (project / "project" / "urls.py").open("a") as urls:
        urls.write(PAGE)
    site = Site(project, python, free_port())
    run([str(python), "manage.py", "migrate"], project, site.environment)

    install, migrate, serve, _ = commands()
    # What is not published yet is at hand.
    run([str(python), *[str(wheel) if word == NAME else word for word in install[1:]]], project)
    [lines] = marked("install", "python")
    _add(lines, project / "project" / "settings.py")
    run([str(python), *migrate[1:]], project, site.environment)
    make_owner(site)
    assert serve[1:] == ["manage.py", "runserver"]
    with site.served():
        yield site


def _add(lines: str, settings: Path) -> None:
    """Put what the README adds to a list at the end of the settings' own."""
    block = re.fullmatch(r"(\w+) = \[\n    # \.\.\.\n(.*)\]\n", lines, re.DOTALL)
    assert block is not None
    name, added = block.groups()
    before = settings.read_text()
    found = re.search(rf"^{name} = \[\n.*?(?=^\])", before, re.MULTILINE | re.DOTALL)
    assert found is not None
    settings.write_text(before[: found.end()] + added + before[found.end() :])


@pytest.mark.slow
def test_the_site_has_no_problem(started: Site) -> None:
    assert "no issues" in started.manage("check")


@pytest.mark.slow
def test_its_calls_are_in_the_terminal_and_in_the_dashboard(started: Site) -> None:
    assert [Visitor(started.url).get("/").text for _ in range(2)] == ["a page"] * 2
    assert "page GET /" in _asked(started)
    [dashboard] = _links(started.owner.get("/admin/").text, "Cache dashboard")
    page = started.owner.get(dashboard)
    assert page.status == 200
    assert "default" in page.text


def _asked(site: Site) -> str:
    """What the README's last command prints, once the site's process has written its figures."""
    ask = commands()[-1]
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        printed = run([str(site.python), *ask[1:]], site.directory, site.environment)
        if "page GET /" in printed:
            return printed
        time.sleep(1)
    pytest.fail("the calls have not reached the store")


def _links(text: str, label: str) -> list[str]:
    return re.findall(rf'<a href="([^"]+)"[^>]*>\s*{label}\s*</a>', text)[:1]
