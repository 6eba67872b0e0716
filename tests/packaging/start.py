"""A site that somebody has, where the README's start is taken literally, in an empty place."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import django

from tests.docs.pages import marked
from tests.packaging.sites import QUICK_PASSWORDS, Site, make_database, run
from tests.services import free_port

PAGE: Final = """
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.cache import cache_page

urlpatterns += [path("", cache_page(60)(lambda request: HttpResponse("a page")))]
"""
"""A page of the site that caches something."""
NAME: Final = "django-cache-monitor"


def commands() -> list[list[str]]:
    return [
        shlex.split(line.removeprefix("$ "))
        for block in marked("install", "console")
        for line in block.splitlines()
    ]


@contextmanager
def started(directory: Path, wheel: Path) -> Iterator[Site]:
    """The site, being served, after the README's steps up to ``runserver``."""
    python = _environment_with_pip(directory / "environment")
    run([python, "-m", "pip", "install", "--quiet", f"Django=={django.get_version()}"], directory)
    project = directory / "project-of-somebody"
    project.mkdir()
    run([python, "-m", "django", "startproject", "project", "."], project)
    with (project / "project" / "urls.py").open("a") as urls:
        urls.write(PAGE)
    with (project / "project" / "settings.py").open("a") as settings:
        settings.write(QUICK_PASSWORDS)
    site = Site(project, Path(python), free_port())
    make_database(site)

    install, migrate, serve, _ = commands()
    # What is not published yet is at hand.
    site.run(*(str(wheel) if word == NAME else word for word in install[1:]))
    [lines] = marked("install", "python")
    _add(lines, project / "project" / "settings.py")
    site.run(*migrate[1:])
    assert serve[1:] == ["manage.py", "runserver"]
    with site.served():
        yield site


def _environment_with_pip(directory: Path) -> str:
    """Python in a new environment with nothing but pip, the one that is installed here: Python's
    own takes seconds to unpack."""
    venv.create(directory, with_pip=False, symlinks=True)
    found = importlib.util.find_spec("pip")
    assert found is not None
    assert found.origin is not None
    [packages] = directory.glob("lib/python*/site-packages")
    shutil.copytree(Path(found.origin).parent, packages / "pip")
    return str(directory / "bin" / "python")


def _add(lines: str, settings: Path) -> None:
    """Put what the README adds to a list at the end of the settings' own."""
    block = re.fullmatch(r"(\w+) = \[\n    # \.\.\.\n(.*)\]\n", lines, re.DOTALL)
    assert block is not None
    name, added = block.groups()
    before = settings.read_text()
    found = re.search(rf"^{name} = \[\n.*?(?=^\])", before, re.MULTILINE | re.DOTALL)
    assert found is not None
    settings.write_text(before[: found.end()] + added + before[found.end() :])
