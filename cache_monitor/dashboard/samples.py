"""Some keys that a view or a key group found, and some that it missed."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from django.utils.translation import gettext as _

from cache_monitor.dashboard.links import Links
from cache_monitor.dashboard.sheets import Caches, Of, Sheet, cache_column, coded, worded
from cache_monitor.reports.schema import KeyGroup, View


class Sample(NamedTuple):
    """A key that was found, or missed; ``group`` is empty where it is not known."""

    hit: bool
    key: str
    group: str


def of_group(caches: Caches, links: Links, group: str) -> Sheet[Of[Sample]]:
    """Samples of the keys of ``group``."""
    every = [
        Of(alias, sample)
        for alias, cache in caches.items()
        for it in cache.key_groups
        if it.group == group
        for sample in _samples(it, group)
    ]
    return _sheet(caches, links, every)


def of_view(caches: Caches, links: Links, view: str) -> Sheet[Of[Sample]]:
    """Samples of the keys that the requests of ``view`` asked for."""
    every = [
        Of(alias, sample)
        for alias, cache in caches.items()
        for it in cache.views
        if it.view == view
        for sample in _samples(it, "")
    ]
    return _sheet(caches, links, every)


def _samples(it: View | KeyGroup, group: str) -> Iterator[Sample]:
    yield from (Sample(True, key, group) for key in it.sample_hits)
    yield from (Sample(False, key, group) for key in it.sample_misses)


def _sheet(caches: Caches, links: Links, every: Sequence[Of[Sample]]) -> Sheet[Of[Sample]]:
    return Sheet(
        "samples",
        _("Samples of hits and misses"),
        [
            coded(
                "key",
                _("Key"),
                lambda each: each.it.key,
                lambda each: links.entry(each.alias, each.it.key, each.it.group),
            ),
            *cache_column(caches),
            worded("outcome", _("Outcome"), lambda each: _("hit") if each.it.hit else _("miss")),
        ],
        every,
        note=_("Up to five of each, of every cache: some that were asked for, not all."),
        empty=_("No key was looked up in this period."),
        searched=False,
    )
