"""A running site with an admin, and a browser that is logged in there."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page

from tests import forked
from tests.conftest import find_or_leave
from tests.dashboard import axe
from tests.services import LOOPBACK, free_port, run_server

ROOT: Final = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running site with an admin."""
    with served("tests.dashboard.site", tmp_path_factory.mktemp("site")) as address:
        yield address


@contextmanager
def served(settings: str, var: Path) -> Iterator[str]:
    """A running site with the module ``settings``, whose files go to ``var``; its address."""
    environment = {
        "DJANGO_SETTINGS_MODULE": settings,
        "CACHE_MONITOR_TEST_VAR": str(var),
        "DJANGO_SUPERUSER_PASSWORD": "admin",
    }
    for command in (
        ["migrate", "--verbosity=0"],
        ["createsuperuser", "--no-input", "--username=admin", "--email=admin@example.com"],
    ):
        forked.printed(["-m", "django", *command], environment)
    port = free_port()
    address = f"http://{LOOPBACK}:{port}"
    argv = [sys.executable, "-m", "django", "runserver", "--noreload", f"{LOOPBACK}:{port}"]
    with run_server(argv, environment, f"{address}/admin/login/", cwd=ROOT):
        yield address


@pytest.fixture
def complaints() -> list[str]:
    """What the pages' consoles said that they should not have."""
    return []


@pytest.fixture
def page(browser: Browser, site: str, complaints: list[str]) -> Page:
    """A page logged in as the admin."""
    return log_in(browser, site, complaints)


_LOGGED_IN: Final[dict[str, Any]] = {}
"""What a browser keeps of the login to each site."""


def log_in(browser: Browser, site: str, complaints: list[str]) -> Page:
    """A page of ``site`` logged in as the admin; what its console says goes to ``complaints``."""
    page = browser.new_page(
        viewport={"width": 1440, "height": 900}, storage_state=_LOGGED_IN.get(site)
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: _complain(message, complaints))
    if site not in _LOGGED_IN:
        page.goto(f"{site}/admin/login/")
        page.fill("#id_username", "admin")
        page.fill("#id_password", "admin")
        page.click("[type=submit]")
        _LOGGED_IN[site] = page.context.storage_state()
    return page


def _complain(message: ConsoleMessage, complaints: list[str]) -> None:
    # Chromium asks for an icon that this site does not have, and finds that PAINTED reads slowly.
    ours = "favicon" not in message.location["url"] and "willReadFrequently" not in message.text
    if ours and message.type in {"error", "warning"}:
        complaints.append(message.text)


@pytest.fixture(scope="session")
def axe_script(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> str:
    npm = find_or_leave(axe.NPM, pytestconfig)
    return axe.fetch(npm, tmp_path_factory.mktemp("axe"))


def wait_until(page: Page, function: str, argument: object = None, seconds: float = 15) -> None:
    """Wait until the JavaScript ``function`` answers yes.

    Playwright's own ``wait_for_function`` polls inside the page, where the policy of the page
    forbids it to evaluate anything.
    """
    deadline = time.monotonic() + seconds
    while not page.evaluate(function, argument):
        assert time.monotonic() < deadline, function
        page.wait_for_timeout(50)


DRAWN: Final = """() => !window.Chart
    || !document.querySelector("[data-cm-chart], [data-cm-treemap], [data-cm-whatif]")
    || performance.getEntriesByName("cache-monitor-drawing").length > 0"""


PAINTED: Final = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def settle(page: Page) -> None:
    """Until the page shows all that it shows when it is opened: the charts have come, and what they
    changed is painted."""
    wait_until(page, DRAWN)
    page.evaluate(f"() => {PAINTED}")


Scheme = Literal["light", "dark"]
SCHEMES: Final[tuple[Scheme, ...]] = ("light", "dark")
FADED: Final = "() => !document.getAnimations().some(each => each instanceof CSSTransition)"
"""Asked again and again: the promise of a transition whose element goes is never kept."""


def show_in(page: Page, scheme: Scheme) -> None:
    """Show the open page in the colours of the ``scheme``, to which those of the admin fade."""
    page.emulate_media(color_scheme=scheme)
    page.evaluate(f"() => {PAINTED}")
    wait_until(page, FADED)
