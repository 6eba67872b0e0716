"""What single requests did with the caches, for the statistics of their views and pages."""

from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from time import perf_counter
from typing import NamedTuple, cast

from cache_monitor.calls import KEY, OUTCOME, PRODUCED, SOURCE, RawCall
from cache_monitor.concurrency import new_lock
from cache_monitor.keys.display import is_nameless
from cache_monitor.keys.known_keys import is_toolbars_own
from cache_monitor.page_cache.outcomes import PagePass
from cache_monitor.stacks import RawStack, caller_of
from cache_monitor.stats.pages import PageStats, add_hashes, count_word
from cache_monitor.stats.top_keys import SAMPLE_SIZE
from cache_monitor.worker.access_patterns import (
    MANY_REPEATS,
    MANY_SINGLES,
    AccessPatterns,
    RepeatedGet,
)
from cache_monitor.worker.batch import name_and_hash

MOST_STACKS = 20
"""Calls whose stacks are taken between two drains, where there is something to learn from them."""
MOST_CALLERS = 500
"""Groups of keys whose callers are known."""
_MOST_TEXT = 200


class Callers:
    """Which line of code asks for the keys of a group, for groups whose names tell nothing: outside
    of requests there is no view that says what they are for."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], str] = {}
        self.wanted = MOST_STACKS
        """Of how many calls the stacks are worth taking: a few, where those before had nothing
        new."""

    def hear(self, taken: Iterable[tuple[RawCall, object]]) -> None:
        """Take in the stacks of some calls."""
        before, calls = len(self.known), 0
        for call, stack in taken:
            calls += 1
            self._hear(call, cast("RawStack", stack))
        if len(self.known) > before:
            self.wanted = MOST_STACKS
        elif calls:
            self.wanted = max(self.wanted // 2, 1)

    def _hear(self, call: RawCall, stack: RawStack) -> None:
        alias, key = call[SOURCE].alias, call[KEY]
        text = key[0] if isinstance(key, tuple) and key else key
        if type(text) is not str or len(self.known) >= MOST_CALLERS:
            return
        group = name_and_hash(text, alias)[0].group
        if (alias, group) not in self.known and is_nameless(group):
            place = caller_of(stack)
            if place is not None:
                self.known[alias, group] = place.where[:_MOST_TEXT]

    def of(self, alias: str) -> Mapping[str, str]:
        """The lines by the groups of a cache."""
        return {group: line for (each, group), line in self.known.items() if each == alias}


class Sampled:
    """The first few different keys that a request asked one cache for."""

    __slots__ = ("hits", "misses")

    def __init__(self) -> None:
        self.hits: list[Hashable] = []
        self.misses: list[Hashable] = []

    def note(self, call: RawCall) -> None:
        """Take in a lookup; quick where there are enough."""
        key, outcome = call[KEY], call[OUTCOME]
        if outcome is True:
            if len(self.hits) < SAMPLE_SIZE:
                _note(self.hits, key)
        elif outcome is False:
            if len(self.misses) < SAMPLE_SIZE:
                _note(self.misses, key)
        elif isinstance(outcome, tuple) and isinstance(key, tuple):
            for each, hit in zip(key, outcome, strict=False):
                _note(self.hits if hit else self.misses, each)


def _note(noted: list[Hashable], key: Hashable) -> None:
    if len(noted) < SAMPLE_SIZE and key not in noted:
        noted.append(key)


MOST_WAITING = 10_000
"""Visits that may wait to be counted; older ones make room, and their calls are counted all the
same, only not for a view."""
MOST_GATHERED = 500
"""Visits that may wait with their calls not added up; those of one more add up its own."""
MOST_HEARD = 100
"""Calls that a request may gather; of one that makes more, some are added up on its way."""
MOST_KEYS = 1000
"""Keys of a request that are told apart; what it does with others is in its sums alone."""
MOST_CHANGES = 1000
"""Calls of a request that wrote or deleted, of which the trace notes which view made them."""
_LOOKUPS = frozenset({"get", "get_many", "get_or_set"})
_CHANGES = frozenset({"set", "add", "set_many", "get_or_set", "touch", "delete", "delete_many"})
_FILLS = frozenset({"set", "add", "set_many"})


class KeyUse:
    """What a request did with one key: of a call on several keys each has its share."""

    __slots__ = ("_was_found", "calls", "hits", "lookups", "rewrites", "seconds")

    def __init__(self) -> None:
        self.calls = self.lookups = self.hits = self.rewrites = 0
        self.seconds = 0.0
        self._was_found = False

    def note(self, operation: str, hit: object, seconds: float) -> None:
        """Take in a call; ``hit`` is None where nothing was looked up."""
        self.calls += 1
        self.seconds += seconds
        if hit is not None:
            self.lookups += 1
            self._was_found = hit is True
            self.hits += self._was_found
        elif self._was_found and operation in _FILLS:
            # Once for each time that it was found.
            self.rewrites += 1
            self._was_found = False


class CacheUse(NamedTuple):
    """What a request did with one cache. ``seconds`` is the time of its ``calls``, without that of
    the site's own functions inside; ``keys`` tells it of each key."""

    lookups: int = 0
    misses: int = 0
    seconds: float = 0.0
    calls: int = 0
    keys: Mapping[Hashable, KeyUse] = {}


class RequestStats:
    """Gathers the calls of one request, which are added up when somebody asks: at best the
    draining thread, so that the request does not wait for it. What that takes is made then.

    Several threads may serve one request; appending and removing is atomic.
    """

    __slots__ = (
        "_access_patterns",
        "_adding",
        "_began",
        "_changes",
        "_heard",
        "_sampled",
        "_sums",
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
        self._heard: list[RawCall] = []
        self._sums: dict[str, _Sum] | None = None
        self._access_patterns: AccessPatterns | None = None
        self._sampled: dict[str, Sampled] = _NOT_SAMPLED
        self._changes: list[RawCall] = []
        self._adding = new_lock()

    def heard(self, call: RawCall, kind: str | None = None) -> None:
        """Take note of ``call``."""
        self._heard.append(call)
        # Not waited for: a destructor that calls may run in the midst of adding up.
        if len(self._heard) > MOST_HEARD and not self._adding.locked():
            with self._adding:
                self._add_up()

    def heard_page(self, page_pass: PagePass) -> None:
        """Take note of what came of a pass through Django's page cache."""
        self.page_passes.append(page_pass)

    def end(self) -> bool:
        """Note that the request has ended; whether it called a cache."""
        self.seconds = perf_counter() - self._began
        return bool(self._heard or self._sums)

    def uses(self) -> dict[str, CacheUse]:
        """What the request did with each cache, by alias."""
        with self._adding:
            self._add_up()
            return {alias: each.use() for alias, each in (self._sums or {}).items()}

    def got(self) -> list[RepeatedGet]:
        """The keys that the request got one by one, where these are enough to matter."""
        with self._adding:
            self._add_up()
            if self._access_patterns is None or self.calls < min(MANY_REPEATS, MANY_SINGLES):
                return []
            return list(self._access_patterns.got())

    def sampled(self) -> dict[str, Sampled]:
        """A few of the keys that the request looked up, by alias."""
        with self._adding:
            self._add_up()
            return self._sampled

    def changes(self) -> list[RawCall]:
        """The calls that wrote or deleted, the first of them."""
        with self._adding:
            self._add_up()
            return self._changes

    def _add_up(self) -> None:
        if not self._heard:
            return
        # A copy: what is heard meanwhile stays.
        calls = self._heard[:]
        del self._heard[: len(calls)]
        if self._sums is None:
            self._sums, self._sampled = {}, {}
        if self._access_patterns is None:
            self._access_patterns = AccessPatterns()
        for call in calls:
            if not is_toolbars_own(call[KEY]):
                alias = call[SOURCE].alias
                sum_ = self._sums.get(alias)
                if sum_ is None:
                    sum_ = self._sums[alias] = _Sum()
                self._add(sum_, call)
                self._access_patterns.note(call)
                self.calls += 1
                if (
                    call[SOURCE].operation in _CHANGES
                    and call[OUTCOME] is not True
                    and len(self._changes) < MOST_CHANGES
                ):
                    self._changes.append(call)

    def _add(self, to: "_Sum", call: RawCall) -> None:
        source, _, seconds, key, outcome, *_ = call
        if source.operation in _LOOKUPS:
            if outcome is True:
                to.lookups += 1
            else:
                found = outcome if isinstance(outcome, tuple) else (outcome,)
                missed = found.count(False)
                to.misses += missed
                to.lookups += missed + found.count(True)
            if source.alias not in self._sampled:
                self._sampled[source.alias] = Sampled()
            self._sampled[source.alias].note(call)
        own = seconds if call[PRODUCED] is None else max(seconds - call[PRODUCED], 0.0)
        to.seconds += own
        to.calls += 1
        if isinstance(key, tuple):
            hits = outcome if isinstance(outcome, tuple) else (outcome,) * len(key)
            for each, hit in zip(key, hits, strict=False):
                to.note(each, source.operation, hit, own / len(key))
        elif key is not None:
            to.note(key, source.operation, outcome, own)


class _Sum:
    """A :class:`CacheUse` that grows."""

    __slots__ = ("_keys", "calls", "lookups", "misses", "seconds")

    def __init__(self) -> None:
        self.lookups = self.misses = self.calls = 0
        self.seconds = 0.0
        self._keys: dict[Hashable, KeyUse] = {}

    def note(self, key: Hashable, operation: str, hit: object, seconds: float) -> None:
        use = self._keys.get(key)
        if use is None:
            if len(self._keys) >= MOST_KEYS:
                return
            use = self._keys[key] = KeyUse()
        use.note(operation, hit, seconds)

    def use(self) -> CacheUse:
        return CacheUse(self.lookups, self.misses, self.seconds, self.calls, self._keys)


_NOT_SAMPLED: dict[str, Sampled] = {}


class RequestRecord(NamedTuple):
    """One request: its view, and what it did."""

    view: str
    tally: RequestStats


waiting: deque[RequestRecord] = deque(maxlen=MOST_WAITING)
"""Visits that nobody has counted yet; appending is atomic."""


def note(request_record: RequestRecord) -> None:
    """Let ``visit`` be counted, when there is time."""
    if len(waiting) >= MOST_GATHERED:
        request_record.tally.uses()
    waiting.append(request_record)


def take() -> list[RequestRecord]:
    """Remove and return the visits that wait."""
    return [waiting.popleft() for _ in range(len(waiting))]


_MOST_TEXT = 300
VARIANT = "variant"
"""What ``causes`` has the line under that makes a stored page vary."""
OTHER_KEY = "other_key"
UNVARIED = "unvaried"
"""And the line that makes a page one visitor's own which is stored for all."""


def count(page_pass: PagePass, stats: PageStats) -> None:
    """Count ``page_pass`` in the statistics of its page."""
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
