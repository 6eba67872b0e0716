"""What each finding is called, and what to do about it, in the language of whoever reads it.

An advice is a sentence or two that name the setting or the call. A report is read by several
people and by programs, so what it says is English; :func:`in_words` says it to one reader.
"""

from collections.abc import Mapping
from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override

from cache_monitor.reports.schema import Finding

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
        "See the site's log for what %(backend)s raises, and whether its server at LOCATION of "
        "CACHES['%(alias)s'] can be reached."
    ),
    "dummy-backend": _(
        "Name a real backend in CACHES['%(alias)s']: DummyCache stores nothing, so every lookup "
        "misses."
    ),
    "local-memory-many-processes": _(
        "Use Redis or memcached for CACHES['%(alias)s']: every process has a LocMemCache of its "
        "own, misses what the others have stored, and serves what they have deleted."
    ),
    "evicted-early": _(
        "Raise %(limit)s, or cache less: entries go before their time because there is no room for "
        "them."
    ),
    "lost-entries": _(
        "Look for what takes the entries of CACHES['%(alias)s'] away: a restart of its server, "
        "a flush from outside, a directory that is emptied, refused writes, a replica that lags. "
        "They were gone before their time, and nothing was evicted."
    ),
    "large-values": _(
        "Store less under “%(what)s”: only what its readers need, or in parts. Each reader waits "
        "for all of it, and memcached refuses values over 1 MiB."
    ),
    "clear-under-traffic": _(
        "Delete the entries that have changed, or raise a version in their keys, instead of "
        "caches['%(alias)s'].clear(): it empties the cache for everybody, and all values are "
        "produced anew at once."
    ),
    "stampede": _(
        "Let one caller produce “%(what)s” while the others wait or take the old value: guard it "
        "by cache.add(“%(what)s:lock”, 1, timeout=30), or renew it before it expires."
    ),
    "short-timeout": _(
        "Raise the timeout of “%(what)s”: its entries expire although they are asked for again, "
        "and are produced anew each time."
    ),
    "no-expiry": _(
        "Give “%(what)s” a timeout, in the call or by TIMEOUT in CACHES['%(alias)s']: entries "
        "without one stay until the cache is full."
    ),
    "aged-content": _(
        "Lower the timeout of “%(what)s”, or delete its entries where their content changes: "
        "visitors see old values."
    ),
    "expired-stored": _(
        "Lower MAX_ENTRIES in OPTIONS of CACHES['%(alias)s'], or clear it by a nightly job: this "
        "backend keeps expired entries until it is full."
    ),
    "page-not-stored": _(
        "cache_page stands above “%(what)s”, and no answer of it is ever stored: see the evidence "
        "for why, and the line of code that led to it. Remove that, or the cache_page."
    ),
    "never-read": _(
        "Look who is meant to ask for “%(what)s”, or do not store it: its entries were written, "
        "and half of their timeout later hardly anybody had asked for them. They take up work "
        "and room that other entries could have."
    ),
    "overwritten": _(
        "Set “%(what)s” less often, or store each part under a key of its own: its entries are "
        "replaced before anybody has read them, or written as a whole each time that one is read."
    ),
    "key-explosion": _(
        "Leave out of the keys of “%(what)s” what makes each of them one of its kind, such as a "
        "time, a cookie, a random part or a query string that the page does not read: their "
        "entries are never found again."
    ),
    "deleted-early": _(
        "Delete “%(what)s” only where its content has changed: entries are deleted before they are "
        "read."
    ),
    "single-gets": _(
        "Ask for “%(what)s” by one get_many() before the loop, in place of a get() in each round: "
        "every call waits for the server."
    ),
    "repeated-gets": _(
        "Get “%(what)s” once in a request and hand the value on: requests ask for the same entry, "
        "or for the same ones by get_many(), again and again, and wait each time."
    ),
    "cheap-to-recompute": _(
        "See whether “%(what)s” needs a cache: to look a value up took as long as to produce it. "
        "Without the cache each reader saves a call; with it they all read one and the same value."
    ),
    "never-stored": _(
        "See why cache.set() is never reached for “%(what)s”: requests asked for it again and "
        "again, and nothing was stored or found under it. If a missing entry is the answer, get it "
        "once in a request."
    ),
    "cache-bound-view": _(
        "Make fewer calls in this view: its requests waited for the cache for much of their time. "
        "Get “%(what)s” by one get_many() for the whole page, or cache what is made of it."
    ),
    "hot-key": _(
        "Read “%(what)s” once in a request, or keep it for some seconds in the process's own "
        "memory: everybody waits for the one place that has it."
    ),
    "low-hit-ratio": _(
        "See the reasons of the misses of “%(what)s”: it was stored again and again and hardly "
        "ever found, so its values are made anew for most of those who ask. A longer timeout, or "
        "keys that more of them share, would change that."
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
_SOME_ENTRIES = _("these entries")


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
    return str(ADVICE[code]) % {**named, "what": what or str(_SOME_ENTRIES)}
