"""What a visitor of the demo sees."""

from __future__ import annotations

import json
import re
import time
from html import unescape
from pathlib import Path
from typing import Final, get_args

import pytest

from cache_monitor.page_cache import NotStored
from tests.demo_site.site import Answer, Demo, Visitor, visible
from tests.services import Server

CARD: Final = re.compile(r'<p class="way">([^<]+)</p>\s*<h3><a href="([^"]+)">')
HEADING: Final = re.compile(r"<h2>([^<]+)</h2>")
UNCACHED: Final = "Why is this page not cached?"
OWN_PAGES: Final = ("Ways of caching", "Classic mistakes", UNCACHED)
SAID_OF_ITSELF: Final = re.compile(r"The panel says: “([^”]+)”")
SAID_OF_OTHERS: Final = re.compile(r'href="(/not-cached/[^"]+)">[^<]+</a>[^“<]*“([^”]+)”')
DETAIL: Final = re.compile(r'detail="([^"]+)"')
IN_CACHE_STATUS: Final = {"cookie": "set-cookie", "vary_star": "vary-all"}
CODE: Final = re.compile(r"<pre[^>]*><code>(.+?)</code></pre>", re.DOTALL)
LOCAL_BACKENDS: Final = ("default", "files", "database")


def cards(visitor: Visitor, titles: tuple[str, ...] = OWN_PAGES) -> list[tuple[str, str]]:
    """The pages of the start page that say how they cache, and what they say."""
    _, *pieces = HEADING.split(visitor.get("/").text)
    sections = dict(zip(pieces[::2], pieces[1::2], strict=True))
    return [(url, unescape(way)) for title in titles for way, url in CARD.findall(sections[title])]


def panel_of(visitor: Visitor, answer: Answer) -> str:
    """What the toolbar's history has of the request."""
    query = f"request_id={answer.headers['djdt-request-id']}&panel_id=CacheMonitorPanel"
    content: str = json.loads(visitor.get(f"/__debug__/render_panel/?{query}").text)["content"]
    return visible(content)


def test_every_page_of_the_start_page_answers_and_names_its_way_of_caching(
    visitor: Visitor,
) -> None:
    pages = cards(visitor)

    assert len(pages) >= 10
    for url, way in pages:
        answer = visitor.get(url)
        assert answer.status == 200, url
        assert f'<p class="way">{way}</p>' in unescape(answer.text), url


def test_every_page_of_the_start_page_shows_the_code_that_caches(visitor: Visitor) -> None:
    for url, _ in cards(visitor):
        code = CODE.search(visitor.get(url).text)
        assert code is not None, url
        assert re.search("cache|backend", code[1], re.IGNORECASE), url


def test_the_start_page_leads_to_the_admin_and_the_dashboard(visitor: Visitor) -> None:
    start = visitor.get("/").text

    assert 'href="/admin/"' in start
    assert "Open the dashboard" in start


def test_every_page_carries_the_debug_toolbar(visitor: Visitor) -> None:
    for url, _ in cards(visitor):
        assert 'id="djDebug"' in visitor.get(url).text, url


def test_the_printed_login_opens_the_dashboard(visitor: Visitor) -> None:
    visitor.submit("/admin/login/", username="admin", password="admin", next="/admin/")
    dashboard = re.search(r'href="([^"]+)">Open the dashboard', visitor.get("/").text)

    assert dashboard is not None
    assert visitor.get(dashboard[1]).status == 200


@pytest.mark.parametrize("path", ["/bestsellers/", "/new/", "/per-site/", "/per-site/1/"])
def test_a_whole_page_comes_from_the_cache_when_it_is_asked_for_again(
    visitor: Visitor, path: str
) -> None:
    visitor.get(path)

    assert "Age" in visitor.get(path).headers


@pytest.mark.parametrize("path", ["/", "/products/1/", "/categories/kitchen/", "/backends/"])
def test_the_per_site_cache_keeps_to_its_section(visitor: Visitor, path: str) -> None:
    visitor.get(path)
    again = visitor.get(path)

    assert "Age" not in again.headers
    assert "Cache-Control" not in again.headers


def test_a_product_page_tells_a_miss_from_a_hit(visitor: Visitor) -> None:
    first, second = visitor.get("/products/1234/"), visitor.get("/products/1234/")

    assert "A miss" in first.visible_text
    assert "A hit" in second.visible_text


def test_a_product_that_does_not_exist_is_not_found(visitor: Visitor) -> None:
    assert visitor.get("/products/999999/").status == 404


@pytest.mark.parametrize("alias", LOCAL_BACKENDS)
def test_a_backend_without_a_server_reads_back_what_it_stored(visitor: Visitor, alias: str) -> None:
    visitor.get(f"/backends/{alias}/")

    assert "12 of 12 prices were in the cache" in visitor.get(f"/backends/{alias}/").visible_text


@pytest.mark.parametrize(
    ("alias", "command"),
    [("redis", "redis-server --port 1 "), ("memcached", "memcached -u nobody")],
)
def test_a_backend_whose_server_is_away_says_how_to_start_one(
    visitor: Visitor, alias: str, command: str
) -> None:
    answer = visitor.get(f"/backends/{alias}/")

    assert answer.status == 200
    assert command in answer.visible_text


def test_redis_and_memcached_are_used_when_they_answer(
    prepared_demo: Demo, tmp_path: Path, redis_server: Server, memcached_server: Server
) -> None:
    demo = prepared_demo.copy(
        tmp_path / "var", REDIS_URL=f"{redis_server.url}/1", MEMCACHED=memcached_server.address
    )
    with demo.running() as running:
        visitor = running.visitor()
        for alias in ("redis", "memcached"):
            visitor.get(f"/backends/{alias}/")
            answer = visitor.get(f"/backends/{alias}/")
            assert "12 of 12 prices were in the cache" in answer.visible_text, alias


def test_clearing_empties_the_scratch_cache_and_nothing_else(visitor: Visitor) -> None:
    visitor.get("/products/77/")
    cleared = visitor.submit("/clear/", action="/clear/now/")

    assert "0 of 20 entries" in cleared.visible_text
    assert "A hit" in visitor.get("/products/77/").visible_text


def test_a_changed_price_stays_stale_until_its_key_is_deleted(visitor: Visitor) -> None:
    page = "/pitfalls/stale-content/"
    visitor.get(page)

    raised = visitor.submit(page, action=f"{page}raise/")
    dropped = visitor.submit(page, action=f"{page}drop/")

    assert "Stale." in raised.visible_text
    assert "The same." in dropped.visible_text


@pytest.mark.slow
def test_every_reason_that_a_page_is_not_cached_has_a_page_which_says_what_the_panel_says(
    visitor: Visitor,
) -> None:
    pages = [url for url, _ in cards(visitor, (UNCACHED,))]
    others = visitor.get("/not-cached/").text
    expected = {url: unescape(said) for url, said in SAID_OF_OTHERS.findall(others)}
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', others)
    assert token is not None
    posted = visitor.post("/not-cached/posted/", csrfmiddlewaretoken=token[1])
    panels = {"/not-cached/": panel_of(visitor, posted)}
    reasons = {"method"} if "fwd=method" in posted.headers["Cache-Status"] else set()
    for browser in ("first", "second"):
        visitor.opener.addheaders = [("User-Agent", browser)]
        for url in [*pages, *expected]:
            # An address of its own: no other test has left the page in the cache.
            answer = visitor.get(f"{url}?reasons")
            if said := SAID_OF_ITSELF.search(answer.text):
                expected[url] = unescape(said[1])
            if url != "/not-cached/":
                panels[url] = panels.get(url, "") + panel_of(visitor, answer)
                reasons.update(DETAIL.findall(answer.headers["Cache-Status"]))
        time.sleep(1)  # What some of the pages live for.

    assert {url: said for url, said in expected.items() if said not in panels[url]} == {}
    assert expected.keys() == panels.keys() >= set(pages)
    in_header = {IN_CACHE_STATUS.get(each, each.replace("_", "-")) for each in get_args(NotStored)}
    assert in_header - {"unknown"} <= reasons
