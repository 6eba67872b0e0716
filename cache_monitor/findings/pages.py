"""Mistakes with whole pages in the cache."""

from collections.abc import Iterator

from cache_monitor.findings.case import Case, Cost
from cache_monitor.reports.schema import Finding, Page

_ON_PURPOSE = frozenset({"method", "inner", "status", "streaming", "error", "unknown", "dummy"})
"""Reasons that a project means, or that another finding tells of."""


def page_not_stored(case: Case) -> Iterator[Finding]:
    """A page behind ``cache_page`` was asked for ``min_calls`` times and never stored, and to make
    it anew each time costs more than ``lost_share`` of a worker's time."""
    for page in case.cache.pages:
        reason = _reason(page)
        if (
            page.is_decorated
            and page.requests >= case.limits.min_calls
            and not page.served
            and not page.stored
            and reason is not None
            and case.is_costly(page.not_stored_seconds)
        ):
            yield case.find(
                "page-not-stored",
                "warning",
                [
                    ("requests", page.requests),
                    ("reason", reason),
                    ("detail", page.details.get(reason)),
                    ("cause", page.causes.get(reason)),
                    ("lost_seconds", round(page.not_stored_seconds, 3)),
                ],
                group=page.page,
                cost=Cost(page.not_stored_seconds),
            )


def _reason(page: Page) -> str | None:
    """What kept most of its answers out; None where that may be meant."""
    kept_out = {why: count for why, count in page.not_stored.items() if why not in _ON_PURPOSE}
    most = max(kept_out, key=lambda why: (kept_out[why], why), default=None)
    return most if most is not None and 2 * kept_out[most] > page.requests else None
