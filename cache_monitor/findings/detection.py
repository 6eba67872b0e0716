"""The findings of a report, and of the site by now."""

from collections.abc import Callable, Iterable, Sequence

from django.conf import settings

from cache_monitor.conf import get_conf
from cache_monitor.findings import sightings
from cache_monitor.findings.case import Circumstances
from cache_monitor.findings.find import find
from cache_monitor.findings.processes import running
from cache_monitor.findings.telling import tell
from cache_monitor.reports.schema import Finding, Report
from cache_monitor.stores.base import Row, Store
from cache_monitor.thresholds import Thresholds


def detected(report: Report, windows: Iterable[Row], until: float) -> list[Finding]:
    """All findings of ``report``, muted ones too, which was made of ``windows`` and ends at
    ``until`` (Unix time)."""
    circumstances = Circumstances(is_debug=settings.DEBUG, processes=running(windows, until))
    return find(report.caches, circumstances, Thresholds.of(get_conf().findings))


def watch(store: Store, look: Callable[[], Sequence[Finding]], now: float) -> None:
    """Note what ``look`` finds at ``now``, and tell of what is new. Raises :class:`StoreError`."""
    tell(sightings.note(store, look(), now))
