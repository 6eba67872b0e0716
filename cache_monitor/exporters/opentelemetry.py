"""The caches for OpenTelemetry: metrics, and spans of calls, through its API.

Each process reports its own calls, and the collector adds them up. The contents of the caches come
from the monitor's store and are the same in all processes. There are no semantic conventions for
caches; the names follow their rules, and ``error.type`` is theirs.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from operator import attrgetter
from typing import cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from cache_monitor import api, context
from cache_monitor.calls import KEY, RawCall, is_fault, is_interrupted
from cache_monitor.concurrency import TimedValue
from cache_monitor.errors import MissingExtra
from cache_monitor.keys.known_keys import is_toolbar_key
from cache_monitor.keys.naming import name_key
from cache_monitor.listeners import Subscriber, subscribers
from cache_monitor.reports import Cache, Report
from cache_monitor.reports.caches import once, same_entries
from cache_monitor.scan.base import STALE_REASONS
from cache_monitor.trace.state import ClassifiedMiss

try:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter
    from opentelemetry.trace import Status, StatusCode, Tracer, get_current_span, get_tracer
except ImportError as error:
    raise MissingExtra("opentelemetry") from error

__all__ = ["CacheSpansMiddleware"]

ALIAS = "django.cache.alias"
SAME = "django.cache.same_entries"
"""The aliases with the same entries, separated by commas, where there are several."""
OPERATION = "django.cache.operation"
OUTCOME = "django.cache.outcome"
REASON = "django.cache.miss.reason"
ERROR_TYPE = "error.type"
INTERRUPTED = "django.cache.interrupted"

BOUNDARIES = [
    *(step * 10**power for power in range(-6, 0) for step in (1.0, 2.5, 5.0)),
    *(1.0, 2.5, 5.0),
]
"""Seconds. OpenTelemetry's defaults begin at 5 ms, above nearly every call of a cache."""
_FRESH_FOR = 5.0
"""Seconds in which one report serves all gauges of a collection."""

Attributes = dict[str, str]
Label = tuple[tuple[str, str], ...]


def distribution_version() -> str:
    """The package's version; empty where it is not installed."""
    try:
        return version("django-cache-monitor")
    except PackageNotFoundError:
        return ""


class CallMetrics(Subscriber):
    """Counts calls with instruments of ``meter``."""

    def __init__(self, meter: Meter) -> None:
        self._duration = meter.create_histogram(
            "django.cache.operation.duration",
            unit="s",
            description="How long calls of the cache took.",
            explicit_bucket_boundaries_advisory=BOUNDARIES,
        )
        self._lookups = meter.create_counter(
            "django.cache.lookups", unit="{key}", description="Keys looked up in the cache."
        )
        self._reasons = meter.create_counter(
            "django.cache.explained_misses",
            unit="{key}",
            description="Lookups that missed, by why; those of unknown reason are left out.",
        )
        self._missed = meter.create_counter(
            "django.cache.uncounted_calls",
            unit="{call}",
            description="Calls that came too fast and are missing from the other metrics.",
        )

    def on_calls(self, calls: Sequence[RawCall], clock_offset: float) -> None:
        lookups: Counter[Label] = Counter()
        for source, _, seconds, key, outcome, _, _, _, error, *_ in calls:
            if is_toolbar_key(key):
                continue
            named = {ALIAS: source.alias, OPERATION: source.operation}
            self._duration.record(seconds, named | ending(source.operation, error))
            for hit in outcome if isinstance(outcome, tuple) else (outcome,):
                if hit is not None:
                    lookups[(*named.items(), (OUTCOME, "hit" if hit else "miss"))] += 1
        for label, number in lookups.items():
            self._lookups.add(number, dict(label))

    def on_reasons(self, misses: Sequence[ClassifiedMiss]) -> None:
        """Count the reasons of misses; each miss is reported in one process."""
        reasons: Counter[tuple[str, str]] = Counter()
        for each in misses:
            if each.reason != "unknown":
                reasons[each.alias, each.reason] += each.weight
        for (alias, reason), number in reasons.items():
            self._reasons.add(number, {ALIAS: alias, REASON: reason})

    def on_dropped(self, number: int) -> None:
        self._missed.add(number)


def ending(operation: str, error: str | None) -> dict[str, str]:
    """The attribute of an error or an interruption."""
    if error is None:
        return {}
    if is_interrupted(error):
        return {INTERRUPTED: str(error)}
    return {ERROR_TYPE: error} if is_fault(operation, error) else {}


class CacheMetrics:
    """Gauges of the caches' contents, from the report at each collection."""

    def __init__(self, meter: Meter) -> None:
        self._report: TimedValue[Report] = TimedValue()
        for name, unit, text, read in _OBSERVED:
            meter.create_observable_gauge(
                f"django.cache.{name}", [partial(self._observe, read)], unit=unit, description=text
            )

    def _observe(
        self, read: "Callable[[Cache], Iterable[_Found]]", options: CallbackOptions
    ) -> Iterator[Observation]:
        caches = self._report.get(_read_report, _FRESH_FOR).caches
        for alias, cache in once(caches).items():
            same = same_entries(alias, caches)
            about: Attributes = {SAME: ", ".join(same)} if len(same) > 1 else {}
            for figure, more in read(cache):
                if figure is not None:
                    yield Observation(figure, {ALIAS: alias, **about, **more})


def _read_report() -> Report:
    return api.report(since=datetime.now(UTC) - timedelta(minutes=1))


_Found = tuple[int | None, Attributes]


def _stale(cache: Cache) -> Iterator[_Found]:
    for why in STALE_REASONS:
        yield getattr(cache.stale, why), {"django.cache.stale.reason": why}


def _figure(path: str) -> Callable[[Cache], Iterable[_Found]]:
    read = attrgetter(path)
    return lambda cache: [(read(cache), {})]


_OBSERVED: list[tuple[str, str, str, Callable[[Cache], Iterable[_Found]]]] = [
    ("memory.usage", "By", "Bytes in the cache at its last scan.", _figure("memory.bytes")),
    (
        "memory.limit",
        "By",
        "Bytes that the cache's server may hold.",
        _figure("memory.limit_bytes"),
    ),
    ("entries", "{entry}", "Entries in the cache at its last scan.", _figure("memory.entries")),
    ("stale_entries", "{entry}", "Entries that no longer earn their place, by why.", _stale),
]


def start(meter: Meter | None = None) -> CallMetrics:
    """Report through ``meter``, by default that of the process's meter provider."""
    meter = meter or get_meter("django-cache-monitor", distribution_version())
    CacheMetrics(meter)
    metrics = CallMetrics(meter)
    subscribers.add(metrics)
    return metrics


HITS = "django.cache.hits"
MISSES = "django.cache.misses"
KEY_GROUPS = "django.cache.key_groups"
MOST_GROUPS = 20

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class CallSpans:
    """Makes a span of each call inside a recorded span, in the caller's path, where its trace is
    known. A span has no keys: these may be personal."""

    wants_values = False

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def on_call(self, call: RawCall, kind: str | None = None) -> None:
        if get_current_span().is_recording() and not is_toolbar_key(call[KEY]):
            end = time.time_ns()
            source, _, seconds, key, outcome, _, _, _, error, *_ = call
            span = self._tracer.start_span(
                f"{source.operation} {source.alias}",
                start_time=end - int(seconds * 1e9),
                attributes={
                    ALIAS: source.alias,
                    OPERATION: source.operation,
                    KEY_GROUPS: _groups(key, source.alias),
                    **_found(outcome),
                    **ending(source.operation, error),
                },
            )
            if is_fault(source.operation, error):
                span.set_status(Status(StatusCode.ERROR))
            span.end(end)


def _groups(key: object, alias: str) -> list[str]:
    keys = key if isinstance(key, tuple) else () if key is None else (key,)
    return sorted({name_key(each, alias).group for each in keys[:MOST_GROUPS]})


def _found(outcome: bool | tuple[bool, ...] | None) -> dict[str, int]:
    if outcome is None:
        return {}
    found = outcome if isinstance(outcome, tuple) else (outcome,)
    return {HITS: found.count(True), MISSES: found.count(False)}


class CacheSpansMiddleware:
    """Makes spans of the cache calls of each request, with the process's tracer provider. Optional.

    Put it first in ``MIDDLEWARE``, to include the calls of other middleware.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response
        self._spans = CallSpans(get_tracer("django-cache-monitor", distribution_version()))
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._answer_async(request)
        with context.listening(self._spans):
            return self._get_response(request)

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        with context.listening(self._spans):
            return await cast("Awaitable[HttpResponseBase]", self._get_response(request))
