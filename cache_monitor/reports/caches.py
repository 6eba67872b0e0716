"""One cache's part of the report, made of its merged windows and details and its last scan: its
figures, in all and in steps of time; and what several caches have in common."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache as remembered
from math import inf
from typing import Any, NamedTuple, TypeVar

from msgspec import Struct

from cache_monitor.calls import LOOKUPS
from cache_monitor.reports import (
    Cache,
    Changes,
    GroupOfView,
    HotKey,
    KeyGroup,
    Lives,
    Memory,
    Operation,
    Page,
    Point,
    ProcessMemory,
    Report,
    Seconds,
    Stale,
    StaleReason,
    View,
)
from cache_monitor.reports.keys import exact_reasons, miss_reasons
from cache_monitor.reports.memory import known_sum
from cache_monitor.reports.savings import Estimate, Savings, is_state, mean_to_produce
from cache_monitor.scan.snapshot import Snapshot
from cache_monitor.stats import sketches
from cache_monitor.stats.details import OTHER_GROUPS, Details, PageStats, ViewStats
from cache_monitor.stats.groups import GroupStats, LifeStats
from cache_monitor.stats.hot_keys import KeyStats
from cache_monitor.stats.window import (
    MINUTE,
    MemoryByProcess,
    OperationStats,
    Window,
    greater,
    ratio,
    rfc3339,
)
from cache_monitor.stores.rows import HOUR, longest


class ReportPeriod(NamedTuple):
    """The period that a report covers, in Unix time; ``now`` is when it was asked for."""

    since: float
    until: float
    now: float


STEPS = (10, 30, 60, 300, 900, 3600, 6 * 3600, 86400, 7 * 86400)
MOST_POINTS = 200


class Series:
    """The steps between two moments (Unix time), as they are at ``now``; steps without calls are
    zero, not left out. The memory of a process is known for ``known_for`` seconds."""

    def __init__(
        self, since: float, until: float, now: float, known_for: float = 2 * MINUTE
    ) -> None:
        # A finer step than the rows of its time would leave a gap beside each of them.
        finest = max(longest("window", now - since), (until - since) / MOST_POINTS)
        self.step = next((step for step in STEPS if step >= finest), STEPS[-1])
        self.since = since
        self._first = int(since // self.step)
        self._last = int(-(-until // self.step))
        self._windows: dict[int, Window] = {}
        self._held = MemoryByProcess(known_for)

    @property
    def hours(self) -> float:
        """How long the steps are together."""
        return (self._last - self._first) * self.step / HOUR

    def add(self, window: Window) -> None:
        """Add ``window``, which stays as it is, to the step that it begins in."""
        step = window.start // self.step
        whole = self._windows.get(step)
        if whole is None:
            whole = self._windows[step] = Window(int(step * self.step), self.step)
        whole.merge(window)
        self._held.add(window)

    def total(self) -> Window:
        """All windows merged."""
        total = Window(int(self._first * self.step), self.step)
        for window in self._windows.values():
            total.merge(window)
        return total

    def points(self) -> Iterator[Point]:
        """The steps in order."""
        evicted, held = self._evicted(), self._memory()
        for step in range(self._first, self._last):
            yield self._point(step, evicted.get(step), held.get(step))

    def _memory(self) -> dict[int, int | None]:
        """The bytes that the cache held in each step, at most."""
        found: dict[int, int | None] = {
            step: window.memory_bytes for step, window in self._windows.items()
        }
        for start, size in self._held.sums():
            step = int(start // self.step)
            found[step] = greater(found.get(step), size)
        return found

    def _evicted(self) -> dict[int, int]:
        """How many entries were evicted in each step that knows it; by each that knows its server's
        counter, since the one before that does."""
        evicted: dict[int, int] = {
            step: window.culled
            for step, window in self._windows.items()
            if window.culled is not None
        }
        before: int | None = None
        for step, window in sorted(self._windows.items()):
            counter = window.evictions
            if counter is None:
                continue
            # One that became smaller began anew with its server. Of several servers that are added
            # up nobody knows which one, and what it had evicted by then.
            if before is not None and counter >= before:
                evicted[step] = counter - before
            before = counter
        return evicted

    def _point(self, step: int, evicted: int | None, held: int | None) -> Point:
        window = self._windows.get(step)
        sums = OperationStats()
        if window is not None:
            for operation in window.operations.values():
                sums.merge(operation)
        lookups = sums.hits + sums.misses
        p50, p90, p99 = sums.times.quantiles((0.5, 0.9, 0.99), sums.slowest)
        return Point(
            at=rfc3339(step * self.step),
            lookups=lookups,
            hits=sums.hits,
            misses=sums.misses,
            errors=sums.faults,
            calls=sums.calls,
            seconds=sums.seconds,
            p50=p50,
            p90=p90,
            p99=p99,
            memory_bytes=held,
            evictions=evicted,
            miss_reasons=(
                miss_reasons(sums.misses, window, window.seconds / HOUR)
                if window and lookups
                else None
            ),
        )


HOT_KEYS_SHOWN = 100
GROUPS_SHOWN = VIEWS_SHOWN = PAGES_SHOWN = 200
_SEEN_IN_REQUESTS = (
    *("rewrites", "repeated_gets", "repeated_gets_requests", "repeated_seconds"),
    *("single_gets", "single_gets_requests"),
)
"""What is known of a group only if the middleware shows which calls one request made."""

Reported = TypeVar("Reported", bound=Struct)


def _reported(kind: type[Reported], stats: Struct, **others: Any) -> Reported:
    """``others`` as a part of the report, with what has the same name in ``stats``."""
    names = _same_names(kind, type(stats))
    return kind(**{name: getattr(stats, name) for name in names} | others)


@remembered
def _same_names(kind: type[Struct], of: type[Struct]) -> list[str]:
    return [name for name in kind.__struct_fields__ if hasattr(of, name)]


def pages(details: Details) -> list[Page]:
    """The pages, those with the most requests first."""
    every = [_page(route, stats) for route, stats in details.pages.items()]
    busiest = sorted(every, key=lambda each: (-each.requests, -each.bypassed, each.page))
    return busiest[:PAGES_SHOWN]


def _page(route: str, stats: PageStats) -> Page:
    requests = stats.served + stats.made
    addresses = sketches.estimate(stats.addresses)
    variants = sketches.estimate(stats.variants)
    return _reported(
        Page,
        stats,
        page=route,
        requests=requests,
        served_ratio=ratio(stats.served, requests),
        varies_by=sorted(stats.varies, key=lambda each: (-stats.varies[each], each)),
        distinct_addresses=addresses or None,
        distinct_paths=sketches.estimate(stats.paths) or None,
        variants_per_address=round(variants / addresses, 2) if addresses and variants else None,
        is_decorated=not stats.site_wide,
    )


def cache(
    backend: str, total: Window, details: Details, series: Series, snapshot: Snapshot | None
) -> Cache:
    """What is known of a cache: ``total`` merges its windows, ``details`` what is known of its
    keys, ``snapshot`` is what is in it now."""
    operations = total.operations.values()
    hits = sum(each.hits for each in operations)
    misses = sum(each.misses for each in operations)
    savings = Savings(details)
    return _reported(
        Cache,
        total,
        backend=backend,
        lookups=hits + misses,
        hits=hits,
        misses=misses,
        hit_ratio=ratio(hits, hits + misses),
        errors=sum(each.faults for each in operations),
        interrupted=sum(each.interrupted for each in operations),
        operations={name: _operation(name, each) for name, each in _by_calls(total)},
        miss_reasons=miss_reasons(misses, total, series.hours),
        misses_per_request=_misses_per_request(details),
        **_saved(savings.of_all()),
        hot_keys=_hot_keys(details, savings),
        key_groups=_key_groups(details, savings, series.hours),
        views=_views(details, savings),
        pages=pages(details),
        memory=memory_of(snapshot, total.culled, series.since),
        stale=stale_of(snapshot),
        series=list(series.points()),
    )


def _saved(estimate: Estimate | None) -> dict[str, float | None]:
    seconds, error = estimate or (None, None)
    return {"seconds_saved": seconds, "seconds_saved_error": error}


def memory_of(snapshot: Snapshot | None, culled: int | None = None, since: float = 0.0) -> Memory:
    """What ``snapshot`` found in the cache; all unknown without one. Where the cache has no counter
    of its own, ``culled`` entries were evicted ``since`` then."""
    if snapshot is None:
        return Memory()
    is_culled = snapshot.evictions is None and culled is not None
    return _reported(
        Memory,
        snapshot,
        evictions=culled if is_culled else snapshot.evictions,
        evictions_since=rfc3339(since) if is_culled else None,
        measured_at=rfc3339(snapshot.measured_at),
        processes=[
            _reported(ProcessMemory, each, measured_at=rfc3339(each.measured_at))
            for each in snapshot.processes
        ],
    )


def stale_of(snapshot: Snapshot | None) -> Stale:
    """What of it is stale."""
    if snapshot is None:
        return Stale()
    return _reported(
        Stale,
        snapshot,
        bytes=snapshot.stale_bytes,
        entries=snapshot.stale,
        recorded_since=rfc3339(snapshot.recorded_since) if snapshot.recorded_since else None,
    )


def _by_calls(total: Window) -> list[tuple[str, OperationStats]]:
    return sorted(total.operations.items(), key=lambda each: (-each[1].calls, each[0]))


def _per_request(number: float, requests: int) -> float | None:
    return round(number / requests, 4) if requests else None


def _misses_per_request(details: Details) -> float | None:
    """The misses of all views together for each of their requests, those not shown too."""
    requests = sum(view.requests for view in details.views.values())
    misses = sum(view.misses for view in details.views.values())
    return _per_request(misses, requests)


def _operation(name: str, stats: OperationStats) -> Operation:
    p50, p90, p99 = stats.times.quantiles((0.5, 0.9, 0.99), stats.slowest)
    looks_up = name in LOOKUPS
    return _reported(
        Operation,
        stats,
        hits=stats.hits if looks_up else None,
        misses=stats.misses if looks_up else None,
        seconds=Seconds(
            total=stats.seconds,
            p50=p50,
            p90=p90,
            p99=p99,
            max=stats.slowest if stats.calls else None,
        ),
    )


def _hot_keys(details: Details, savings: Savings) -> list[HotKey]:
    # Details begin and end at other moments than windows: their shares are of their own.
    lookups = sum(group.lookups for group in details.groups.values())
    table = details.hot_keys.table.items()
    hottest = sorted(table, key=lambda each: (-each[1].weight(), each[0]))[:HOT_KEYS_SHOWN]
    return [_hot_key(key, stats, lookups, savings) for key, stats in hottest]


def _hot_key(key: str, stats: KeyStats, lookups: int, savings: Savings) -> HotKey:
    return _reported(
        HotKey,
        stats,
        key=key,
        lookups=stats.lookups + stats.missing,
        share=ratio(stats.lookups, lookups),
        max_overcount=stats.missing,
        # A key is in the trace with all its misses, or with none.
        miss_reasons=exact_reasons(stats.misses, stats.reasons or {}),
        produce_seconds=mean_to_produce(stats),
        **_saved(savings.of_key(stats)),
    )


def _key_groups(details: Details, savings: Savings, hours: float) -> list[KeyGroup]:
    groups = sorted(
        details.groups.items(), key=lambda each: (-each[1].lookups, -each[1].sets, each[0])
    )
    has_seen_requests = bool(details.views)
    return [
        _key_group(name, stats, savings, has_seen_requests, hours)
        for name, stats in groups[:GROUPS_SHOWN]
    ]


def lookups_by_group(groups: Sequence[KeyGroup], most: int) -> list[tuple[str, int, int]]:
    """Name, hits and misses of the first ``most`` groups, and of all the others together."""
    named = [each for each in groups if each.group != OTHER_GROUPS]
    others = [*named[most:], *(each for each in groups if each.group == OTHER_GROUPS)]
    found = [(each.group, each.hits, each.misses) for each in named[:most]]
    if others:
        hits, misses = sum(each.hits for each in others), sum(each.misses for each in others)
        found.append((OTHER_GROUPS, hits, misses))
    return found


def _key_group(
    name: str, stats: GroupStats, savings: Savings, has_seen_requests: bool, hours: float
) -> KeyGroup:
    age_p50, age_p90 = sketches.quantiles(stats.ages, (0.5, 0.9), inf)
    of_requests = {
        each: getattr(stats, each) if has_seen_requests else None for each in _SEEN_IN_REQUESTS
    }
    return _reported(
        KeyGroup,
        stats,
        group=name,
        distinct_keys=_distinct_keys(stats),
        hit_ratio=ratio(stats.hits, stats.lookups),
        miss_reasons=miss_reasons(stats.misses, stats, hours),
        produce_seconds=mean_to_produce(stats),
        **_saved(savings.of_group(name, stats)),
        age_p50=age_p50,
        age_p90=age_p90,
        is_state=is_state(name, stats),
        called_from=stats.called_from or None,
        seconds=stats.lookup_seconds + stats.other_seconds,
        first_set_at=rfc3339(stats.first_set) if stats.first_set else None,
        mean_set_at=rfc3339(stats.mean_set or stats.first_set) if stats.first_set else None,
        timeout=stats.timeout or None,
        lives=lives_of(stats.lives),
        changes=_changes(stats),
        sample_hits=list(stats.sample_hits),
        sample_misses=list(stats.sample_misses),
        **of_requests,
    )


def _changes(stats: GroupStats) -> Changes:
    changes = stats.changes
    if changes is None:
        return Changes()
    return _reported(Changes, changes, stale_share=changes.stale_share(stats.ages))


def lives_of(stats: LifeStats | None) -> Lives:
    """How long entries lasted, as a report tells it."""
    if stats is None:
        return Lives()
    lifetime_p50, lifetime_p90 = sketches.quantiles(stats.lasted, (0.5, 0.9), inf)
    first_read_p50, first_read_p90 = sketches.quantiles(stats.first_read, (0.5, 0.9), inf)
    [evicted_age_p50] = sketches.quantiles(stats.evicted_at, (0.5,), inf)
    return Lives(
        **stats.ends,
        unread=sum(stats.unread.values()),
        overwritten_unread=stats.unread.get("overwritten", 0),
        deleted_unread=stats.unread.get("deleted", 0),
        lifetime_p50=lifetime_p50,
        lifetime_p90=lifetime_p90,
        first_read_p50=first_read_p50,
        first_read_p90=first_read_p90,
        evicted_age_p50=evicted_age_p50,
        lost_by_restart=stats.causes.get("restart", 0),
        lost_by_replica=stats.causes.get("replica", 0),
        lost_by_refusal=stats.causes.get("refused", 0),
        restarted_at=rfc3339(stats.restarted_at) if stats.restarted_at else None,
    )


def _distinct_keys(stats: GroupStats) -> int:
    """At most as many as keys were named: of many keys the sketch gives an estimate. A value that
    was produced had its key named twice, by the miss and by the write."""
    again = min(stats.produced, stats.lookups)
    named = stats.lookups + stats.sets + stats.deletes + stats.other_uses - again
    return min(sketches.estimate(stats.keys), max(named, len(stats.keys)))


def _views(details: Details, savings: Savings) -> list[View]:
    busiest = sorted(details.views.items(), key=lambda each: (-each[1].requests, each[0]))
    return [_view(name, stats, savings) for name, stats in busiest[:VIEWS_SHOWN]]


def _view(name: str, stats: ViewStats, savings: Savings) -> View:
    whole = stats.request_seconds
    groups = sorted(stats.groups.items(), key=lambda each: (-each[1].seconds, each[0]))
    return _reported(
        View,
        stats,
        view=name,
        misses_per_request=_per_request(stats.misses, stats.requests),
        **_saved(savings.of_view(stats)),
        request_seconds=whole or None,
        # Calls that run at once, in several tasks, may take longer together than their request.
        share_of_request=ratio(stats.seconds, whole),
        groups=[_reported(GroupOfView, use, group=group, keys=use.calls) for group, use in groups],
        sample_hits=list(stats.sample_hits),
        sample_misses=list(stats.sample_misses),
    )


def same_entries(alias: str, caches: Mapping[str, Cache]) -> list[str]:
    """``alias`` and those whose entries count in it."""
    return [alias, *(each for each, it in caches.items() if it.memory.counted_in == alias)]


def once(caches: Mapping[str, Cache]) -> dict[str, Cache]:
    """``caches`` without those whose entries are another's as well, which stands for them; all of
    them where that one is not among them."""
    return {
        alias: cache for alias, cache in caches.items() if cache.memory.counted_in not in caches
    }


def stale_total(caches: Mapping[str, Cache], reason: StaleReason) -> int | None:
    """The entries of all caches that are stale for ``reason``, those that are shared once; None
    where it is known of no cache."""
    return known_sum(getattr(cache.stale, reason) for cache in once(caches).values())


def calls_per_second(report: Report) -> Callable[[Point], float | None]:
    """Reads the calls a second in a step of ``report``; None for one that is counted in part: the
    newest is not over, and the oldest may have begun before the rows."""
    since, until = report.counted_from, datetime.fromisoformat(report.until)
    line = next((each.series for each in report.caches.values() if len(each.series) > 1), [])
    moments = [datetime.fromisoformat(each.at) for each in line[:2]]
    step = moments[1] - moments[0] if moments else None

    def rate(point: Point) -> float | None:
        at = datetime.fromisoformat(point.at)
        return (
            None
            if step is None or at < since or at + step > until
            else point.calls / step.total_seconds()
        )

    return rate


def misses_of(points: Iterable[Point], reason: str) -> int | None:
    """The misses of ``reason`` in one step of several caches; None where none was asked."""
    known = [each.miss_reasons for each in points if each.miss_reasons is not None]
    return sum(getattr(each, reason) or 0 for each in known) if known else None
