"""Takes the README's pictures of the demo under traffic: ``python -m tests.screenshots``."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import CHROMIUM_ARGUMENTS
from tests.demo_site.site import ROOT, Demo
from tests.services import CHROMIUM

PICTURES: Final = ROOT / "docs" / "images"
# The charts tell minutes apart, so a day of the demo is ten points of a line.
TRAFFIC_SECONDS: Final = 600
LATEST: Final = 60
WIDTH: Final = 1280
# The demo shows it no toolbar.
WITHOUT_TOOLBAR: Final = "demo-traffic"


def main() -> None:
    chromium = CHROMIUM.find()
    if chromium is None:
        sys.exit(f"{CHROMIUM.name} is not installed ({CHROMIUM.how_to_get_it})")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as var:
        demo = Demo(Path(var), {"DEMO_FLUSH_INTERVAL": "2"})
        demo.prepare()
        with demo.running() as running, sync_playwright() as playwright:
            send_traffic(demo, running.url)
            browser = playwright.chromium.launch(
                executable_path=chromium, args=list(CHROMIUM_ARGUMENTS)
            )
            for scheme in ("light", "dark"):
                dashboard = open_page(browser, scheme, 1350, WITHOUT_TOOLBAR)
                take_dashboard(dashboard, running.url, scheme)
                take_panel(open_page(browser, scheme, 800), running.url, scheme)
            browser.close()


def send_traffic(demo: Demo, url: str) -> None:
    print(f"A day of the shop takes {TRAFFIC_SECONDS // 60} minutes.")
    subprocess.run(
        demo.command("demo_traffic", "--base-url", url, "--seconds", str(TRAFFIC_SECONDS)),
        env=demo.environment,
        check=True,
        capture_output=True,
        timeout=TRAFFIC_SECONDS + LATEST,
    )


def open_page(browser: Browser, scheme: str, height: int, user_agent: str | None = None) -> Page:
    context = browser.new_context(
        viewport={"width": WIDTH, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        user_agent=user_agent,
    )
    return context.new_page()


def take_dashboard(page: Page, url: str, scheme: str) -> None:
    query = "range%3D15m%26alias%3Ddefault"
    page.goto(f"{url}/admin/login/?next=/admin/cache_monitor/dashboard/%3F{query}")
    page.fill("#id_username", "admin")
    page.fill("#id_password", "admin")
    page.click("[type=submit]")
    page.wait_for_selector("canvas")
    page.wait_for_load_state("networkidle")
    save(page, f"dashboard-{scheme}")


def take_panel(page: Page, url: str, scheme: str) -> None:
    # The page whose request has the most to tell.
    page.goto(f"{url}/pitfalls/one-by-one/")
    page.locator("#djShowToolBarButton").click()
    page.locator("#djdt-CacheMonitorPanel a").click()
    page.wait_for_selector("#CacheMonitorPanel .cm-totals")
    page.wait_for_load_state("networkidle")
    save(page, f"panel-{scheme}")


def save(page: Page, name: str) -> None:
    path = PICTURES / f"{name}.png"
    page.screenshot(path=path)
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
