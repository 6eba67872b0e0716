"""A page and the list of its headers are one row, whose requests count once."""

from __future__ import annotations

from msgspec.structs import replace

from cache_monitor.reports import HotKey, MissReasons
from cache_monitor.reports.keys import whole_groups, whole_keys
from tests.findings.healthy import group

PAGE = group("page GET /a/<pk>/", kind="page", lookups=80, hits=70, misses=10, seconds=2.0)
HEADERS = group("page headers /a/<pk>/", kind="page_headers", lookups=100, hits=80, misses=20)
OTHER = group("user:{int}", lookups=5)


def _key(key: str, lookups: int, hits: int, **figures: object) -> HotKey:
    made = HotKey(
        key=key,
        group=key.partition(" #")[0],
        lookups=lookups,
        hits=hits,
        misses=lookups - hits,
        sets=1,
        share=lookups / 1000,
        max_overcount=0,
        bytes=None,
        seconds_saved=None,
    )
    return replace(made, **figures)


def test_a_group_of_pages_has_the_lookups_and_misses_of_its_lists() -> None:
    [page, other] = whole_groups([HEADERS, PAGE, OTHER])
    assert (page.group, page.lookups, page.hits, page.misses) == (PAGE.group, 100, 70, 30)
    assert page.seconds == PAGE.seconds + HEADERS.seconds
    assert other == OTHER


def test_lists_whose_pages_were_not_asked_for_stay() -> None:
    assert list(whole_groups([HEADERS, OTHER])) == [HEADERS, OTHER]
    assert list(whole_groups([PAGE])) == [PAGE]


def test_a_page_that_is_hot_has_the_misses_of_its_list() -> None:
    missed = MissReasons(expired=2, judged=2)
    page = _key("page GET /a/<pk>/ #0a0a0a0a en.UTC", 8, 8)
    headers = _key("page headers /a/<pk>/ #0a0a0a0a en.UTC", 10, 8, miss_reasons=missed)
    elsewhere = _key("page headers /a/<pk>/ #0b0b0b0b en.UTC", 3, 3)
    [whole, left] = whole_keys([headers, page, elsewhere])
    assert (whole.key, whole.lookups, whole.hits, whole.misses) == (page.key, 10, 8, 2)
    assert (whole.miss_reasons.expired, whole.share) == (2, 0.01)
    assert left == elsewhere


def test_of_several_pages_of_one_address_the_hottest_has_the_misses_of_their_list() -> None:
    pages = [_key(f"page GET /a/ #0a0a0a0a-{n}{n} en.UTC", n, n) for n in (3, 5)]
    headers = _key("page headers /a/ #0a0a0a0a en.UTC", 10, 8)
    found = {each.key: each.lookups for each in whole_keys([*pages, headers])}
    assert found == {pages[0].key: 3, pages[1].key: 7}
