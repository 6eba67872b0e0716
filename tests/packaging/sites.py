"""A Django project as somebody else would start it, and a visitor who is logged in to its admin."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.parse
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from http.client import HTTPMessage
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Final, NamedTuple

import django

from tests.services import LOOPBACK, free_port, run_server

ROOT: Final = Path(__file__).resolve().parents[2]
USER: Final = "owner"
PASSWORD: Final = "a password of 4 words"


class Page(NamedTuple):
    """An answer to a visitor."""

    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class PageParser(HTMLParser):
    """Collects what a page links to, loads, and has in hidden fields."""

    def __init__(self) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.hidden: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        match tag:
            case "a":
                self.links.add(values.get("href", ""))
            case "link":
                self.loaded.add(values.get("href", ""))
            case "script" | "img":
                self.loaded.add(values.get("src", ""))
            case "input" if values.get("type") == "hidden":
                self.hidden[values.get("name", "")] = values.get("value", "")


def parse(page: Page) -> PageParser:
    parser = PageParser()
    parser.feed(page.text)
    parser.loaded.discard("")
    return parser


class Visitor:
    """A browser without a screen: it keeps cookies and follows redirects."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def get(self, path: str) -> Page:
        return self._open(urllib.request.Request(self._absolute(path)))  # noqa: S310

    def post(self, path: str, data: dict[str, str]) -> Page:
        body = urllib.parse.urlencode(data).encode()
        request = urllib.request.Request(self._absolute(path), data=body)  # noqa: S310
        return self._open(request)

    def log_in(self, admin: str) -> Page:
        form = parse(self.get(f"{admin}login/?next={admin}"))
        user = {"username": USER, "password": PASSWORD}
        return self.post(f"{admin}login/", {**form.hidden, **user})

    def _absolute(self, path: str) -> str:
        return urllib.parse.urljoin(self.base_url, path)

    def _open(self, request: urllib.request.Request) -> Page:
        with self.opener.open(request, timeout=30) as response:
            return Page(response.status, response.headers, response.read())


QUICK_PASSWORDS: Final = """
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
"""
"""Settings of a site whose passwords keep nobody out."""
ONLY_MIGRATIONS: Final = """
class _Only(dict):
    def __contains__(self, app):
        return app not in {apps!r}

    def __getitem__(self, app):
        return None


MIGRATION_MODULES = _Only()
"""
MADE: Final = """
import django
from django.core.management import call_command

django.setup()
call_command("migrate", run_syncdb=True, interactive=False, verbosity=0)
call_command("createsuperuser", interactive=False, verbosity=0)
"""


@dataclass
class Site:
    """A project in a directory and a virtual environment of its own."""

    directory: Path
    python: Path
    port: int
    settings: str = "project.settings"
    admin: str = "/admin/"
    paths: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}/"

    @property
    def environment(self) -> dict[str, str]:
        # The test run has its own settings in this variable, and processes inherit it.
        return {"DJANGO_SETTINGS_MODULE": self.settings, "PYTHONPATH": ""}

    def manage(self, *arguments: str) -> str:
        return self.run("manage.py", *arguments)

    def run(self, *arguments: str, **environment: str) -> str:
        """What the site's Python prints when it is given the ``arguments``."""
        argv = [str(self.python), *arguments]
        return run(argv, self.directory, {**self.environment, **environment})

    def reverse(self, name: str) -> str:
        """The path of a view, for which a process of the site is asked once."""
        if name not in self.paths:
            code = f"from django.urls import reverse; print(reverse({name!r}))"
            # The shell of newer Djangos reports the names that it imports first.
            self.paths[name] = self.manage("shell", "-c", code).splitlines()[-1]
        return self.paths[name]

    @contextmanager
    def served(self) -> Iterator[None]:
        argv = [str(self.python), "manage.py", "runserver", "--noreload", str(self.port)]
        with run_server(argv, self.environment, self.url, cwd=self.directory):
            yield

    @cached_property
    def owner(self) -> Visitor:
        """The superuser, logged in."""
        visitor = Visitor(self.url)
        assert f"{self.admin}logout/" in visitor.log_in(self.admin).text
        return visitor


def run(argv: list[str], directory: Path, environment: dict[str, str] | None = None) -> str:
    result = subprocess.run(
        argv,
        cwd=directory,
        env={**os.environ, **(environment or {})},
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def create_site(directory: Path, requirement: list[str]) -> Site:
    """Start a project, install the app into it, and do what its README asks for."""
    python = create_environment(directory / "environment", requirement)
    project = directory / "project-of-somebody"
    project.mkdir()
    run([str(python), "-m", "django", "startproject", "project", "."], project)
    _add_to_installed_apps(project / "project" / "settings.py")
    site = Site(project, python, free_port())
    make_database(site)
    return site


OWNER: Final = {
    "DJANGO_SUPERUSER_USERNAME": USER,
    "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
    "DJANGO_SUPERUSER_EMAIL": "owner@example.com",
}


def make_database(site: Site, more: str = "") -> None:
    """The site's tables, its owner, and what ``more`` makes."""
    site.run("-c", MADE + more, **OWNER)


def only_migrations_of(*apps: str) -> str:
    """Settings with which ``migrate --run-syncdb`` makes the tables of other apps as they are by
    now: their migrations, hundreds of them, take ten seconds and are not ours to try."""
    return ONLY_MIGRATIONS.format(apps=set(apps))


def create_environment(directory: Path, requirement: list[str]) -> Path:
    # Its own pip is not needed, and takes seconds to install.
    venv.create(directory, with_pip=False, symlinks=True)
    python = directory / "bin" / "python"
    # The Django that the rest of the tests run with, rather than the newest.
    django_requirement = f"Django=={django.get_version()}"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-compile",
    ]
    run([*pip, django_requirement, *requirement], directory)
    return python


def _add_to_installed_apps(settings: Path) -> None:
    before = settings.read_text()
    after = before.replace("INSTALLED_APPS = [", 'INSTALLED_APPS = [\n    "cache_monitor",')
    assert after != before
    settings.write_text(after + QUICK_PASSWORDS)
