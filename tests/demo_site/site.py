"""A running demo site, and a visitor who asks it for pages."""

from __future__ import annotations

import http.cookiejar
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from html import unescape
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from tests import forked
from tests.services import LOOPBACK, free_port, run_server

ROOT: Final = Path(__file__).resolve().parents[2]
MANAGE: Final = ROOT / "demo_site" / "manage.py"
REQUEST_DEADLINE: Final = 20.0
# Privileged, and never served: nothing answers there.
NOBODY: Final = f"{LOOPBACK}:1"
CSRF_FIELD: Final = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


@dataclass(frozen=True)
class Demo:
    """The files and settings of one demo site."""

    var: Path
    extra_environment: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        search_path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(search_path),
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DEMO_VAR": str(self.var),
            # What it makes for a moment goes with all the rest.
            "TMPDIR": str(self.var.parent),
            "DEMO_DEBUG": "1",
            "DEMO_FLUSH_INTERVAL": "0.2",
            "REDIS_URL": f"redis://{NOBODY}/1",
            "MEMCACHED": NOBODY,
            **self.extra_environment,
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(MANAGE), *arguments]

    def manage(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return forked.run([str(MANAGE), *arguments], self.environment | environment)

    def prepare(self) -> None:
        done = self.manage("demo_prepare")
        assert done.returncode == 0, done.stderr

    def copy(self, var: Path, **extra_environment: str) -> Demo:
        shutil.copytree(self.var, var)
        return Demo(var, extra_environment)

    @contextmanager
    def running(self, ready: str = "/static/shop/shop.css") -> Iterator[RunningDemo]:
        """``ready`` is what it is asked for until it answers, and touches no cache: a static file,
        where DEBUG is on."""
        port = free_port()
        argv = self.command("runserver", "--noreload", f"{LOOPBACK}:{port}")
        url = f"http://{LOOPBACK}:{port}"
        with run_server(argv, self.environment, url + ready):
            yield RunningDemo(self, url)


@dataclass(frozen=True)
class RunningDemo:
    demo: Demo
    url: str

    def visitor(self) -> Visitor:
        return Visitor(self.url)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    text: str

    @property
    def visible_text(self) -> str:
        return visible(self.text)


def visible(html: str) -> str:
    """What is left of ``html`` without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


class Visitor:
    """A browser without scripts: it keeps cookies and fills in the token of a form."""

    def __init__(self, url: str) -> None:
        self.url = url
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.opener = urllib.request.build_opener(cookies)

    def get(self, path: str) -> Answer:
        return self.send(urllib.request.Request(self.url + path))  # noqa: S310

    def post(self, path: str, **form: str) -> Answer:
        body = urlencode(form).encode()
        return self.send(urllib.request.Request(self.url + path, data=body))  # noqa: S310

    def submit(self, path: str, action: str | None = None, **form: str) -> Answer:
        """Open the page, then send one of its forms with the token that it holds."""
        token = CSRF_FIELD.search(self.get(path).text)
        assert token is not None, f"{path} has no form with a CSRF token"
        return self.post(action or path, csrfmiddlewaretoken=token[1], **form)

    def send(self, request: urllib.request.Request) -> Answer:
        try:
            with self.opener.open(request, timeout=REQUEST_DEADLINE) as response:
                return Answer(response.status, response.headers, response.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read().decode())
