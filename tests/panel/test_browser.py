"""The panel on the demo's product page, in Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.demo_site.site import Demo, RunningDemo

PRODUCT = "/products/42/"
UNVISITED = "/products/7/"


@pytest.fixture(autouse=True)
def toolbar_site() -> None:
    """The demo runs in a process of its own; this one needs no toolbar."""


@pytest.fixture(scope="module")
def demo_site(
    prepared_demo: Demo, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningDemo]:
    demo = prepared_demo.copy(tmp_path_factory.mktemp("panel") / "var")
    with demo.running() as running:
        yield running


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console says and which requests fail."""
    return []


@pytest.fixture
def page(browser: Browser, complaints: list[str]) -> Page:
    page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="dark")
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    return page


def open_panel(page: Page, url: str) -> Locator:
    page.goto(url)
    open_toolbar(page)
    with page.expect_response(lambda response: response.url.endswith("/panel/panel.css")):
        return show_panel(page)


def open_toolbar(page: Page) -> None:
    # The theme is the last thing that the toolbar's script sets.
    expect(page.locator("#djDebug")).to_have_attribute("data-theme", re.compile("dark|light"))
    if page.locator("#djShowToolBarButton").is_visible():
        page.locator("#djShowToolBarButton").click()


def show_panel(page: Page) -> Locator:
    page.locator("#djdt-CacheMonitorPanel a").click()
    panel = page.locator("#CacheMonitorPanel .cm-panel")
    expect(panel.locator(".cm-totals")).to_have_css("display", "flex")
    return panel


def totals(panel: Locator) -> dict[str, str]:
    """The figures of the header, on one line each, by their names."""
    parts = [part.inner_text().split("\n", 1) for part in panel.locator(".cm-totals > div").all()]
    return {name: " ".join(rest.split()) for name, rest in parts}


def listed(panel: Locator) -> list[str]:
    """The numbers of the calls in the table, as far as they are to be seen."""
    visible = panel.locator("table.cm-calls tbody tr:visible")
    return [row.get_attribute("data-number") or "" for row in visible.all()]


def hint(panel: Locator, code: str) -> Locator:
    return panel.locator(f'.cm-hints [data-code="{code}"]')


def wait_for_script(page: Page) -> None:
    """The toolbar loads a panel's script after its content."""
    page.wait_for_load_state("networkidle")


def rows(panel: Locator) -> list[list[str]]:
    """Cache, operation, key and outcome of each call."""
    found = panel.locator("table.cm-calls tbody tr").all()
    return [
        [cell.inner_text().split("\n")[0] for cell in row.locator("td").all()[1:5]] for row in found
    ]


def test_the_panel_lists_exactly_the_calls_of_the_product_page(
    page: Page, demo_site: RunningDemo, complaints: list[str]
) -> None:
    first = rows(open_panel(page, demo_site.url + UNVISITED))
    second = rows(open_panel(page, demo_site.url + UNVISITED))

    assert first == [
        ["default", "get", "product:7", "miss"],
        ["default", "set", "product:7", "–"],
    ]
    assert second == [["default", "get", "product:7", "hit"]]
    assert page.locator("#CacheMonitorPanel .cm-type").all_inner_texts() == ["Product"]
    assert complaints == []


def test_the_side_bar_and_the_totals_tell_the_same(
    page: Page, demo_site: RunningDemo, complaints: list[str]
) -> None:
    panel = open_panel(page, demo_site.url + "/stock/")

    side_bar = page.locator("#djdt-CacheMonitorPanel small").inner_text()
    told = totals(panel)
    assert told["CALLS"] == side_bar.split()[0]
    assert told["HIT RATIO"] in side_bar
    assert complaints == []


@pytest.mark.once
def test_the_style_sheet_reaches_into_the_toolbar(page: Page, demo_site: RunningDemo) -> None:
    number = open_panel(page, demo_site.url + PRODUCT).locator("td.cm-number").first
    expect(number).to_have_css("text-align", "right")
    expect(number).to_have_css("font-variant-numeric", "tabular-nums")


@pytest.mark.once
def test_a_narrow_window_scrolls_the_tables_and_not_the_panel(
    page: Page, demo_site: RunningDemo
) -> None:
    page.set_viewport_size({"width": 700, "height": 900})
    panel = open_panel(page, demo_site.url + PRODUCT)
    hidden_width = "element => element.scrollWidth - element.clientWidth"
    assert panel.locator(".cm-scroll").last.evaluate(hidden_width) > 0
    assert panel.evaluate(hidden_width) == 0


@pytest.mark.once
def test_a_hit_tells_what_it_saved_once_its_miss_was_seen(
    page: Page, demo_site: RunningDemo, complaints: list[str]
) -> None:
    missed = totals(open_panel(page, f"{demo_site.url}/products/11/"))
    hit = totals(open_panel(page, f"{demo_site.url}/products/11/"))

    assert missed["MISSES"] == "1 1 never set"
    assert missed["TIME SAVED"] == "– no hits"
    assert "% of the request" in missed["TIME IN CACHES"]
    assert re.fullmatch(r"~[0-9]+\.[0-9]{2} ms", hit["TIME SAVED"])
    assert float(hit["TIME SAVED"].removeprefix("~").split()[0]) > 0
    assert complaints == []


def test_the_timeline_shows_the_calls_and_the_work_between_miss_and_set(
    page: Page, demo_site: RunningDemo, complaints: list[str]
) -> None:
    panel = open_panel(page, f"{demo_site.url}/products/12/")
    timeline = panel.locator(".cm-timeline").first
    miss, write = timeline.locator("rect.cm-fill-miss"), timeline.locator("rect.cm-fill-write")
    work = timeline.locator("rect.cm-work")

    boxes = [each.bounding_box() for each in (miss, work, write)]
    assert all(box is not None and box["width"] >= 1 for box in boxes)
    left_edges = [box["x"] for box in boxes if box is not None]
    assert left_edges == sorted(left_edges)
    assert (miss.locator("title").text_content() or "").startswith("#1 get product:12 · miss · ")
    assert (write.locator("title").text_content() or "").startswith("#2 set product:12 · ")
    assert "to produce" in (work.locator("title").text_content() or "")
    assert timeline.locator(".cm-lane-name").first.inner_text() == "default"
    assert (timeline.locator(".cm-axis text").first.text_content() or "").startswith("0")
    assert complaints == []


@pytest.mark.once
def test_a_bar_leads_to_its_call(page: Page, demo_site: RunningDemo) -> None:
    panel = open_panel(page, f"{demo_site.url}/pitfalls/one-by-one/")
    wait_for_script(page)
    panel.locator('.cm-timeline rect[data-call="20"]').first.dispatch_event("click")
    row = panel.locator("tr.cm-shown")
    expect(row).to_have_attribute("data-number", "20")
    expect(row).to_be_in_viewport()


def test_hints_name_the_line_and_what_would_be_saved(
    page: Page, demo_site: RunningDemo, complaints: list[str]
) -> None:
    panel = open_panel(page, f"{demo_site.url}/pitfalls/one-by-one/")

    single, repeated = hint(panel, "single-gets"), hint(panel, "repeated-gets")
    assert "price:{int}" in single.inner_text()
    assert "12 gets of" in single.inner_text()
    assert re.search(r"[0-9.]+ ms to be saved", single.inner_text())
    assert re.search(r"shop/views/loops\.py:[0-9]+", single.inner_text())
    assert 'cache.get(f"price:{product.pk}")' in single.inner_text()
    assert "rate:gbp" in repeated.inner_text()
    assert complaints == []


@pytest.mark.once
def test_a_large_value_is_told_with_its_size(page: Page, demo_site: RunningDemo) -> None:
    page.goto(f"{demo_site.url}/pitfalls/large-value/")
    told = hint(open_panel(page, f"{demo_site.url}/pitfalls/large-value/"), "large-values")
    assert re.search(r"[0-9.]+\sMB", told.inner_text())
    assert "catalogue" in told.inner_text()


@pytest.mark.once
def test_a_group_that_the_whole_site_writes_and_never_reads_is_told(
    page: Page, demo_site: RunningDemo
) -> None:
    for _ in range(6):
        demo_site.visitor().get("/pitfalls/memory-bloat/")
    told = hint(open_panel(page, f"{demo_site.url}/pitfalls/memory-bloat/"), "never-read")
    assert "report:{int}" in told.inner_text()
    assert "has not looked it up once" in told.inner_text()
    assert "shop/views/pitfalls.py" in told.inner_text()


@pytest.mark.once
def test_a_page_that_varies_by_cookie_is_told_with_its_view(
    page: Page, demo_site: RunningDemo
) -> None:
    panel = open_panel(page, f"{demo_site.url}/pitfalls/page-per-visitor/")
    told = hint(panel, "key-explosion").inner_text()
    assert "/pitfalls/page-per-visitor/" in told
    assert re.search(r"shop/views/loops\.py:[0-9]+ page_per_visitor", told)
    assert '@cache_page(60, cache="pages")' in told


@pytest.mark.once
@pytest.mark.parametrize("path", ["/products/13/", "/fragments/bath/", "/bestsellers/", "/stock/"])
def test_healthy_pages_have_no_hints(page: Page, demo_site: RunningDemo, path: str) -> None:
    for _ in range(2):
        assert open_panel(page, demo_site.url + path).locator(".cm-hints").count() == 0


@pytest.mark.once
def test_a_fragment_is_put_down_to_its_template(
    page: Page, demo_site: RunningDemo, complaints: list[str]
) -> None:
    panel = open_panel(page, f"{demo_site.url}/fragments/garden/")
    row = panel.locator("table.cm-calls tbody tr").first
    assert "fragment best_rated" in row.locator(".cm-key").inner_text()
    made = row.locator(".cm-made").inner_text()
    assert made.startswith("shop/parts/best_rated.html:2")
    assert "{% cache 120 best_rated category.pk" in made
    assert complaints == []


@pytest.mark.once
def test_a_cached_page_goes_by_its_route(page: Page, demo_site: RunningDemo) -> None:
    # By somebody else: this browser has its own cache, and would not ask again.
    demo_site.visitor().get("/per-site/3/")
    panel = open_panel(page, f"{demo_site.url}/per-site/3/")
    rows = panel.locator("table.cm-calls tbody tr").all()
    assert [row.locator(".cm-outcome").inner_text() for row in rows] == ["hit", "hit"]
    assert all("/per-site/" in row.locator(".cm-key").inner_text() for row in rows)


@pytest.mark.once
def test_the_stack_of_a_call_opens_also_where_an_earlier_call_has_the_same(
    page: Page, demo_site: RunningDemo, complaints: list[str]
) -> None:
    panel = open_panel(page, f"{demo_site.url}/pitfalls/one-by-one/")
    wait_for_script(page)
    details = panel.locator("details[data-same-as]").last
    expect(details.locator(".cm-stack")).to_have_count(0)
    details.locator("summary").click()
    expect(details.locator(".cm-stack")).to_be_visible()
    assert "shop/views/loops.py" in details.locator(".cm-own").first.inner_text()

    first = panel.locator("details:not([data-same-as])").first
    expect(first.locator(".cm-stack")).not_to_be_visible()
    first.locator("summary").click()
    expect(first.locator(".cm-stack")).to_be_visible()
    assert complaints == []


@pytest.mark.once
def test_calls_are_filtered_by_cache_operation_and_outcome(
    page: Page, demo_site: RunningDemo, complaints: list[str]
) -> None:
    panel = open_panel(page, f"{demo_site.url}/products/14/")
    wait_for_script(page)
    assert listed(panel) == ["1", "2"]

    panel.locator('[data-filter="operation"]').select_option("set")
    expect(panel.locator(".cm-listed")).to_have_text("1 / 2")
    assert listed(panel) == ["2"]

    panel.locator('[data-filter="operation"]').select_option("")
    panel.locator('[data-filter="outcome"]').select_option("miss")
    expect(panel.locator(".cm-listed")).to_have_text("1 / 2")
    assert listed(panel) == ["1"]

    panel.locator('[data-filter="alias"]').select_option("default")
    assert listed(panel) == ["1"]
    assert complaints == []


@pytest.mark.once
def test_calls_are_sorted_by_time_by_size_and_back(
    page: Page, demo_site: RunningDemo, complaints: list[str]
) -> None:
    panel = open_panel(page, f"{demo_site.url}/pitfalls/one-by-one/")
    wait_for_script(page)
    in_order = listed(panel)

    for name in ("time", "size"):
        panel.locator(f'[data-sort="{name}"]').click()
        rows = panel.locator("table.cm-calls tbody tr").all()
        values = [float(row.get_attribute(f"data-{name}") or "nan") for row in rows]
        assert values == sorted(values, reverse=True)
    sorted_by = panel.locator('th[aria-sort="descending"]')
    expect(sorted_by).to_have_text(re.compile("size", re.IGNORECASE))

    panel.locator('[data-sort="number"]').click()
    assert listed(panel) == in_order
    assert complaints == []


@pytest.mark.once
@pytest.mark.parametrize("path", ["/streaming/lines/", "/streaming/async-lines/"])
def test_a_request_made_by_fetch_is_told_from_the_history_with_the_calls_of_its_stream(
    page: Page, demo_site: RunningDemo, complaints: list[str], path: str
) -> None:
    page.goto(f"{demo_site.url}/streaming/")
    open_toolbar(page)
    assert page.evaluate("path => fetch(path).then(answer => answer.text())", path)
    page.locator("#djdt-HistoryPanel a").click()
    # The script that answers the button comes after the list, which it then fills anew.
    page.wait_for_load_state("networkidle")
    row = page.locator("#djdtHistoryRequests tr", has_text=path).first
    with page.expect_response(lambda response: "history_sidebar" in response.url):
        row.locator(".switchHistory").click()
    expect(page.locator("#djdt-CacheMonitorPanel small")).to_have_text(re.compile("10 calls in"))

    panel = show_panel(page)
    wait_for_script(page)
    assert len(listed(panel)) == 10
    assert "10 of the calls were made while it was sent" in panel.inner_text()
    panel.locator('[data-sort="time"]').click()
    expect(panel.locator('th[aria-sort="descending"]')).to_have_count(1)
    assert complaints == []


@pytest.mark.once
def test_the_panel_follows_the_toolbars_theme(page: Page, demo_site: RunningDemo) -> None:
    panel = open_panel(page, f"{demo_site.url}/pitfalls/one-by-one/")
    colours = []
    for theme in ("dark", "light"):
        page.locator("#djDebug").evaluate(
            "(element, theme) => element.setAttribute('data-theme', theme)", theme
        )
        lane = panel.locator(".cm-timeline").first
        colours.append(
            (
                lane.evaluate("element => getComputedStyle(element).backgroundColor"),
                lane.locator(".cm-fill-hit").first.evaluate(
                    "element => getComputedStyle(element).fill"
                ),
            )
        )
    (dark, dark_hit), (light, light_hit) = colours
    assert dark != light
    assert dark_hit != light_hit


@pytest.mark.once
def test_everything_works_where_only_the_sites_own_files_are_allowed(
    page: Page, demo_site: RunningDemo, complaints: list[str]
) -> None:
    def with_policy(route: Route) -> None:
        answer = route.fetch()
        policy = {"content-security-policy": "default-src 'self'"}
        route.fulfill(response=answer, headers={**answer.headers, **policy})

    page.route("**/products/15/", with_policy)
    panel = open_panel(page, f"{demo_site.url}/products/15/")
    wait_for_script(page)
    panel.locator('[data-filter="outcome"]').select_option("miss")
    expect(panel.locator(".cm-listed")).to_have_text("1 / 2")
    expect(panel.locator(".cm-timeline rect.cm-fill-miss").first).to_be_visible()
    assert complaints == []
