"""One request's pass through Django's page cache: what was found, what was stored, and why not.

The words here are those of the report; the faces say them in sentences.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from cache_monitor.stacks.capture import RawStack

Fetch = Literal["hit", "miss", "bypass", "none"]
"""What ``FetchFromCacheMiddleware`` did: found the page, did not find it, did not look for it (the
method), or was not asked."""

Missed = Literal["header_list", "page", "other_key"]
"""What was not there: the list of headers that the page varies by, which is stored with each page,
or, with a list at hand, the page itself in this variant. ``other_key``: the page was stored for
another language or time zone than it was looked up for, where nobody who asks like this finds
it."""

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
"""Why the response was not stored, in the order in which ``UpdateCacheMiddleware`` asks.

``method``: neither GET nor HEAD. ``no_fetch``: ``FetchFromCacheMiddleware`` was not asked, which
alone decides that a response may be stored. ``inner``: a ``cache_page`` further in has served it.
``disabled``: somebody set
``request._cache_update_cache`` to False after it had decided otherwise. ``cookie``: the response
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
    missed: Missed | None = None
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
        """What in the project's code led to the reason, and where, if that was seen."""
        for name in self._suspects():
            if name in self.blame:
                return name, self.blame[name]
        return None

    def unvaried(self) -> tuple[str, RawStack] | None:
        """What in the project's code made the page one visitor's own, and where, though it is
        stored for all: whoever adds ``Vary: Cookie`` does so after it was stored."""
        if self.stored and "cookie" not in self.varies:
            for name in ("session", "csrf"):
                if name in self.blame:
                    return name, self.blame[name]
        return None

    def _suspects(self) -> tuple[str, ...]:
        if self.reason == "cookie":
            # Who set the cookie, rather than who only made the response vary by it.
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
"""What makes a page vary by a header, the likeliest cause that the project can change first."""
