"""Pages behind the page cache that are not served from it, each for a reason of its own."""

from __future__ import annotations

from collections.abc import Callable

from django.core.cache import caches
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.middleware.cache import UpdateCacheMiddleware
from django.shortcuts import render
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.decorators import decorator_from_middleware
from django.views.decorators.cache import cache_control, cache_page, never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST


def page(request: HttpRequest) -> HttpResponse:
    return render(request, "shop/uncached.html")


@cache_page(60, cache="pages")
@csrf_protect
def form(request: HttpRequest) -> HttpResponse:
    """{% csrf_token %} in the template sets a cookie, and makes the page vary by it."""
    return render(request, "shop/uncached_form.html")


@cache_page(60, cache="pages")
def cookie(request: HttpRequest) -> HttpResponse:
    response = page(request)
    response.set_cookie("seen", "yes")
    patch_vary_headers(response, ["Cookie"])
    return response


private = cache_page(60, cache="pages")(cache_control(private=True)(page))
no_cache = cache_page(60, cache="pages")(cache_control(no_cache=True)(page))
no_store = cache_page(60, cache="pages")(cache_control(no_store=True)(page))
max_age_0 = cache_control(max_age=0)(page)
no_fetch = decorator_from_middleware(UpdateCacheMiddleware)(page)
expired = cache_page(1, cache="pages")(page)
nested = cache_page(1, cache="pages", key_prefix="outer")(cache_page(60, cache="pages")(page))
never = cache_page(60, cache="pages")(never_cache(page))
no_time = cache_page(0, cache="pages")(page)
kept_nowhere = cache_page(60, cache="dummy")(page)


@cache_page(60, cache="pages")
def vary_star(request: HttpRequest) -> HttpResponse:
    response = page(request)
    patch_vary_headers(response, ["*"])
    return response


@cache_page(60, cache="pages")
def switched_off(request: HttpRequest) -> HttpResponse:
    request._cache_update_cache = False  # type: ignore[attr-defined]  # Django's own way
    return page(request)


@cache_page(60, cache="pages")
def by_browser(request: HttpRequest) -> HttpResponse:
    response = page(request)
    patch_vary_headers(response, ["User-Agent"])
    return response


@cache_page(60, cache="pages")
def in_german(request: HttpRequest) -> HttpResponse:
    translation.activate("de")
    return page(request)


def other_language(request: HttpRequest) -> HttpResponse:
    """Looked up before the view chooses a language, and stored for that language."""
    with translation.override(translation.get_language()):
        return in_german(request)


@cache_page(60, cache="pages")
def for_all(request: HttpRequest) -> HttpResponse:
    """The session middleware adds Vary: Cookie when the page is stored already."""
    visits = request.session.get("visits", 0)
    return render(request, "shop/uncached_for_all.html", {"visits": visits})


@cache_page(60, cache="crowded")
def in_a_crowd(request: HttpRequest) -> HttpResponse:
    return page(request)


def evicted(request: HttpRequest) -> HttpResponse:
    """Between two visits others fill a cache that has room for twenty entries."""
    caches["crowded"].set_many({f"other:{number}": number for number in range(40)}, timeout=60)
    return in_a_crowd(request)


@cache_page(60, cache="pages")
def not_found(request: HttpRequest) -> HttpResponse:
    return render(request, "shop/uncached.html", status=404)


@cache_page(60, cache="pages")
def streamed(request: HttpRequest) -> HttpResponseBase:
    return StreamingHttpResponse(iter([b"<p>This page ", b"is sent in two parts.</p>"]))


@require_POST
@cache_page(60, cache="pages")
def posted(request: HttpRequest) -> HttpResponse:
    return page(request)


@cache_page(60, cache="pages")
def unpicklable(request: HttpRequest) -> HttpResponse:
    response = page(request)
    response.rows = (row for row in range(3))  # type: ignore[attr-defined]  # the mistake
    return response


VIEWS: dict[str, Callable[..., HttpResponseBase]] = {
    "form": form,
    "cookie": cookie,
    "private": private,
    "no-cache": no_cache,
    "no-store": no_store,
    "never": never,
    "vary-star": vary_star,
    "no-time": no_time,
    "dummy": kept_nowhere,
    "switched-off": switched_off,
    "no-fetch": no_fetch,
    "variants": by_browser,
    "other-language": other_language,
    "for-all": for_all,
    "expired": expired,
    "evicted": evicted,
    "nested": nested,
    "not-found": not_found,
    "streamed": streamed,
    "unpicklable": unpicklable,
    "posted": posted,
}
"""By the last part of their path; the last four have no page of the tour to themselves."""


def others(request: HttpRequest) -> HttpResponse:
    """What a page of the tour cannot be itself: no GET, no status 200, or a stream."""
    return render(request, "shop/uncached_others.html")
