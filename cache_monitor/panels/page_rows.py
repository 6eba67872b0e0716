"""What became of the request in Django's page cache, in a few sentences."""

from collections.abc import Iterator, Mapping, Sequence

from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from cache_monitor.keys.naming import name_key
from cache_monitor.pages import sentences
from cache_monitor.pages.passes import PagePass
from cache_monitor.panels.reasons import Places
from cache_monitor.panels.rows import Row
from cache_monitor.stacks.rendering import caller_of


def page_row(page_pass: PagePass) -> Row:
    """``page_pass`` in plain values that JSON can hold."""
    cause = page_pass.cause()
    place = None if cause is None else caller_of(cause[1])
    unvaried = page_pass.unvaried()
    unvaried_place = None if unvaried is None else caller_of(unvaried[1])
    key = page_pass.looked_up or page_pass.looked_up_list or page_pass.key
    return {
        "alias": page_pass.alias,
        "fetch": page_pass.fetch,
        "missed": page_pass.missed,
        # As the rows of the calls name it.
        "key": None if key is None else name_key(key, page_pass.alias)[0],
        "varies": list(page_pass.varies),
        "age": page_pass.age,
        "ttl": page_pass.ttl,
        "stored": page_pass.stored,
        "reason": page_pass.reason,
        "detail": page_pass.detail[:200],
        "cause": f"{cause[0]} {place.where}" if cause and place else None,
        "unvaried": (
            f"{unvaried[0]} {unvaried_place.where}" if unvaried and unvaried_place else None
        ),
    }


def page_sentences(
    page: Row, rows: Sequence[Row], reasons: Places, words: Mapping[str, Promise]
) -> list[str]:
    """What became of the request, for the panel; ``words`` are those for the reasons of misses."""
    return list(_sentences(page, rows, reasons, words))


def _sentences(
    page: Row, rows: Sequence[Row], reasons: Places, words: Mapping[str, Promise]
) -> Iterator[str]:
    if page["fetch"] == "hit":
        yield _served(page)
        return
    if page["fetch"] == "miss":
        yield _("This page was not served from the cache.")
        yield sentences.missed(page["missed"], tuple(page["varies"]), page["detail"])
        if page["missed"] != "other_key" and (reason := _reason(page, rows, reasons)):
            yield _("Why: %(reason)s.") % {"reason": words[reason]}
    if page["stored"]:
        yield (
            _("It is stored now.")
            if page["ttl"] is None
            else _("It is stored now, for %(seconds)s s.") % {"seconds": _number(page["ttl"])}
        )
    elif page["stored"] is False:
        yield _("It was not stored.")
        yield sentences.not_stored(page["reason"], page["detail"])
    if page["unvaried"]:
        yield sentences.unvaried(page["unvaried"])
    elif page["cause"]:
        yield sentences.cause(page["cause"])


def _served(page: Row) -> str:
    if page["age"] is None:
        return _("This page was served from the cache.")
    return _("This page was served from the cache, %(age)s s after it was stored.") % {
        "age": _number(page["age"])
    }


def _reason(page: Row, rows: Sequence[Row], reasons: Places) -> str | None:
    """Why the last call for the page missed, where that is known."""
    for number in range(len(rows) - 1, -1, -1):
        for place, each in enumerate(rows[number]["keys"]):
            if each["hit"] is False and each["key"] == page["key"]:
                return reasons.get((number, place))
    return None


def _number(value: float) -> str:
    return number_format(round(value), force_grouping=True)
