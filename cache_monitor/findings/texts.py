"""What each finding is called, what to do about it, and where it is explained.

An advice says what was seen, why that matters, and what to do, in the words of Django's
documentation, with the setting or the call to change. A report is read by several
people and by programs, so what it says is English; :func:`in_words` says it to one reader.
"""

import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata
from threading import current_thread, main_thread
from typing import NamedTuple

from django.conf import settings
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override

from cache_monitor.reports import Finding

Text = str | Promise

TITLES: Mapping[str, Text] = {
    "backend-errors": _("Calls fail"),
    "dummy-backend": _("Cache that stores nothing"),
    "local-memory-many-processes": _("A memory for each process"),
    "evicted-early": _("Evicted early"),
    "lost-entries": _("Entries lost"),
    "large-values": _("Large values"),
    "clear-under-traffic": _("Cleared under traffic"),
    "stampede": _("Stampede"),
    "short-timeout": _("Short timeout"),
    "unchanged-rewrites": _("Written anew, unchanged"),
    "no-expiry": _("No expiry"),
    "aged-content": _("Old content"),
    "expired-stored": _("Expired entries fill the store"),
    "page-not-stored": _("Page that is never stored"),
    "never-read": _("Never read"),
    "overwritten": _("Overwritten before it is read"),
    "key-explosion": _("Keys that are never asked for twice"),
    "deleted-early": _("Deleted before it is read"),
    "single-gets": _("Single gets in a loop"),
    "repeated-gets": _("The same get again and again"),
    "cheap-to-recompute": _("Cheap to recompute"),
    "hot-key": _("Hot key"),
    "low-hit-ratio": _("Low hit ratio"),
    "never-stored": _("Asked for, never stored"),
    "cache-bound-view": _("A view that waits for the cache"),
}
"""By code."""

ADVICE: Mapping[str, Text] = {
    "backend-errors": _(
        "Calls of CACHES['%(alias)s'] raised. A view that does not catch that fails with it, "
        "and where it is caught the value is missing. See the site's log for what %(backend)s "
        "raises, and whether its server can be reached at LOCATION."
    ),
    "dummy-backend": _(
        "CACHES['%(alias)s'] has the dummy backend, which stores nothing, so every lookup "
        "misses and each value is computed anew. Dummy caching is for development: name a real "
        "backend in the settings of this site."
    ),
    "local-memory-many-processes": _(
        "Several processes use CACHES['%(alias)s'], and with local-memory caching each has its "
        "own private cache: each computes what the others have stored, and serves what they "
        "have deleted. Use Redis or Memcached, which all processes share."
    ),
    "evicted-early": _(
        "Entries were evicted before their timeout, because there is no room for them, and were "
        "asked for again: their values are computed once more. Raise %(limit)s, or cache less."
    ),
    "lost-entries": _(
        "Entries of CACHES['%(alias)s'] were gone before their timeout though nothing was "
        "evicted, so their values are computed once more. Look for what takes them away: a "
        "restart of the server, a flush from outside, a directory that is emptied, refused "
        "writes, a replica that lags."
    ),
    "large-values": _(
        "Values under “%(what)s” are large. Each get() waits until all of it has come and is "
        "unpickled, and Memcached refuses values over 1 MiB. Cache only what its readers need, "
        "or parts of it under keys of their own."
    ),
    "clear-under-traffic": _(
        "caches['%(alias)s'].clear() was called while the site was in use. It deletes "
        "everything in the cache, and all visitors wait for values that are computed at once. "
        "Delete the keys whose content has changed, or raise their version with "
        "cache.incr_version()."
    ),
    "stampede": _(
        "Several requests found no value for “%(what)s” and computed it at the same time, where "
        "one of them would do. Let one compute it while the others wait or take the old value: "
        "guard it by cache.add(“%(what)s:lock”, 1, timeout=30), or renew it before its timeout."
    ),
    "short-timeout": _(
        "Most misses of “%(what)s” are of entries that had expired, and were asked for again: "
        "their values are computed anew each time. Set a longer timeout, and delete the keys "
        "where their content changes if it must be fresh."
    ),
    "unchanged-rewrites": _(
        "Entries of “%(what)s” expire and are computed anew, and nearly always that brings the "
        "same value. Set a longer timeout: manage.py cache_whatif tells what it would hit, and how "
        "many old values it would serve."
    ),
    "no-expiry": _(
        "Many entries have no timeout. They stay until the cache is full, whether or not anybody "
        "asks for them. Pass a timeout to set(), or set TIMEOUT in CACHES['%(alias)s']."
    ),
    "aged-content": _(
        "Hits on “%(what)s” got values that were stored long ago, so visitors may see what has "
        "changed since. Set a shorter timeout, or delete the keys where their content is saved."
    ),
    "expired-stored": _(
        "Entries of CACHES['%(alias)s'] that have expired take up much of its room: this "
        "backend deletes them only when it culls or when somebody asks for them. Lower "
        "MAX_ENTRIES in OPTIONS, or clear the cache by a nightly job."
    ),
    "page-not-stored": _(
        "cache_page decorates “%(what)s”, and none of its responses was ever stored, so the "
        "view runs for every request. The evidence says why, and which line of code led to it: "
        "change that, or remove the decorator."
    ),
    "never-read": _(
        "Entries of “%(what)s” were stored, and half of their timeout later hardly anybody had "
        "asked for them. To compute and store them is work in vain, and they take up room. See "
        "who is meant to ask for them, and under which key, or do not store them."
    ),
    "overwritten": _(
        "Entries of “%(what)s” were set again before anybody had read them, or as a whole each "
        "time that one was read. Each set() sends the whole value. Set them less often, or "
        "store each part under a key of its own."
    ),
    "key-explosion": _(
        "Nearly every key of “%(what)s” was asked for once and then stored, never to be found. "
        "Leave out of the key what makes each one unique: a time, a random part, a cookie that "
        "the page varies on, a query string that the view does not read."
    ),
    "deleted-early": _(
        "Entries of “%(what)s” were deleted before they were read as often, and their values "
        "are computed anew for the next request. Delete a key only where its content has "
        "changed."
    ),
    "single-gets": _(
        "Requests got many keys of “%(what)s” one by one, and each get() is a round trip to the "
        "server. Get them all by one cache.get_many() before the loop."
    ),
    "repeated-gets": _(
        "Requests got the same keys of “%(what)s” again and again, by get() or get_many(), and "
        "waited for the cache each time. Get the value once in a request, and pass it on."
    ),
    "cheap-to-recompute": _(
        "To look “%(what)s” up took as long as to compute it, so the cache saves no time. It "
        "may have another use: all its readers get one and the same value. If they need not, "
        "compute it where it is used."
    ),
    "never-stored": _(
        "Requests asked for “%(what)s” again and again, and nothing was ever set or found under "
        "it, so each lookup is in vain. See why cache.set() is not reached, or sets another key "
        "or version. If a missing entry is the answer, ask for it once in a request."
    ),
    "cache-bound-view": _(
        "Requests of this view made many cache calls and waited for them for much of their "
        "time. Get the keys of “%(what)s” by one cache.get_many(), or cache what is made of "
        "them: a template fragment, or the page."
    ),
    "hot-key": _(
        "“%(what)s” takes an outsized share of all lookups, and these take much time. Get it once "
        "in a request, or keep it for some seconds in a second cache in local memory."
    ),
    "low-hit-ratio": _(
        "“%(what)s” was set again and again and hardly ever found, so its values are computed "
        "for most of those who ask. The reasons of its misses say why: set a longer timeout, or "
        "build keys that more requests share."
    ),
}
"""By code. ``what`` is the key or the group, ``limit`` the setting that bounds the cache."""

_OF_ENTRIES = _("MAX_ENTRIES in OPTIONS of CACHES['%(alias)s']")
_OF_MEMCACHED = _("the server's memory (memcached -m)")
_LIMITS: Mapping[str, Text] = {
    "LocMemCache": _OF_ENTRIES,
    "FileBasedCache": _OF_ENTRIES,
    "DatabaseCache": _OF_ENTRIES,
    "RedisCache": _("maxmemory in the server's redis.conf"),
    "PyMemcacheCache": _OF_MEMCACHED,
    "PyLibMCCache": _OF_MEMCACHED,
}
_SOME_LIMIT = _("the cache's limit")


class Words(NamedTuple):
    """A finding's title, and the advice on it."""

    title: str
    advice: str


def advice(code: str, alias: str, backend: str, what: str | None) -> str:
    """The advice on a finding, in English; ``backend`` is the dotted path of the cache's."""
    # Without a language a text is as it is written here.
    with override(None):
        return _advice(code, alias, backend, what)


def in_words(finding: Finding, backend: str) -> Words:
    """What ``finding`` is called and its advice, in the language that is active. An advice that is
    not ours stays as it is."""
    place = finding.code, finding.alias, backend, finding.key or finding.group
    if finding.code not in ADVICE or finding.advice != advice(*place):
        return Words(str(TITLES.get(finding.code, finding.code)), finding.advice)
    return Words(str(TITLES[finding.code]), _advice(*place))


def _advice(code: str, alias: str, backend: str, what: str | None) -> str:
    limit = str(_LIMITS.get(backend.rpartition(".")[2], _SOME_LIMIT)) % {"alias": alias}
    named = {"alias": alias, "backend": backend, "limit": limit}
    return str(ADVICE[code]) % {**named, "what": what or ""}


DISTRIBUTION = "django-cache-monitor"
ANCHOR = "finding-{code}"
README = "README.md"
PAGE = "admin:cache_monitor_findings"
"""The dashboard's page that explains all findings."""


def docs_url(code: str) -> str:
    """The URL of the section on the finding ``code``: of the project's documentation, where the
    installed package names such; else a path on this site, of the admin's page of the findings;
    without an admin, the section of the package's README."""
    anchor = ANCHOR.format(code=code)
    return f"{_published() or _on_this_site() or README}#{anchor}"


@cache
def _published() -> str | None:
    """The URL that the package's metadata has for its documentation."""
    try:
        urls = metadata(DISTRIBUTION).get_all("Project-URL") or []
    except PackageNotFoundError:  # run from its sources
        return None
    pairs = (str(url).partition(",") for url in urls)
    named = {label.strip().lower(): address.strip() for label, _, address in pairs}
    return named.get("documentation")


def _on_this_site() -> str | None:
    is_of_the_monitor = current_thread() is not main_thread()
    if is_of_the_monitor and getattr(settings, "ROOT_URLCONF", None) not in sys.modules:
        # The site's views are not to be imported by a thread that it does not know of.
        return None
    try:
        return reverse(PAGE)
    except Exception:
        # No admin, or URLs that are broken, which is not for a report to tell.
        return None
