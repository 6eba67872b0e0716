"""Pages behind cache_page that are not served from the cache, each for a reason of its own."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
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
def by_language(request: HttpRequest) -> HttpResponse:
    response = page(request)
    patch_vary_headers(response, ["User-Agent"])
    return response


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


VIEWS: dict[str, Callable[..., HttpResponseBase]] = {
    "form": form,
    "cookie": cookie,
    "private": private,
    "never": never,
    "vary-star": vary_star,
    "no-time": no_time,
    "dummy": kept_nowhere,
    "switched-off": switched_off,
    "variants": by_language,
    "not-found": not_found,
    "streamed": streamed,
    "posted": posted,
}
"""By the last part of their path; the last three have no page of the tour to themselves."""


def others(request: HttpRequest) -> HttpResponse:
    """What a page of the tour cannot be itself: no GET, no status 200, or a stream."""
    return render(request, "shop/uncached_others.html")
