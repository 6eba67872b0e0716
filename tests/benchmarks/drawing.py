"""How long a browser takes to show the dashboard: ``python -m tests.benchmarks.drawing``.

Over what 32 processes and 5 caches leave behind in 24 hours, and asked for those 24 hours. The
times are the browser's own performance entries, from the click to the charts: the server's answers
are in them, most often out of the few seconds old reading that all viewers share. "CPU" is the time
that the page's thread was busy, which says more on a machine that is busy itself.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import django
from playwright.sync_api import CDPSession, Page, sync_playwright

from tests.benchmarks.reading import day_of_rows, fill
from tests.conftest import CHROMIUM_ARGUMENTS
from tests.dashboard.visiting import log_in, served
from tests.services import CHROMIUM

SETTINGS = "tests.benchmarks.drawing_settings"
DASHBOARD = "/admin/cache_monitor/dashboard/"
PAGES = ("", "keys/", "memory/")
ROUNDS = 9
# Two frames after the drawing what was drawn is on the screen.
TIMES = """async () => {
    const drawing = () => performance.getEntriesByName("cache-monitor-drawing")[0];
    while (!drawing() && document.querySelector("[data-cm-chart]")) {
        await new Promise(requestAnimationFrame);
    }
    await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    const [visit] = performance.getEntriesByType("navigation");
    const [paint] = performance.getEntriesByName("first-contentful-paint");
    const json = performance.getEntriesByType("resource").find(({name}) => /stats.json/.test(name));
    return {
        "HTML answered": visit.responseEnd - visit.requestStart,
        "JSON answered": json ? json.responseEnd - json.requestStart : null,
        "first paint": paint ? paint.startTime : null,
        "charts drawn in": drawing()?.duration ?? null,
        "all on the screen": performance.now(),
        "from the HTML on": performance.now() - visit.responseEnd,
    };
}"""


def main() -> None:
    chromium = CHROMIUM.find()
    if chromium is None:
        sys.exit(f"{CHROMIUM.name} is not installed ({CHROMIUM.how_to_get_it})")
    with tempfile.TemporaryDirectory() as directory, served(SETTINGS, Path(directory)) as site:
        print(f"24 h of 32 processes and 5 caches ({fill_store(directory):,} rows); medians of ms")
        with sync_playwright() as playwright:
            arguments = list(CHROMIUM_ARGUMENTS)
            browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
            page = log_in(browser, site, [])
            for path in PAGES:
                measure(page, site, path)
            browser.close()


def fill_store(directory: str) -> int:
    """Write into the store of the site that is running; the number of rows."""
    os.environ["CACHE_MONITOR_TEST_VAR"] = directory
    os.environ["DJANGO_SETTINGS_MODULE"] = SETTINGS
    django.setup()
    return fill(day_of_rows(int(time.time())))


def measure(page: Page, site: str, path: str) -> None:
    rounds: list[Mapping[str, float | None]] = []
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    for _ in range(ROUNDS):
        page.goto(f"{site}{DASHBOARD}{path}?range=24h", wait_until="load")
        times = page.evaluate(TIMES)
        rounds.append({**times, "CPU": 1e3 * busy(session)})
    session.detach()
    # The first visit fills the browser's cache of static files.
    print(f"{path or 'overview'}: first {written(rounds[:1])}")
    print(f"{' ' * len(path or 'overview')}  then {written(rounds[1:])}")


def busy(session: CDPSession) -> float:
    """Seconds of CPU that the page's thread has used since the page was asked for."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))


def written(rounds: Sequence[Mapping[str, float | None]]) -> str:
    medians = {
        name: statistics.median(known)
        for name in rounds[0]
        if (known := [each[name] or 0 for each in rounds if each[name] is not None])
    }
    return ", ".join(f"{name} {value:.0f}" for name, value in medians.items())


if __name__ == "__main__":
    main()
