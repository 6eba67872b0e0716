"""The Python API: the site's report, and bringing this process's records to the store."""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime

from django.conf import settings

from cache_monitor import joining
from cache_monitor.backends.explicit import PATH as EXPLICIT_PATH
from cache_monitor.conf import Conf, get_conf
from cache_monitor.reports.build import Material, Period, build
from cache_monitor.reports.schema import Report
from cache_monitor.rollup import longest
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
    stored = _Stored(period, alias, pending.rows)
    material = Material(
        backends={name: backend_path(name) for name in settings.CACHES if alias in (None, name)},
        windows=stored.rows("window"),
        details=stored.rows("details"),
        looks=stored.looks(),
        dropped=pending.dropped,
    )
    return build(material, period, fresh_for=_freshness(get_conf()))


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


class _Stored:
    """The rows of a period, with those in their place of which this process has a newer form.

    Where the store cannot be read there are only this process's own; it is not asked again.
    """

    def __init__(self, period: Period, alias: str | None, pending: Sequence[Row]) -> None:
        self._period = period
        self._alias = alias
        self._pending = [row for row in pending if alias in (None, row.alias)]
        self._can_be_read = True

    def rows(self, kind: Kind) -> Iterator[Row]:
        """Whatever overlaps the period; stretches are reported whole.

        One read for rows of all lengths: between two, a roll-up could move a row from one to the
        other.
        """
        since, until = int(self._period.since), int(self._period.until) + 1
        newer = {row[:5]: row for row in self._pending if row.kind == kind}
        begin = since - longest(kind, self._period.now - since)
        stored = (row for row in self._read(kind, begin, until) if row[:5] not in newer)
        for row in (*stored, *newer.values()):
            if row.start < until and row.start + row.seconds > since:
                yield row

    def looks(self) -> list[Row]:
        """What was last seen inside the caches."""
        return self._read("look", 0, 1)

    def _read(self, kind: Kind, since: int, until: int) -> list[Row]:
        if self._can_be_read:
            try:
                return list(get_store().read(kind, since, until, self._alias))
            except StoreError:
                self._can_be_read = False
        return []


def _freshness(conf: Conf) -> float:
    """Seconds after which a process that has not looked again has ended."""
    return 2 * conf.inspect_interval + 2 * conf.flush_interval
