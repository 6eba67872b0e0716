"""Passes through the page cache become figures of pages."""

from collections.abc import Iterator

import pytest
from django.test import Client, override_settings
from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.api import report
from cache_monitor.instrument import pages
from cache_monitor.page_cache import PagePass
from cache_monitor.reports import Page
from cache_monitor.stats.details import PageStats
from cache_monitor.stats.sketches import hash_of
from cache_monitor.worker import requests, wiring
from tests.anew import begin_anew

made = st.builds(
    PagePass,
    alias=st.just("default"),
    request=st.just(0),
    fetch=st.sampled_from(["hit", "miss", "bypass", "none"]),
    missed=st.sampled_from([None, "header_list", "page"]),
    route=st.just("/"),
    address=st.integers(0, 500).map(str).map(hash_of),
    path=st.integers(0, 9).map(str).map(hash_of),
    variant=st.integers(0, 900).map(str).map(hash_of),
    varies=st.sampled_from([(), ("cookie",), ("cookie", "accept-language")]),
    stored=st.sampled_from([True, False]),
    reason=st.sampled_from([None, "cookie", "status"]),
    detail=st.sampled_from(["", "404", "sessionid"]),
    seconds=st.just(0.5),
)


def counted(passes: list[PagePass]) -> PageStats:
    stats = PageStats()
    for each in passes:
        requests.count(each, stats)
    return stats.bounded()


@given(st.lists(made, max_size=400), st.lists(made, max_size=400))
def test_the_merge_of_two_processes_counts_what_one_would(
    one: list[PagePass], other: list[PagePass]
) -> None:
    merged = counted(one)
    merged.merge(counted(other))
    whole = counted(one + other)
    # An example of a reason is one of several.
    merged.details = whole.details = {}
    assert merged.bounded() == whole


def test_only_what_is_served_or_stored_is_a_page_that_is_kept_apart() -> None:
    stats = counted([PagePass("default", 0, fetch="miss", stored=False, variant=1, address=2)])
    assert (stats.variants, stats.addresses) == (set(), {2})


@pytest.fixture
def site() -> Iterator[None]:
    memory = {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}
    begin_anew()
    with override_settings(
        ROOT_URLCONF="tests.page_cache.site",
        CACHE_MONITOR={"STORE": memory},
        MIDDLEWARE=[
            "django.middleware.cache.UpdateCacheMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.cache.FetchFromCacheMiddleware",
        ],
        CACHES={
            "default": {
                "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
                "LOCATION": "page counting",
            }
        },
    ):
        pages.finished.clear()
        yield
    begin_anew()


def pages_by_route() -> dict[str, Page]:
    wiring.background_worker.flush()
    return {each.page: each for each in report().caches["default"].pages}


@pytest.mark.django_db
@pytest.mark.usefixtures("site")
def test_a_report_tells_of_each_page_what_was_served_stored_and_not_and_why() -> None:
    client = Client()
    for query in ("", "?page=2", "", ""):
        client.get(f"/site/plain/{query}")
    client.post("/site/plain/")
    for _ in range(3):
        Client().get("/site/writes_session/")
    found = pages_by_route()
    plain = found["/site/plain/"]
    assert (plain.requests, plain.served, plain.stored, plain.bypassed) == (4, 2, 2, 1)
    assert (plain.served_ratio, plain.not_stored) == (0.5, {})
    assert (plain.distinct_addresses, plain.distinct_paths) == (2, 1)
    personal = found["/site/writes_session/"]
    assert (personal.served, personal.not_stored) == (0, {"cookie": 3})
    assert personal.details == {"cookie": "sessionid"}
    assert personal.causes["cookie"].startswith("session tests/page_cache/site.py:")
    assert personal.not_stored_seconds > 0


@pytest.mark.django_db
@pytest.mark.usefixtures("site")
def test_a_page_that_varies_has_a_variant_for_each_cookie() -> None:
    for number in range(3):
        Client(headers={"cookie": f"visitor={number}"}).get("/site/reads_session/")
    page = pages_by_route()["/site/reads_session/"]
    assert (page.stored, page.varies_by) == (3, ["cookie"])
    assert page.variants_per_address == 3.0
    assert page.causes["variant"].startswith("session tests/page_cache/site.py:")
