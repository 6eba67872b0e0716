"""The Python API: the site's report, of a period as people write it, and bringing this process's
records to the store.
"""

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from msgspec import structs

from cache_monitor import concurrency
from cache_monitor.calls import SOURCE, RawCall, outcomes_of
from cache_monitor.conf import backend_path, get_conf
from cache_monitor.findings import history
from cache_monitor.findings.engine import detected, watch
from cache_monitor.keys.grouping import learned
from cache_monitor.reports import Finding, Report, build
from cache_monitor.reports.caches import ReportPeriod
from cache_monitor.reports.traced import newer, newer_rows
from cache_monitor.stats.details import Details
from cache_monitor.stats.window import rfc3339
from cache_monitor.stores import base
from cache_monitor.stores.base import (
    Identity,
    Kind,
    Row,
    Store,
    StoreError,
    close_connections_of_this_thread,
    get_store,
    session,
)
from cache_monitor.stores.rows import known_groups, longest, trace_settings
from cache_monitor.trace import MISS, SECOND, hash_of
from cache_monitor.trace.miss_reasons import Reason
from cache_monitor.worker import wiring
from cache_monitor.worker.trace_events import accesses_of, entry_identity

DEFAULT_PERIOD = 3600.0
_NEAR = SECOND // 100
"""The greatest difference between the times of a miss in a call and in the trace: they are of two
clocks."""

P = ParamSpec("P")
R = TypeVar("R")


def off_loop(function: Callable[P, R]) -> Callable[P, R]:
    """Run ``function`` in a thread of its own where it is called in an event loop, which waits:
    Django forbids the use of databases there."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return function(*args, **kwargs)
        return _in_thread(partial(function, *args, **kwargs))

    return call


def _in_thread(job: Callable[[], R]) -> R:
    results: SimpleQueue[tuple[R] | BaseException] = SimpleQueue()
    language = translation.get_language()

    def run() -> None:
        result: tuple[R] | BaseException
        try:
            with translation.override(language):
                result = (job(),)
        except BaseException as error:
            result = error
        finally:
            close_connections_of_this_thread()
        results.put(result)

    concurrency.start(run, f"{concurrency.THREAD_NAME}-report", results.put)
    result = results.get()
    if isinstance(result, BaseException):
        raise result
    return result[0]


class UnknownAlias(ValueError):
    """An alias that is not in ``CACHES``."""


@off_loop
def report(
    since: datetime | None = None, until: datetime | None = None, alias: str | None = None
) -> Report:
    """The statistics of every cache, or of ``alias``, from ``since`` (default: an hour before
    ``until``) to ``until`` (default: now); naive times are in the system's zone.

    What this process has recorded is in it: it is flushed first, where there is anything new. A
    store that cannot be used is no error: the report then says how many calls are missing, and its
    ``quality.store_problem`` why.
    May be called in async code, whose event loop then waits for it; like all functions here.

    Raises :class:`UnknownAlias`, and ``ValueError`` where ``since`` is not before ``until``.
    """
    refuse_unknown(alias)
    period = _period(since, until)
    whole, noted = _report(period, alias)
    told = history.with_history(whole.findings, history.history(noted), period.now)
    return structs.replace(whole, findings=told)


@off_loop
def key_series(
    keys: Collection[str], since: datetime | None, until: datetime | None, alias: str
) -> dict[str, list[build.KeyPoint]]:
    """The use over time of ``keys`` of the cache ``alias``, named as in the report's
    ``hot_keys``: for each the same steps, at most 60. ``since`` and ``until`` are as for
    :func:`report`, and so is what it raises; a store that cannot be read is no error.

    Reads all details of the period: ask for the keys that are shown, and once for all of them.
    """
    refuse_unknown(alias)
    period = _period(since, until)
    wiring.background_worker.request_flush()
    stored = _Stored(period, alias)
    return build.key_series(keys, stored.rows("details"), period)


@off_loop
def key_details(alias: str) -> Details:
    """What is known of the keys of the cache ``alias`` in the last hour, without the reasons of
    misses: a small part of a report. A store that cannot be read is no error."""
    period = _period(None, None)
    wiring.background_worker.request_flush()
    return build.merged_details(_Stored(period, alias).rows("details"), period)


@off_loop
def reasons_of_misses(calls: Sequence[RawCall], clock_offset: float) -> list[dict[int, Reason]]:
    """For each of ``calls``, made in this process, why it missed the keys that it missed, by their
    places in it; ``clock_offset`` added to the times of the calls gives Unix time.

    The reasons are the dashboard's, of misses that are not rolled up yet: *unknown* of others, and
    where the store cannot be read."""
    wiring.background_worker.request_flush()
    try:
        misses = _newest_misses()
    except StoreError:
        misses = {}
    process, offset = wiring.background_worker.process, int(clock_offset * SECOND)
    found = []
    for call in calls:
        alias = call[SOURCE].alias
        identity = wiring.cache_identity(process, alias)
        missed = [place for place, hit in enumerate(outcomes_of(call)) if hit is False]
        reasons: dict[int, Reason] = {}
        if identity is not None:
            accesses = (each for each in accesses_of(call, identity, offset) if each.kind == MISS)
            for place, access in zip(missed, accesses, strict=False):
                key = hash_of(entry_identity(identity, access.key, access.final))
                reasons[place] = _nearest(misses.get((alias, key), ()), access.ended)
        found.append(reasons)
    return found


def _newest_misses() -> Mapping[tuple[str, int], Sequence[tuple[int, Reason]]]:
    """The times and reasons of the misses that are not rolled up yet, by alias and key."""
    found: defaultdict[tuple[str, int], list[tuple[int, Reason]]] = defaultdict(list)
    for each in newer(get_store(), trace_settings(), time.time()):
        for miss in each.result.misses:
            found[miss.alias, miss.key].append((miss.at, miss.reason))
    return found


def _nearest(misses: Sequence[tuple[int, Reason]], at: int) -> Reason:
    """The reason of the one of ``misses`` at the time ``at``."""
    near = min(misses, key=lambda each: abs(each[0] - at), default=None)
    return near[1] if near is not None and abs(near[0] - at) <= _NEAR else "unknown"


def refuse_unknown(alias: str | None) -> None:
    """Raise :class:`UnknownAlias` where CACHES has no ``alias``; None is any."""
    if alias is not None and alias not in settings.CACHES:
        known = ", ".join(map(repr, settings.CACHES))
        raise UnknownAlias(f"There is no cache {alias!r} in CACHES; there is {known}.")


def watch_findings(store: Store) -> None:
    """Note which findings there are by now, and tell of the new ones. Raises
    :class:`StoreError`."""
    period = _period(None, None)
    watch(store, lambda: _report(period, None)[0].findings, period.now)


@off_loop
def muted() -> Mapping[str, history.Mute]:
    """The findings that are not shown, by their id. Raises :class:`StoreError`."""
    return history.read(get_store()).muted


@off_loop
def mute(finding: Finding, by: str, reason: str) -> None:
    """Show ``finding`` no more, until :func:`unmute`; ``by`` is who says so. Raises
    :class:`StoreError`."""
    history.mute(get_store(), finding, by, reason, time.time())


@off_loop
def unmute(name: str) -> history.Mute | None:
    """Show the finding whose id is ``name`` again; what was muted. Raises :class:`StoreError`."""
    return history.unmute(get_store(), name, time.time())


def _report(period: ReportPeriod, alias: str | None) -> tuple[Report, list[Row]]:
    """The report with all its findings, and what is stored of findings."""
    flushed = wiring.background_worker.request_flush()
    if period.until == period.now:
        # What was flushed just now may belong to a bucket that has begun since it was asked for.
        now = time.time()
        period = ReportPeriod(period.since, now, now)
    stored = _Stored(period, alias)
    with ExitStack() as stack:
        with suppress(StoreError):
            stack.enter_context(session(get_store()))
        rows = [*stored.rows("window"), *stored.rows("details")]
        rows += stored.newest({row.identity for row in rows})
        # Of scans and predictions there is only the latest, and findings are of no alias.
        rows += stored.ask(lambda store: store.read("scan", 0, 1, alias))
        rows += stored.ask(lambda store: store.read("what_if", 0, 1, alias))
        noted = stored.ask(lambda store: store.read("finding", 0, history.ALWAYS, None))
        # Groups of keys that other processes have learned to be one.
        learned.learn(frozenset(stored.ask(known_groups)))
    material = build.Material(
        backends={name: backend_path(name) for name in settings.CACHES if alias in (None, name)},
        rows=rows,
        dropped=flushed.missing,
        store_problem=stored.problem or (None if flushed.is_flushed else flushed.problem),
    )
    conf = get_conf()
    built = build.build(
        material,
        period,
        # Who has not scanned again by then has ended.
        fresh_for=2 * conf.inspect_interval + 2 * conf.flush_interval,
        silent_after=max(build.SILENT_AFTER, 3 * conf.flush_interval),
    )
    found = detected(built, [row for row in rows if row.kind == "window"], period.until)
    return structs.replace(built, findings=found), noted


def flush() -> bool:
    """Write what this process has recorded to the store now; False where the store refuses it,
    and the log says why."""
    return wiring.background_worker.flush()


@off_loop
def store_problem() -> str | None:
    """What is wrong with the store, in a sentence that says what to do; None where nothing is."""
    try:
        next(iter(get_store().read("scan", 0, 1, None)), None)
    except StoreError as error:
        return str(error)
    return wiring.background_worker.problem


def problem_of(report: Report) -> str | None:
    """Why the store could not be read for ``report``, or is in trouble now: it may have failed
    then and be well again."""
    return report.quality.store_problem or store_problem()


def store_note() -> str | None:
    """Why the statistics are only kept in this process's memory, where nobody has asked for that,
    in a sentence; ``manage.py check`` says what to write instead."""
    with suppress(StoreError):
        return base.store_note()
    return None


def _period(since: datetime | None, until: datetime | None) -> ReportPeriod:
    now = time.time()
    # A period that ends in a thousand years would be as long in the report.
    end = now if until is None else min(until.timestamp(), now + AHEAD.total_seconds())
    begin = end - DEFAULT_PERIOD if since is None else since.timestamp()
    if begin >= end:
        raise ValueError("since must be before until.")
    return ReportPeriod(begin, end, now)


class _Stored:
    """The rows of a period. A store that cannot be read is not asked again."""

    def __init__(self, period: ReportPeriod, alias: str | None) -> None:
        self._period = period
        self._alias = alias
        self.problem: str | None = None

    def rows(self, kind: Kind) -> list[Row]:
        """Whatever overlaps the period; buckets are reported whole.

        One read for rows of all lengths: between two, a roll-up could move a row from one to the
        other.
        """
        since, until = int(self._period.since), int(self._period.until) + 1
        begin = since - longest(kind, self._period.now - since)
        found = self.ask(lambda store: store.read(kind, begin, until, self._alias))
        return [row for row in found if row.start < until and row.start + row.seconds > since]

    def newest(self, there: Collection[Identity]) -> list[Row]:
        """What the trace tells of the period beyond the rows that are ``there``. To be asked after
        these: what goes from one to the other meanwhile is then late, not there twice."""
        now = self._period.now
        return [
            row
            for row in self.ask(lambda store: newer_rows(store, trace_settings(), now))
            if self._alias in (None, row.alias)
            and row.identity not in there
            and row.start <= self._period.until
            and row.start + row.seconds > self._period.since
        ]

    def ask(self, read: Callable[[Store], Iterable[R]]) -> list[R]:
        if self.problem is None:
            try:
                return list(read(get_store()))
            except StoreError as error:
                self.problem = str(error)
        return []


# Periods as people write them

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_PART = re.compile(r"([0-9]{1,9})([smhdw])")
_DURATION = re.compile(r"(?:[0-9]{1,9}[smhdw])+")
# A "+" that was not percent-encoded in a URL arrives as a space.
_LOST_PLUS = re.compile(r"(:[0-9]{2}(?:\.[0-9]+)?) ([0-9]{2}:[0-9]{2})$")

AHEAD = timedelta(days=1)
"""How far a period may go on into the future: the clocks of hosts differ."""
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)


def parse_duration(text: str) -> timedelta:
    """The length that ``text`` names, such as ``90m`` or ``1h30m``."""
    written = text.strip().lower()
    if not _DURATION.fullmatch(written):
        raise ValueError(
            _("“%(text)s” is not a duration. Write a number and s, m, h, d or w, such as 90m.")
            % {"text": _cut(text)}
        )
    try:
        return sum(
            (timedelta(**{_UNITS[unit]: int(n)}) for n, unit in _PART.findall(written)),
            timedelta(),
        )
    except OverflowError:
        raise ValueError(_("“%(text)s” is too long.") % {"text": _cut(text)}) from None


def parse_moment(text: str, now: datetime) -> datetime:
    """The moment that ``text`` names, in UTC: an RFC 3339 time, or a duration back from ``now``.

    A time without an offset is taken in Django's current time zone. A report's size grows with its
    period: refused is what lies before 1970, and what lies far ahead is brought to ``AHEAD``.
    """
    moment = _moment(text, now)
    if moment.timestamp() < 0:
        raise ValueError(_("It is too long ago."))
    return min(moment, now.astimezone(UTC) + AHEAD)


def _moment(text: str, now: datetime) -> datetime:
    if _DURATION.fullmatch(text.strip().lower()):
        try:
            return (now - parse_duration(text)).astimezone(UTC)
        except (ValueError, OverflowError):
            return _EARLIEST
    try:
        moment = datetime.fromisoformat(_LOST_PLUS.sub(r"\1+\2", text.strip()))
    except ValueError:
        raise ValueError(
            _(
                "“%(text)s” is not a time. Write how long ago, such as 90m or 2d, "
                "or an RFC 3339 time, such as %(example)s."
            )
            % {"text": _cut(text), "example": rfc3339(now)}
        ) from None
    try:
        return _aware(moment).astimezone(UTC)
    except (ValueError, OverflowError):
        # In UTC it would be in another year than there are.
        return _EARLIEST if moment.year < now.year else _LATEST


def _aware(moment: datetime) -> datetime:
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"
