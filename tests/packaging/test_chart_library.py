"""The chart library as a browser takes it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Route

SCRIPT = "cache_monitor/static/cache_monitor/vendor/chart.umd.min.js"
SITE = "http://site.invalid"
PAGE = f"""<!doctype html><canvas id="chart"></canvas><script src="/{SCRIPT}"></script>"""
DRAW = """() => new Chart("chart", {
    type: "line",
    data: {labels: ["a", "b"], datasets: [{data: [1, 2]}]},
    options: {animation: false},
}).getDatasetMeta(0).data.length"""


@pytest.fixture
def script(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(SCRIPT).decode()


def test_a_plain_script_tag_draws_charts_under_a_strict_content_security_policy(
    browser: Browser, script: str
) -> None:
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            complaints.append(message.text)

    def answer(route: Route) -> None:
        if route.request.url.endswith(".js"):
            route.fulfill(body=script, content_type="text/javascript")
        else:
            policy = {"Content-Security-Policy": "default-src 'self'"}
            route.fulfill(body=PAGE, content_type="text/html", headers=policy)

    page = browser.new_page()
    page.on("console", note)
    page.route("**/*", answer)
    page.goto(f"{SITE}/")
    assert page.evaluate(DRAW) == 2
    assert complaints == []
