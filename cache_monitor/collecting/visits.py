"""What single requests did with the caches, on its way to the statistics of their views."""

from collections import deque
from collections.abc import Hashable, Mapping
from time import perf_counter
from typing import NamedTuple

from cache_monitor.calls import RawCall
from cache_monitor.collecting.habits import MANY_REPEATS, MANY_SINGLES, Got, Habits
from cache_monitor.collecting.sampling import Sampled
from cache_monitor.forks import new_lock
from cache_monitor.keys.toolbar import is_toolbars_own
from cache_monitor.pages.passes import PagePass

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


class Use(NamedTuple):
    """What a request did with one cache. ``seconds`` is the time of its ``calls``, without that of
    the site's own functions inside; ``keys`` tells it of each key."""

    lookups: int = 0
    misses: int = 0
    seconds: float = 0.0
    calls: int = 0
    keys: Mapping[Hashable, KeyUse] = {}


class Tally:
    """Gathers the calls of one request, which are added up when somebody asks: at best the
    draining thread, so that the request does not wait for it. What that takes is made then.

    Several threads may serve one request; appending and removing is atomic.
    """

    __slots__ = (
        "_adding",
        "_began",
        "_changes",
        "_habits",
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
        self._habits: Habits | None = None
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

    def uses(self) -> dict[str, Use]:
        """What the request did with each cache, by alias."""
        with self._adding:
            self._add_up()
            return {alias: each.use() for alias, each in (self._sums or {}).items()}

    def got(self) -> list[Got]:
        """The keys that the request got one by one, where these are enough to matter."""
        with self._adding:
            self._add_up()
            if self._habits is None or self.calls < min(MANY_REPEATS, MANY_SINGLES):
                return []
            return list(self._habits.got())

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
        if self._habits is None:
            self._habits = Habits()
        for call in calls:
            if not is_toolbars_own(call[3]):
                alias = call[0].alias
                sum_ = self._sums.get(alias)
                if sum_ is None:
                    sum_ = self._sums[alias] = _Sum()
                self._add(sum_, call)
                self._habits.note(call)
                self.calls += 1
                if (
                    call[0].operation in _CHANGES
                    and call[4] is not True
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
        own = seconds if call[10] is None else max(seconds - call[10], 0.0)
        to.seconds += own
        to.calls += 1
        if isinstance(key, tuple):
            hits = outcome if isinstance(outcome, tuple) else (outcome,) * len(key)
            for each, hit in zip(key, hits, strict=False):
                to.note(each, source.operation, hit, own / len(key))
        elif key is not None:
            to.note(key, source.operation, outcome, own)


class _Sum:
    """A :class:`Use` that grows."""

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

    def use(self) -> Use:
        return Use(self.lookups, self.misses, self.seconds, self.calls, self._keys)


_NOT_SAMPLED: dict[str, Sampled] = {}


class Visit(NamedTuple):
    """One request: its view, and what it did."""

    view: str
    tally: Tally


waiting: deque[Visit] = deque(maxlen=MOST_WAITING)
"""Visits that nobody has counted yet; appending is atomic."""


def note(visit: Visit) -> None:
    """Let ``visit`` be counted, when there is time."""
    if len(waiting) >= MOST_GATHERED:
        visit.tally.uses()
    waiting.append(visit)


def take() -> list[Visit]:
    """Remove and return the visits that wait."""
    return [waiting.popleft() for _ in range(len(waiting))]
