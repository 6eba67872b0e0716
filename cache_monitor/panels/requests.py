"""What the panel must know of a request and its response, beside the calls."""

import inspect
from typing import Any

from django.core.cache import caches
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, resolve
from django.utils.cache import has_vary_header

from cache_monitor import scope
from cache_monitor.capture import keys_of
from cache_monitor.interruptions import let_pass
from cache_monitor.keys.naming import name_key
from cache_monitor.panels.rows import Kept
from cache_monitor.stacks.capture import FrameRow

MOST_LISTS = 5
"""Lists of headers that are looked at; a request has one, as a rule."""


def route_of(request: HttpRequest) -> str | None:
    """The route of the view, as ``urlpatterns`` have it; also of a page that a middleware
    answered. None where nothing matches."""
    match = _match_of(request)
    return None if match is None else f"/{match.route}"


def view_of(request: HttpRequest) -> FrameRow | None:
    """Where the view begins, with its decorators; None where that cannot be told."""
    match = _match_of(request)
    if match is None:
        return None
    try:
        return _beginning(match.func)
    except (OSError, TypeError):
        return None


def has_pages_by_cookie(response: HttpResponseBase, kept: Kept) -> bool:
    """Whether one of the pages among the calls is cached for each cookie apart.

    That is in the list of headers which Django keeps beside a page. The response's own header may
    say more: what middleware adds to it later is none of the page's.
    """
    if not has_vary_header(response, "Cookie"):
        return False
    lists = {
        (call[0].alias, key, call[7])
        for call, *_ in kept
        for key in keys_of(call)
        if name_key(key).kind == "page_headers"
    }
    return any(_names_cookies(*each) for each in list(lists)[:MOST_LISTS])


def _names_cookies(alias: str, key: Any, version: Any) -> bool:
    try:
        with scope.muted():
            headers = caches[alias].get(key, version=version)
        return "HTTP_COOKIE" in (headers or ())
    except Exception as error:
        # The cache is away by now, or may not be asked by async code.
        let_pass(error)
        return False


def _match_of(request: HttpRequest) -> ResolverMatch | None:
    if request.resolver_match is not None:
        return request.resolver_match
    try:
        return resolve(request.path_info, getattr(request, "urlconf", None))
    except Resolver404:
        return None


def _beginning(view: Any) -> FrameRow | None:
    # What as_view() makes looks like a wrapper of Django's own dispatch().
    view = inspect.unwrap(view, stop=lambda each: hasattr(each, "view_class"))
    class_ = getattr(view, "view_class", None)
    if class_ is not None:
        _, line = inspect.getsourcelines(class_)
        return [inspect.getfile(class_), line, class_.__qualname__]
    code = getattr(view, "__code__", None)
    return None if code is None else [code.co_filename, code.co_firstlineno, code.co_qualname]
