"""The keys of cached pages, taken apart."""

from __future__ import annotations

import hashlib
from typing import Any

import django.utils.cache
import pytest
from django.http import HttpResponse
from django.test import RequestFactory, override_settings
from django.utils import translation
from django.utils.cache import learn_cache_key

from cache_monitor.keys.known_keys import PageKey, page_key

# The stubs leave out what is private.
private: Any = django.utils.cache

URL = hashlib.md5(b"http://testserver/a/?b=1", usedforsecurity=False).hexdigest()


def key_of_page(prefix: str, **response: str) -> PageKey:
    request = RequestFactory().get("/a/?b=1", headers={"accept-encoding": "br"})
    found = page_key(learn_cache_key(request, HttpResponse(headers=response), 60, prefix))
    assert found is not None
    return found


@pytest.mark.parametrize("prefix", ["", "shop", "my.site7", "a.GET.b", "ü."])
@pytest.mark.parametrize("use_i18n", [True, False])
@pytest.mark.parametrize("use_tz", [True, False])
def test_the_parts_of_djangos_own_keys_are_told(prefix: str, use_i18n: bool, use_tz: bool) -> None:
    place = {"USE_TZ": use_tz, "TIME_ZONE": "America/Port-au-Prince"}
    # In this order: Django binds its functions of translation when they are first used.
    with translation.override("en-us"), override_settings(USE_I18N=use_i18n, **place):
        page = key_of_page(prefix)
        headers = page_key(
            private._generate_cache_header_key(prefix, RequestFactory().get("/a/?b=1"))
        )
    places = ["en-us"] * use_i18n + ["America/Port-au-Prince"] * use_tz
    suffix = ".".join(places)
    assert page == PageKey("page", prefix, "GET", URL, "", suffix)
    assert headers == PageKey("page_headers", prefix, "", URL, "", suffix)


def test_pages_that_vary_by_headers_differ_in_their_variant() -> None:
    plain, varied = key_of_page(""), key_of_page("", Vary="Accept-Encoding")
    assert plain.url == varied.url
    assert plain.digest == f"#{URL[:8]}"
    assert varied.digest == f"#{URL[:8]}-{varied.variant[:8]}"
    assert (plain.variant, len(varied.variant)) == ("", 32)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "user:17",
        "views.decorators.cache.cache_page.x",
        f"views.decorators.cache.cache_page..get.{URL}.{URL}",
        f"my.views.decorators.cache.cache_page..GET.{URL}.{URL}",
        "views.decorators.cache.cache_header.x.abc",
    ],
)
def test_other_keys_are_no_pages(text: str) -> None:
    assert page_key(text) is None
