"""The outcome of a request in Django's page cache, and why a page was not stored.

The words here are those of the report; :mod:`.sentences` puts them in sentences.

The rules are those of ``django.middleware.cache`` (5.2 to 6.1), in their order. They are applied to
the response as it comes in, and change nothing of it.

Django does not record the cause: the response has ``Vary: Cookie``, whoever added it. So the hooks
that every cause goes through are watched: headers, CSRF tokens, sessions. That begins with the
first request that passes the page cache.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, Literal

import django.middleware.csrf as django_csrf
from django.contrib.sessions.backends.base import SessionBase
from django.core.cache.backends.dummy import DummyCache
from django.http.response import HttpResponseBase, ResponseHeaders
from django.utils.cache import get_max_age, has_vary_header
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
    and stores. ``key`` is the page's key as the cache was last asked, ``looked_up`` as it was when
    the request came in. ``is_decorated`` is whether ``cache_page`` stands above the view.
    ``inner_hit`` is whether another pass within this one served the page.
    ``route`` is the page's route, such as ``/item/<pk>/``. ``address``, ``path`` and ``variant``
    are hashes that tell pages apart: with the query string, without it, and with the headers that
    the page varies by. ``varies`` are the names of those headers, as the cache had them when it
    was asked or given the page. ``list_key`` is the key of the list of them as it
    was last made, ``looked_up_list`` as it was when the request came in.
    ``age`` and ``ttl`` are seconds. ``detail`` says more of the reason: a cookie's
    name, a status. ``blame`` has stacks: where the session was read (``session``), a CSRF token
    made (``csrf``), a header given a value (``vary:cookie``, ``cache-control:private``).
    ``seconds`` is what the response took to make. ``stored`` is None while that is open.
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
        if self.reason == "cookie":
            # What set the cookie, rather than what only made the response vary by it.
            return ("csrf", "session", "vary:cookie")
        if self.reason in {"private", "no-cache", "no-store"}:
            return (f"cache-control:{self.reason}",)
        if self.reason == "max_age_0":
            return ("cache-control:max-age",)
        if self.reason == "vary_star":
            return ("vary:*",)
        if self.fetch == "miss" and self.reason is None:
            return tuple(
                suspect
                for header in self.varies
                for suspect in SUSPECTS_OF.get(header, (f"vary:{header}",))
            )
        return ()


SUSPECTS_OF: Mapping[str, tuple[str, ...]] = {"cookie": ("session", "csrf", "vary:cookie")}
"""What makes a page vary by a header; first the likeliest cause that a project can change."""


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


Blame = Callable[[str], None]
"""Called by the hooks with what was done, in the stack of the code that did it."""

_MARK = "_cache_monitor_blames"


def watch_causes(blame: Blame) -> None:
    """Call ``blame`` from now on. Idempotent."""
    if not hasattr(ResponseHeaders, _MARK):
        setattr(ResponseHeaders, _MARK, True)
        _watch_headers(blame)
        _watch_tokens(blame)
        _watch_sessions(blame)


def _watch_headers(blame: Blame) -> None:
    original = ResponseHeaders.__setitem__

    @wraps(original)
    def set_header(self: ResponseHeaders, key: Any, value: Any) -> None:
        name = key.lower() if type(key) is str and len(key) in _LENGTHS else ""
        if name in _WATCHED:
            before = _words(self.get(key, ""))
            original(self, key, value)
            for word in _words(self[key]):
                if word not in before:
                    blame(f"{name}:{word}")
        else:
            original(self, key, value)

    ResponseHeaders.__setitem__ = set_header  # type: ignore[method-assign]  # the purpose


_WATCHED = frozenset({"vary", "cache-control"})
_LENGTHS = frozenset(map(len, _WATCHED))


def _words(value: str) -> Iterable[str]:
    """The names in a header: those of ``Vary``, the directives of ``Cache-Control``."""
    return [word.partition("=")[0].strip().lower() for word in value.split(",")]


def _watch_tokens(blame: Blame) -> None:
    # What get_token() calls last, by its module's name for it: others have get_token by theirs.
    original = getattr(django_csrf, "_mask_cipher_secret", None)
    if original is None:
        return

    @wraps(original)
    def _mask_cipher_secret(secret: Any) -> Any:
        blame("csrf")
        return original(secret)

    django_csrf._mask_cipher_secret = _mask_cipher_secret  # type: ignore[attr-defined]  # private


def _watch_sessions(blame: Blame) -> None:
    # Every engine of Django's or of others' derives from it.
    if "accessed" not in vars(SessionBase):
        SessionBase.accessed = _Accessed(blame)  # type: ignore[assignment]  # a descriptor of it


class _Accessed:
    """``SessionBase.accessed``, an attribute of each session as before."""

    def __init__(self, blame: Blame) -> None:
        self._blame = blame

    def __get__(self, session: Any, owner: type) -> Any:
        if session is None:
            # As for a class that has no such attribute.
            raise AttributeError(f"type object {owner.__name__!r} has no attribute 'accessed'")
        try:
            return session.__dict__["accessed"]
        except KeyError:
            message = f"{type(session).__name__!r} object has no attribute 'accessed'"
            raise AttributeError(message, name="accessed", obj=session) from None

    def __set__(self, session: Any, value: Any) -> None:
        session.__dict__["accessed"] = value
        if value:
            self._blame("session")

    def __delete__(self, session: Any) -> None:
        try:
            del session.__dict__["accessed"]
        except KeyError:
            raise AttributeError("accessed") from None
