"""The Python API: the site's report, and bringing this process's records to the store."""

import time
from collections.abc import Iterable
from datetime import datetime
from itertools import chain

from django.conf import settings

from cache_monitor import joining
from cache_monitor.backends.explicit import PATH as EXPLICIT_PATH
from cache_monitor.collector import Pending
from cache_monitor.conf import Conf, get_conf
from cache_monitor.reports.build import Material, Period, build
from cache_monitor.reports.schema import Report
from cache_monitor.stores.base import Kind, Row, StoreError
from cache_monitor.stores.opening import get_store

DEFAULT_PERIOD = 3600.0


class UnknownAlias(ValueError):
    """An alias that is not in ``CACHES``."""


def report(
    since: datetime | None = None, until: datetime | None = None, alias: str | None = None
) -> Report:
    """The statistics of every cache, or of ``alias``, from ``since`` (default: an hour before
    ``until``) to ``until`` (default: now); naive times are in the system's zone.

    What this process has recorded is in it, flushed or not. A store that cannot be read is no
    error: the report then says how many calls are missing, and :func:`store_problem` why.

    Raises :class:`UnknownAlias`, and ``ValueError`` where ``since`` is not before ``until``.
    """
    if alias is not None and alias not in settings.CACHES:
        known = ", ".join(map(repr, settings.CACHES))
        raise UnknownAlias(f"There is no cache {alias!r} in CACHES; there is {known}.")
    period = _period(since, until)
    pending = joining.collector.pending()
    windows, looks = _stored_rows(period, alias)
    conf = get_conf()
    material = Material(
        backends={name: backend_path(name) for name in settings.CACHES if alias in (None, name)},
        windows=_with_pending(windows, pending, period, alias),
        looks=looks,
        dropped=pending.dropped,
    )
    return build(material, period, hot_keys=conf.hot_keys, fresh_for=_freshness(conf))


def flush() -> bool:
    """Bring what this process has recorded to the store now; False where the store refuses it,
    for the reason that :func:`store_problem` gives."""
    return joining.collector.flush()


def store_problem() -> str | None:
    """What is wrong with the store, in a sentence that says what to do; None where nothing is."""
    try:
        next(iter(get_store().read("look", 0, 1, None)), None)
    except StoreError as error:
        return str(error)
    return joining.collector.problem


def backend_path(alias: str) -> str:
    """The dotted path of the backend of ``alias``: the real one where it is wrapped."""
    entry = settings.CACHES[alias]
    path = entry.get("BACKEND")
    return str(entry.get("WRAPS") if path == EXPLICIT_PATH else path)


def _period(since: datetime | None, until: datetime | None) -> Period:
    now = time.time()
    end = now if until is None else until.timestamp()
    begin = end - DEFAULT_PERIOD if since is None else since.timestamp()
    if begin >= end:
        raise ValueError("since must be before until.")
    return Period(begin, end, now)


def _stored_rows(period: Period, alias: str | None) -> tuple[list[Row], list[Row]]:
    try:
        store = get_store()
        window: Kind = "window"
        windows = list(store.read(window, _first_start(period), _end(period), alias))
        return windows, list(store.read("look", 0, 1, alias))
    except StoreError:
        return [], []


def _with_pending(
    stored: Iterable[Row], pending: Pending, period: Period, alias: str | None
) -> Iterable[Row]:
    """The stored rows, but for those of which this process has a newer form."""
    newer = {
        row[:5]: row
        for row in pending.rows
        if alias in (None, row.alias) and _first_start(period) <= row.start < _end(period)
    }
    return chain((row for row in stored if row[:5] not in newer), newer.values())


def _first_start(period: Period) -> int:
    """Windows are reported whole, so the one that ``since`` falls into is in."""
    return int(period.since) // joining.WINDOW_SECONDS * joining.WINDOW_SECONDS


def _end(period: Period) -> int:
    return int(period.until) + 1


def _freshness(conf: Conf) -> float:
    """Seconds after which a process that has not looked again has ended."""
    return 2 * conf.inspect_interval + 2 * conf.flush_interval
