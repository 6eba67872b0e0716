"""From passes through the page cache to the statistics of pages."""

from cache_monitor.pages.passes import PagePass
from cache_monitor.stacks.rendering import caller_of
from cache_monitor.stats.pages import PageStats, add_hashes, count_word

_MOST_TEXT = 300
VARIANT = "variant"
"""What ``causes`` has the line under that makes a stored page vary."""
OTHER_KEY = "other_key"
UNVARIED = "unvaried"
"""And the line that makes a page one visitor's own which is stored for all."""


def count(page_pass: PagePass, stats: PageStats) -> None:
    """Count ``page_pass`` in the statistics of its page."""
    stats.site_wide += not page_pass.is_decorated
    if page_pass.fetch == "bypass":
        stats.bypassed += 1
        return
    if page_pass.fetch == "hit":
        stats.served += 1
    else:
        _count_made(page_pass, stats)
    add_hashes(stats.paths, () if page_pass.path is None else (page_pass.path,))
    add_hashes(stats.addresses, () if page_pass.address is None else (page_pass.address,))
    if page_pass.fetch == "hit" or page_pass.stored:
        add_hashes(stats.variants, () if page_pass.variant is None else (page_pass.variant,))


def _count_made(page_pass: PagePass, stats: PageStats) -> None:
    if page_pass.missed is not None:
        count_word(stats.missed, page_pass.missed)
        if page_pass.missed == OTHER_KEY:
            stats.details.setdefault(OTHER_KEY, page_pass.detail[:_MOST_TEXT])
    stats.made += 1
    stats.made_seconds += page_pass.seconds
    if page_pass.stored:
        stats.stored += 1
        for header in page_pass.varies:
            count_word(stats.varies, header[:32])
    elif page_pass.reason is not None:
        stats.not_stored_seconds += page_pass.seconds
        count_word(stats.not_stored, page_pass.reason)
        if page_pass.detail and page_pass.reason not in stats.details:
            stats.details[page_pass.reason] = page_pass.detail[:_MOST_TEXT]
    _note_cause(page_pass, stats)


def _note_cause(page_pass: PagePass, stats: PageStats) -> None:
    unvaried = page_pass.unvaried()
    word = UNVARIED if unvaried else VARIANT if page_pass.stored else page_pass.reason
    if word is None or word in stats.causes:
        return
    cause = unvaried or page_pass.cause()
    place = None if cause is None else caller_of(cause[1])
    if cause is not None and place is not None:
        stats.causes[word] = f"{cause[0]} {place.where}"[:_MOST_TEXT]
