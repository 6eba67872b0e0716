from typing import Any

from cache_monitor.reports import Page
from tests.findings.healthy import cache, codes, findings


def page(**figures: Any) -> Page:
    """A page with a form behind ``cache_page``, which no answer of is stored."""
    return Page(
        **{
            "page": "/contact/",
            "requests": 500,
            "served": 0,
            "stored": 0,
            "bypassed": 0,
            "served_ratio": 0.0,
            "missed": {"header_list": 500},
            "not_stored": {"cookie": 500},
            "details": {"cookie": "csrftoken"},
            "causes": {"cookie": "csrf contact.html:12"},
            "varies_by": [],
            "distinct_addresses": 1,
            "distinct_paths": 1,
            "variants_per_address": None,
            "made_seconds": 100.0,
            "not_stored_seconds": 100.0,
            "is_decorated": True,
            **figures,
        }
    )


def test_a_page_that_is_meant_to_be_cached_and_never_is_is_found_with_its_reason() -> None:
    [finding] = findings(cache(pages=[page()]))
    assert (finding.code, finding.group) == ("page-not-stored", "/contact/")
    assert finding.evidence == {
        "requests": 500,
        "reason": "cookie",
        "detail": "csrftoken",
        "cause": "csrf contact.html:12",
        "lost_seconds": 100.0,
    }


def test_a_page_that_is_stored_now_and_then_is_none() -> None:
    assert codes(cache(pages=[page(stored=1)])) == []
    assert codes(cache(pages=[page(served=1)])) == []


def test_a_page_that_a_site_does_not_want_cached_is_none() -> None:
    private = {"not_stored": {"private": 500}, "details": {}, "causes": {}}
    assert codes(cache(pages=[page(is_decorated=False, **private)])) == []
    for meant in ("status", "streaming", "inner"):
        assert codes(cache(pages=[page(not_stored={meant: 500})])) == []


def test_a_page_that_costs_little_is_none() -> None:
    assert codes(cache(pages=[page(requests=50)])) == []
    assert codes(cache(pages=[page(not_stored_seconds=0.5)])) == []
