"""Somebody asks for a page: what is asked, and what a page answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from django.utils.functional import Promise

from cache_monitor.dashboard.links import Links
from cache_monitor.dashboard.query import Query
from cache_monitor.dashboard.sheets import AnySheet
from cache_monitor.reports.schema import Report


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody who asks for a page: what is asked, the report that answers, and what the
    user may do."""

    query: Query
    report: Report
    links: Links
    before: Report | None
    """The report of the period before, where the page compares with it."""
    has_perm: Callable[[str], bool]

    def may(self, permission: str) -> bool:
        """Whether the user has a permission of the dashboard."""
        return self.has_perm(f"cache_monitor.{permission}")


@dataclass(frozen=True, slots=True)
class Content:
    """What a page shows: tables that the URL arranges, and whatever else its template needs.

    ``stored`` are tables that can be downloaded besides."""

    sheets: Sequence[AnySheet] = ()
    stored: Sequence[AnySheet] = ()
    context: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """One page. ``name`` is that of its URL and of its template, ``tables`` are those that the URL
    arranges, ``own`` its other parameters."""

    name: str
    title: str | Promise
    build: Callable[[Visit], Content]
    tables: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
