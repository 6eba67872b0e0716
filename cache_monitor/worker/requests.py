"""What each request did with the caches, for the statistics of views and pages."""

from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping
from time import perf_counter
from typing import NamedTuple, cast

from cache_monitor.calls import KEY, LOOKUPS, OUTCOME, PRODUCED, SOURCE, RawCall
from cache_monitor.concurrency import new_lock
from cache_monitor.keys.grouping import is_nameless
from cache_monitor.keys.known_keys import is_toolbar_key
from cache_monitor.page_cache import PagePass
from cache_monitor.stacks import RawStack, caller_of
from cache_monitor.stats.access_patterns import (
    MANY_REPEATS,
    MANY_SINGLES,
    AccessPatterns,
    RepeatedGet,
)
from cache_monitor.stats.details import PageStats, count_word
from cache_monitor.stats.sketches import add_hashes
from cache_monitor.stats.window import percent
from cache_monitor.worker.batch import name_and_hash

MOST_STACKS = 20
"""The most calls whose stacks are captured between two drains."""
MOST_CALLERS = 500
"""The most groups of keys whose callers are kept."""
_MOST_OF_A_LINE = 200
"""Characters that are kept of where a line is: what a group's row may have."""


class Callers:
    """The lines of code that use groups of keys with meaningless names: outside of requests there
    is no view that explains them."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], str] = {}
        self.wanted = MOST_STACKS
        """The number of calls whose stacks should be captured: few, if the last ones were of no
        use."""

    def add(self, taken: Iterable[tuple[RawCall, object]]) -> None:
        """Add the stacks of some calls."""
        before, calls = len(self.known), 0
        for call, stack in taken:
            calls += 1
            self._add(call, cast("RawStack", stack))
        if len(self.known) > before:
            self.wanted = MOST_STACKS
        elif calls:
            self.wanted = max(self.wanted // 2, 1)

    def _add(self, call: RawCall, stack: RawStack) -> None:
        alias, key = call[SOURCE].alias, call[KEY]
        text = key[0] if isinstance(key, tuple) and key else key
        if type(text) is not str or len(self.known) >= MOST_CALLERS:
            return
        group = name_and_hash(text, alias)[0].group
        if (alias, group) not in self.known and is_nameless(group):
            place = caller_of(stack)
            if place is not None:
                self.known[alias, group] = place.where[:_MOST_OF_A_LINE]

    def of(self, alias: str) -> Mapping[str, str]:
        return {group: line for (each, group), line in self.known.items() if each == alias}


MOST_WAITING = 10_000
"""The most requests that wait to be counted. Older ones are dropped: their calls count, but not for
a view."""
MOST_UNCOUNTED = 500
"""The most requests that wait with uncounted calls; further ones count their own."""
MOST_CALLS_WAITING = 100
"""The most uncounted calls of a request; with more it counts them meanwhile."""
MOST_KEYS = 1000
"""The most keys of a request that are told apart; others count in its sums only."""
MOST_CHANGES = 1000
"""The most writes and deletes of a request for which the trace keeps the view."""
_CHANGES = frozenset({"set", "add", "set_many", "get_or_set", "touch", "delete", "delete_many"})
_FILLS = frozenset({"set", "add", "set_many"})


class KeyUse:
    """What a request did with one key; of a call on several keys each has its share."""

    __slots__ = ("_was_found", "calls", "hits", "lookups", "rewrites", "seconds")

    def __init__(self) -> None:
        self.calls = self.lookups = self.hits = self.rewrites = 0
        self.seconds = 0.0
        self._was_found = False

    def note(self, operation: str, hit: object, seconds: float) -> None:
        """Add a call; ``hit`` is None if it looked nothing up."""
        self.calls += 1
        self.seconds += seconds
        if hit is not None:
            self.lookups += 1
            self._was_found = hit is True
            self.hits += self._was_found
        elif self._was_found and operation in _FILLS:
            # Once for each time it was found.
            self.rewrites += 1
            self._was_found = False


class CacheUse:
    """What a request did with one cache. ``seconds``: without those of the site's own functions
    that calls ran."""

    __slots__ = ("calls", "keys", "lookups", "misses", "seconds")

    def __init__(self) -> None:
        self.lookups = self.misses = self.calls = 0
        self.seconds = 0.0
        self.keys: dict[Hashable, KeyUse] = {}

    def note(self, key: Hashable, operation: str, hit: object, seconds: float) -> None:
        use = self.keys.get(key)
        if use is None:
            if len(self.keys) >= MOST_KEYS:
                return
            use = self.keys[key] = KeyUse()
        use.note(operation, hit, seconds)

    def found(self) -> Iterator[Hashable]:
        """The keys that were found, in the order of their first use."""
        return (key for key, use in self.keys.items() if use.hits)

    def missed(self) -> Iterator[Hashable]:
        """The keys that were missed, likewise."""
        return (key for key, use in self.keys.items() if use.lookups > use.hits)


class RequestTotals(NamedTuple):
    """What a request did with all caches together."""

    calls: int
    lookups: int
    misses: int
    seconds: float

    @property
    def hit_percent(self) -> int | None:
        """Hits in whole per cent of lookups; None without lookups."""
        return percent(self.lookups - self.misses, self.lookups)


class RequestStats:
    """Listens to the calls of one request, and counts them when asked for a figure: mostly in the
    draining thread, so that the request does not wait.

    Several threads may serve one request; appending and removing is atomic.
    """

    __slots__ = (
        "_access_patterns",
        "_began",
        "_changes",
        "_lock",
        "_sums",
        "_waiting_calls",
        "calls",
        "page_passes",
        "seconds",
    )
    wants_values = False

    def __init__(self) -> None:
        self.seconds = 0.0
        self.calls = 0
        self.page_passes: list[PagePass] = []
        self._began = perf_counter()
        self._waiting_calls: list[RawCall] = []
        self._sums: dict[str, CacheUse] | None = None
        self._access_patterns: AccessPatterns | None = None
        self._changes: list[RawCall] = []
        self._lock = new_lock()

    def on_call(self, call: RawCall, kind: str | None = None) -> None:
        self._waiting_calls.append(call)
        # Never waits: a destructor that calls a cache may run while calls are counted.
        if len(self._waiting_calls) > MOST_CALLS_WAITING and not self._lock.locked():
            with self._lock:
                self._count()

    def on_page(self, page_pass: PagePass) -> None:
        self.page_passes.append(page_pass)

    def end(self) -> bool:
        """End the request; returns whether it called a cache."""
        self.seconds = perf_counter() - self._began
        return bool(self._waiting_calls or self._sums)

    def uses(self) -> dict[str, CacheUse]:
        """What the request did with each cache, by alias."""
        with self._lock:
            self._count()
            return dict(self._sums or {})

    def totals(self) -> RequestTotals:
        uses = self.uses().values()
        return RequestTotals(
            self.calls,
            sum(use.lookups for use in uses),
            sum(use.misses for use in uses),
            sum(use.seconds for use in uses),
        )

    def repeated_gets(self) -> list[RepeatedGet]:
        """The keys that the request got, if there are enough to matter."""
        with self._lock:
            self._count()
            if self._access_patterns is None or self.calls < min(MANY_REPEATS, MANY_SINGLES):
                return []
            return list(self._access_patterns.repeated_gets())

    def changes(self) -> list[RawCall]:
        """The first calls that wrote or deleted."""
        with self._lock:
            self._count()
            return self._changes

    def _count(self) -> None:
        if not self._waiting_calls:
            return
        # A copy: calls may be added meanwhile.
        calls = self._waiting_calls[:]
        del self._waiting_calls[: len(calls)]
        if self._sums is None:
            self._sums = {}
        if self._access_patterns is None:
            self._access_patterns = AccessPatterns()
        for call in calls:
            if not is_toolbar_key(call[KEY]):
                alias = call[SOURCE].alias
                use = self._sums.get(alias)
                if use is None:
                    use = self._sums[alias] = CacheUse()
                self._add(use, call)
                self._access_patterns.note(call)
                self.calls += 1
                if (
                    call[SOURCE].operation in _CHANGES
                    and call[OUTCOME] is not True
                    and len(self._changes) < MOST_CHANGES
                ):
                    self._changes.append(call)

    def _add(self, use: CacheUse, call: RawCall) -> None:
        source, _, seconds, key, outcome, *_ = call
        if source.operation in LOOKUPS:
            if outcome is True:
                use.lookups += 1
            else:
                found = outcome if isinstance(outcome, tuple) else (outcome,)
                missed = found.count(False)
                use.misses += missed
                use.lookups += missed + found.count(True)
        own = seconds if call[PRODUCED] is None else max(seconds - call[PRODUCED], 0.0)
        use.seconds += own
        use.calls += 1
        if isinstance(key, tuple):
            hits = outcome if isinstance(outcome, tuple) else (outcome,) * len(key)
            for each, hit in zip(key, hits, strict=False):
                use.note(each, source.operation, hit, own / len(key))
        elif key is not None:
            use.note(key, source.operation, outcome, own)


class RequestRecord(NamedTuple):
    """A request: its view and its statistics."""

    view: str
    stats: RequestStats


waiting: deque[RequestRecord] = deque(maxlen=MOST_WAITING)
"""Requests that are not counted yet; appending is atomic."""


def note(request_record: RequestRecord) -> None:
    if len(waiting) >= MOST_UNCOUNTED:
        request_record.stats.uses()
    waiting.append(request_record)


def take() -> list[RequestRecord]:
    return [waiting.popleft() for _ in range(len(waiting))]


_MOST_TEXT = 300
VARIANT = "variant"
"""The key in ``causes`` of the line that makes a stored page vary."""
OTHER_KEY = "other_key"
UNVARIED = "unvaried"
"""The key of the line that makes a page one visitor's own although it is stored for all."""


def count(page_pass: PagePass, stats: PageStats) -> None:
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
