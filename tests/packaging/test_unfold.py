"""The dashboard in an admin that django-unfold has given another look."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.dashboard.test_browser import SIDEWAYS
from tests.dashboard.test_browser_pages import DASHBOARD, PAGES, make_traffic
from tests.dashboard.visiting import log_in, served, settle

pytest.importorskip("unfold", reason="django-unfold is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("unfold")]

REFUSED = "a refusal"


@pytest.fixture(scope="module")
def unfold_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served("tests.packaging.unfold_site", tmp_path_factory.mktemp("unfold")) as address:
        yield address


@pytest.fixture
def complaints() -> list[str]:
    """What the pages' consoles said that they should not have."""
    return []


@pytest.fixture
def unfolded(browser: Browser, unfold_site: str, complaints: list[str]) -> Page:
    make_traffic(unfold_site)
    page = log_in(browser, unfold_site, complaints)
    # The figures of the traffic, once they have reached the store.
    page.goto(f"{unfold_site}{DASHBOARD}memory/")
    expect(page.get_by_text("user:{int}:profile").first).to_be_visible(timeout=20_000)
    return page


@pytest.mark.parametrize("width", [1440, 390])
def test_every_page_is_shown(
    unfolded: Page, unfold_site: str, complaints: list[str], width: int
) -> None:
    unfolded.set_viewport_size({"width": width, "height": 900})
    for name, path in PAGES.items():
        response = unfolded.goto(unfold_site + DASHBOARD + path)
        assert response is not None
        assert response.status == (400 if name == REFUSED else 200), name
        settle(unfolded)
        expect(unfolded.locator("#content-main")).to_be_visible()
        assert not unfolded.evaluate(SIDEWAYS), name
    # The refusal is an answer with the status 400, of which a console always tells.
    assert [text for text in complaints if "400" not in text] == []


def test_the_admin_is_unfolds_and_the_dashboard_is_in_it(unfolded: Page, unfold_site: str) -> None:
    unfolded.goto(unfold_site + DASHBOARD)
    # Its navigation, which Django's own admin does not have.
    expect(unfolded.locator("#nav-sidebar-apps")).to_be_attached()
    expect(unfolded.locator(".cm-strip", has_text="default")).to_be_visible()


def test_its_dark_look_is_the_dashboards_too(unfolded: Page, unfold_site: str) -> None:
    unfolded.emulate_media(color_scheme="dark")
    unfolded.goto(unfold_site + DASHBOARD)
    expect(unfolded.locator("html.dark")).to_be_attached()
    colour = "getComputedStyle(document.querySelector('.cm')).getPropertyValue('--cm-hit').trim()"
    assert unfolded.evaluate(colour) == "#56b4e9"


def test_a_cache_is_cleared_there(unfolded: Page, unfold_site: str) -> None:
    unfolded.get_by_role("link", name="Clear this cache").first.click()
    unfolded.get_by_role("button", name="Yes").click()
    expect(unfolded.get_by_text("was cleared").first).to_be_visible()
