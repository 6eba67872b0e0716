"""What became of a page, in words: for people, and for the header ``Cache-Status`` (RFC 9211)."""

from django.utils.translation import gettext as _

from cache_monitor.page_cache.outcomes import PagePass

_DECORATORS = ("django/views/decorators/", "django/utils/decorators")


def not_stored(reason: str, detail: str = "") -> str:
    """Why an answer was not stored; ``detail`` is what
    :mod:`cache_monitor.page_cache.outcomes` adds."""
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
