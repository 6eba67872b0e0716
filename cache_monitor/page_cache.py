"""The outcome of a request in Django's page cache, why a page was not stored, and both in words:
those of the report, sentences for people, and the header ``Cache-Status`` (RFC 9211).

The rules are those of ``django.middleware.cache`` (5.2 to 6.1), in their order. They are applied to
the response as it comes in, and change nothing of it.
"""

from collections.abc import Mapping
from typing import Any, Literal

from django.core.cache.backends.dummy import DummyCache
from django.http.response import HttpResponseBase
from django.utils.cache import get_max_age, has_vary_header
from django.utils.translation import gettext as _
from msgspec import Struct

from cache_monitor.stacks import RawStack

Fetch = Literal["hit", "miss", "bypass", "none"]
"""What ``FetchFromCacheMiddleware`` did: found the page, did not find it, did not look for it
because of the method, or did not run."""

MissedPart = Literal["header_list", "page", "other_key"]
"""What was missing: the list of headers that the page varies by, which is stored with each page; or
the page itself in this variant. ``other_key``: the page was stored for another language or time
zone than it was looked up for, so such requests never find it."""

NotStored = Literal[
    "method",
    "no_fetch",
    "inner",
    "disabled",
    "streaming",
    "status",
    "cookie",
    "private",
    "no-cache",
    "no-store",
    "vary_star",
    "max_age_0",
    "timeout_0",
    "dummy",
    "error",
    "unknown",
]
"""Why the response was not stored, in the order in which ``UpdateCacheMiddleware`` checks.

``method``: neither GET nor HEAD. ``no_fetch``: ``FetchFromCacheMiddleware`` did not run, which
alone allows a response to be stored. ``inner``: an inner ``cache_page`` has served it.
``disabled``: ``request._cache_update_cache`` was set to False afterwards. ``cookie``: the response
sets a cookie and varies by ``Cookie``. ``dummy``: the cache is a ``DummyCache``. ``error``: the
cache raised while the page was put there."""


class PagePass(Struct, eq=False):
    """One pass; it grows while the request is answered, in one context.

    ``request`` is the identity of the request, ``owner`` that of the middleware where it fetches
    and stores. ``key`` is the page's key as the cache was last asked, ``list_key`` that of the list
    of headers that it ``varies`` by; ``looked_up`` and ``looked_up_list`` are both as they were
    when the request came in. ``is_decorated``: ``cache_page`` stands above the view. ``inner_hit``:
    another pass within this one served the page. ``address``, ``path`` and ``variant`` are hashes
    that tell pages apart: with the query string, without it, and with those headers. ``age``,
    ``ttl`` and ``seconds``, what the response took to make, are seconds. ``detail`` says more of
    the reason: a cookie's name, a status. ``blame`` has stacks: where the session was read
    (``session``), a CSRF token made (``csrf``), a header given a value (``vary:cookie``).
    ``stored`` is None while that is open.
    """

    alias: str
    request: int
    owner: int | None = None
    outer: "PagePass | None" = None
    fetch: Fetch = "none"
    missed: MissedPart | None = None
    key: str | None = None
    looked_up: str | None = None
    inner_hit: bool = False
    route: str | None = None
    address: int | None = None
    path: int | None = None
    variant: int | None = None
    varies: tuple[str, ...] = ()
    list_key: str | None = None
    looked_up_list: str | None = None
    age: float | None = None
    ttl: float | None = None
    stored: bool | None = None
    reason: NotStored | None = None
    detail: str = ""
    blame: dict[str, RawStack] = {}
    began: float = 0.0
    seconds: float = 0.0
    is_decorated: bool = False
    is_over: bool = False

    def cause(self) -> tuple[str, RawStack] | None:
        """What in the project's code led to the reason, and where; None where unknown."""
        for name in self._suspects():
            if name in self.blame:
                return name, self.blame[name]
        return None

    def unvaried(self) -> tuple[str, RawStack] | None:
        """What in the project's code made a page personal that is stored for all visitors, and
        where: ``Vary: Cookie`` was added after the page was stored."""
        if self.stored and "cookie" not in self.varies:
            for name in ("session", "csrf"):
                if name in self.blame:
                    return name, self.blame[name]
        return None

    def _suspects(self) -> tuple[str, ...]:
        if self.reason is not None:
            return _SUSPECTS.get(self.reason, ())
        if self.fetch == "miss":
            return tuple(
                suspect
                for header in self.varies
                for suspect in SUSPECTS_OF.get(header, (f"vary:{header}",))
            )
        return ()


SUSPECTS_OF: Mapping[str, tuple[str, ...]] = {"cookie": ("session", "csrf", "vary:cookie")}
"""What makes a page vary by a header; first the likeliest cause that a project can change."""
_SUSPECTS: Mapping[NotStored, tuple[str, ...]] = {
    # What set the cookie, rather than what only made the response vary by it.
    "cookie": ("csrf", "session", "vary:cookie"),
    "private": ("cache-control:private",),
    "no-cache": ("cache-control:no-cache",),
    "no-store": ("cache-control:no-store",),
    "max_age_0": ("cache-control:max-age",),
    "vary_star": ("vary:*",),
}


_FORBIDDING: tuple[NotStored, ...] = ("private", "no-cache", "no-store")
_STORED_STATUS = 200

ReasonAndDetail = tuple[NotStored, str]
"""Why, with a detail such as a cookie's name or a status."""


def why_not_stored(
    middleware: Any, request: Any, response: HttpResponseBase, page_pass: PagePass
) -> ReasonAndDetail | None:
    """Why ``middleware`` will not store ``response``; None where it will try to."""
    return (
        _not_requested(request, page_pass)
        or _not_storable(response)
        or _not_allowed(response)
        or _without_timeout(middleware, response)
        or (("dummy", "") if isinstance(middleware.cache, DummyCache) else None)
    )


def _not_requested(request: Any, page_pass: PagePass) -> ReasonAndDetail | None:
    if getattr(request, "_cache_update_cache", False):
        return None
    if page_pass.fetch == "bypass":
        return "method", str(request.method)
    if page_pass.fetch == "none":
        return "no_fetch", ""
    return ("inner" if page_pass.inner_hit else "disabled"), ""


def _not_storable(response: HttpResponseBase) -> ReasonAndDetail | None:
    if response.streaming:
        return "streaming", ""
    if response.status_code != _STORED_STATUS:
        return "status", str(response.status_code)
    if response.cookies and has_vary_header(response, "Cookie"):
        return "cookie", ", ".join(sorted(response.cookies))
    return None


def _not_allowed(response: HttpResponseBase) -> ReasonAndDetail | None:
    control = str(response.get("Cache-Control", ""))
    for directive in _FORBIDDING:
        if directive in control.lower():
            return directive, control
    if has_vary_header(response, "*"):
        return "vary_star", ""
    return None


def _without_timeout(middleware: Any, response: HttpResponseBase) -> ReasonAndDetail | None:
    timeout = middleware.page_timeout
    if timeout is None:
        timeout = get_max_age(response)
        if timeout == 0:
            return "max_age_0", str(response.get("Cache-Control", ""))
        if timeout is None:
            timeout = middleware.cache_timeout
    return None if timeout else ("timeout_0", "")


_DECORATORS = ("django/views/decorators/", "django/utils/decorators")


def not_stored(reason: str, detail: str = "") -> str:
    """Why an answer was not stored; ``detail`` is as in
    :class:`PagePass`."""
    sentences = {
        "method": _("Only GET and HEAD are cached; this was %(detail)s."),
        "no_fetch": _(
            "FetchFromCacheMiddleware was not asked, and only after it does "
            "UpdateCacheMiddleware store anything. Is it in MIDDLEWARE, as the last?"
        ),
        "inner": _("A cache_page further in had served it."),
        "disabled": _("Something set request._cache_update_cache to False."),
        "streaming": _("Streaming and file responses are not cached."),
        "status": _("Only responses with the status 200 are cached; this was %(detail)s."),
        "cookie": _("It sets a cookie (%(detail)s) and varies by Cookie."),
        "private": _("Cache-Control says private: %(detail)s."),
        "no-cache": _("Cache-Control says no-cache: %(detail)s."),
        "no-store": _("Cache-Control says no-store: %(detail)s."),
        "vary_star": _("It varies by everything (Vary: *)."),
        "max_age_0": _("Cache-Control says max-age=0."),
        "timeout_0": _("Its timeout is 0."),
        "dummy": _("The cache is a DummyCache, which keeps nothing."),
        "error": _("The cache raised %(detail)s."),
    }
    sentence = sentences.get(reason, _("Why is not known."))
    return sentence % {"detail": detail or "?"} if "%(detail)s" in sentence else sentence


def cause(text: str) -> str:
    """What the project's code did, and where: ``text`` is such as ``session shop/views.py:12``."""
    what, _space, where = text.partition(" ")
    if where.startswith(_DECORATORS):
        # The view has returned by then, so no stack names it.
        where = _("a decorator of the view")
    if what == "session":
        return _("The session was read or changed in %(where)s.") % {"where": where}
    if what == "csrf":
        return _("A CSRF token was made in %(where)s.") % {"where": where}
    header, _colon, value = what.partition(":")
    shown = {"vary": "Vary", "cache-control": "Cache-Control"}.get(header, header)
    return _("%(header)s: %(value)s was set in %(where)s.") % {
        "header": shown,
        "value": value,
        "where": where,
    }


def unvaried(text: str) -> str:
    """A page that is one visitor's own is stored for all; ``text`` is as for :func:`cause`."""
    return _("%(cause)s Yet the page is stored without Vary: Cookie, so every visitor gets it.") % {
        "cause": cause(text)
    }


def missed(what: str, varies: tuple[str, ...] = (), detail: str = "") -> str:
    """What the page cache did not find."""
    if what == "other_key":
        stored, _comma, looked_up = detail.partition(", ")
        return _(
            "It was looked up for %(looked_up)s, and stored for %(stored)s: language or time zone "
            "changed in between. See the order of MIDDLEWARE (manage.py check)."
        ) % {"looked_up": looked_up or "?", "stored": stored or "?"}
    if what == "header_list":
        return _("No page of this address was in the cache.")
    if varies:
        return _("It was not there in this variant: it varies by %(headers)s.") % {
            "headers": ", ".join(map(str.title, varies))
        }
    return _("It was no longer in the cache.")


_DETAILS = {"cookie": "set-cookie", "vary_star": "vary-all"}


def cache_status(page_pass: PagePass) -> str:
    """Such as ``django; hit; ttl=120``, ``django; fwd=miss; stored`` or
    ``django; fwd=bypass; detail="set-cookie"``."""
    parts = ["django"]
    if page_pass.fetch == "hit":
        parts.append("hit")
    elif page_pass.fetch == "bypass":
        parts.append("fwd=method")
    elif page_pass.stored:
        parts += ["fwd=miss", "stored"]
    else:
        parts.append("fwd=bypass")
    if page_pass.ttl is not None:
        parts.append(f"ttl={page_pass.ttl:.0f}")
    if page_pass.reason is not None and page_pass.fetch != "bypass":
        detail = _DETAILS.get(page_pass.reason, page_pass.reason.replace("_", "-"))
        parts.append(f'detail="{detail}"')
    elif page_pass.missed == "other_key":
        parts.append('detail="other-key"')
    return "; ".join(parts)
