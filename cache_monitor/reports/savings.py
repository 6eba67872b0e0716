"""What a cache saves: the time to compute the values that it found, less the time of its calls.

* A group saves what its hits would have taken to compute, less the time of all calls on its keys.
  A negative figure says that the cache costs more than it saves, and stays negative.
* A hit whose value the same request then writes anew saved nothing, except that of a session: what
  was found need not be loaded, and what has changed is stored.
* A cached page and its list of headers are one: the page's hits count, and the time of both.
* What is state, not a copy (below), saves nothing and costs nothing.
* None says that nobody saw a value being computed; it is never 0.

Keys of one group may differ by a hundred times, and those that are found most are not those that
are computed most. So the hits of each key count with the compute time of that key, as far as known:

* A key among the hottest has its own mean. If the group shows how much the times of one key vary,
  that mean is drawn to the group's: the more, the fewer values were seen and the less keys differ
  (the best linear prediction of a random effect; Robinson, "That BLUP is a good thing", Statistical
  Science, 1991).
* All other hits count with the mean of all other values.

The error covers the truth nineteen times in twenty, also if one value in a hundred takes thirty
times as long as usual (log-normal times with a deviation of 1.46). It is two standard errors, and
more if few values were seen, the more so the less even they are: few values seldom have a long one
among them, so that their mean and their spread are both too small. One value tells little more than
that there was one. Of values of which one in ten takes forty times as long, dozens must be seen.

A counter, a throttle, a lock, a flag, a namespace's version or a deny list saves no work: there is
nothing to compute its value from. Its use shows that, not its name:

* Its values are changed in place (``incr``, ``decr``).
* They are added and never fill a miss: locks, and what must be done once.
* They are written without a miss before, at no work: a throttle's history, a version.
* Hardly any of its misses is filled: a flag, a deny list.
* Who misses mostly waits for others to write, which takes no work: a task's result.
* A query cache notes in them when a table was written.
"""

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from math import sqrt
from typing import NamedTuple

from cache_monitor.keys.known_keys import CACHALOT_GROUP, CACHALOT_TABLES_GROUP, CACHEOPS_GROUP
from cache_monitor.keys.naming import headers_of_page
from cache_monitor.stats.details import Details, ViewStats, ViewUse
from cache_monitor.stats.groups import GroupStats
from cache_monitor.stats.hot_keys import KeyStats

_ENOUGH = 10
"""Values beyond each key's first from which on they tell how the time of a key varies."""
_AT_MOST = 33
"""How many times as much as the figure an error may be because there are few values: one alone may
be one of the short ones, where the long ones make the mean."""
_UNEVEN = 6
"""By how much uneven values widen an error, found by trying log-normal ones."""
_HARDLY_ANY = 12
"""Likewise how much of the figure nobody can tell from one, two or three values."""


_NO_TIME = 1e-12
"""Seconds that nothing is divided by: no clock tells so little."""


Produced = GroupStats | KeyStats
"""What knows how many values were seen being produced, and the seconds that this took."""


class Estimate(NamedTuple):
    """A figure, and how far off it may be."""

    seconds: float
    error: float

    def less(self, seconds: float) -> "Estimate":
        """The figure less ``seconds``, which are known."""
        return Estimate(self.seconds - seconds, self.error)

    def times(self, factor: float) -> "Estimate":
        """A part or a multiple of it."""
        return Estimate(self.seconds * factor, self.error * factor)


NOTHING = Estimate(0.0, 0.0)


def added(estimates: Iterable[Estimate | None]) -> Estimate | None:
    """Independent estimates together; None where none is known."""
    known = [each for each in estimates if each is not None]
    if not known:
        return None
    total = sum(each.seconds for each in known)
    return Estimate(total, sqrt(sum(each.error**2 for each in known)))


def mean_to_produce(stats: Produced) -> float | None:
    """The mean seconds that one value took to produce; None where none was seen."""
    return _mean(stats) if stats.produced else None


def _mean(stats: Produced) -> float:
    return stats.produce_seconds / stats.produced


def _own_squares(stats: Produced) -> float:
    """The sum of the squares by which the times of one key differ from its mean."""
    return max(stats.produce_squares - stats.produce_seconds * _mean(stats), 0.0)


def _spread(count: float, total: float, squares: float) -> float:
    """The variance of ``count`` values; of a single one the most that it may be."""
    mean = total / count
    if count < 2:
        return mean * mean
    return max(squares - total * mean, 0.0) / (count - 1)


class _Variances(NamedTuple):
    """How the times of one key vary, None where too few tell, in seconds and as a share of its
    mean; and how those of different keys do, by estimate and at most."""

    within: float | None
    within_share: float
    between: float
    between_at_most: float


class ProduceTimes:
    """What values of one group take to produce, of which at least one was seen."""

    def __init__(self, group: Produced, keys: Iterable[KeyStats]) -> None:
        self._keys = [each for each in keys if each.hits or each.produced]
        self._count = group.produced
        self._mean = group.produce_seconds / group.produced
        self._spread = _spread(group.produced, group.produce_seconds, group.produce_squares)
        self._variance = self._variances()

    def _variances(self) -> "_Variances":
        seen = [each for each in self._keys if each.produced]
        count = sum(each.produced for each in seen)
        freedom = count - len(seen)
        if freedom < _ENOUGH or len(seen) < 2:
            return _Variances(None, 0.0, self._spread, self._spread)
        within = sum(map(_own_squares, seen)) / freedom
        timed = [each for each in seen if _mean(each) > _NO_TIME]
        share = sum(_own_squares(each) / _mean(each) ** 2 for each in timed) / freedom
        mean = sum(each.produce_seconds for each in seen) / count
        apart = sum(each.produced * (_mean(each) - mean) ** 2 for each in seen)
        usual = count - sum(each.produced**2 for each in seen) / count
        between = max(apart - (len(seen) - 1) * within, 0.0) / usual
        by_chance = within * sqrt(2 * (len(seen) - 1)) / usual
        return _Variances(within, share, between, between + 2 * by_chance)

    @property
    def apart(self) -> float:
        """How much the times of different keys differ at most: their standard deviation."""
        return sqrt(self._variance.between_at_most)

    def mean_of(self, key: Produced) -> float:
        """What a value of one key takes to produce."""
        if not key.produced:
            return self._mean
        share = self._share(key)
        return share * _mean(key) + (1 - share) * self._mean

    def _share(self, key: Produced) -> float:
        """What a key's own times count, beside those of its group."""
        if self._variance.within is None or not key.produced:
            return 1.0 if key.produced else 0.0
        whole = key.produced * self._variance.between + self._variance.within
        return key.produced * self._variance.between / whole if whole else 1.0

    def _uncertain(self, key: Produced, share: float) -> float:
        """The variance of a key's mean, but for what that has of the group's."""
        if not key.produced:
            return self._variance.between_at_most
        variance = self._variance
        within = self._spread
        if variance.within is not None:
            # Dear ones vary by more seconds than cheap ones.
            within = max(variance.within, variance.within_share * self.mean_of(key) ** 2)
        return share**2 * within / key.produced + (1 - share) ** 2 * self._variance.between_at_most

    def spared(self, hits: int) -> Estimate:
        """What ``hits`` of the whole group were spared, of which the keys know theirs."""
        seconds, variance, of_group = self._of_keys(self._keys)
        known = sum(each.hits for each in self._keys)
        rest = max(hits - known, 0)
        if rest:
            mean, uncertain = self._of_the_rest()
            seconds += rest * mean
            variance += rest**2 * uncertain
        variance += of_group**2 * self._spread / self._count
        counted = known + rest
        estimate = Estimate(seconds, 2 * sqrt(variance))
        return self._stated(estimate.times(hits / counted) if counted else NOTHING)

    def spared_by_key(self, key: KeyStats) -> Estimate:
        """What the hits of one key were spared."""
        seconds, variance, of_group = self._of_keys([key])
        variance += of_group**2 * self._spread / self._count
        return self._stated(Estimate(seconds, 2 * sqrt(variance)))

    def _of_keys(self, keys: Iterable[KeyStats]) -> tuple[float, float, float]:
        """What the hits of ``keys`` were spared, the variance of that, and the hits that count
        with the mean of the group."""
        seconds = variance = of_group = 0.0
        for each in keys:
            share = self._share(each)
            seconds += each.hits * self.mean_of(each)
            variance += each.hits**2 * self._uncertain(each, share)
            of_group += each.hits * (1 - share)
        return seconds, variance, of_group

    def _of_the_rest(self) -> tuple[float, float]:
        """The mean of all keys but those that are known one by one, and the variance of that."""
        count = self._count - sum(each.produced for each in self._keys)
        if count < 1:
            return self._mean, self._variance.between_at_most + self._spread / self._count
        total = self._mean * self._count - sum(each.produce_seconds for each in self._keys)
        mean = max(total, 0.0) / count
        return mean, max(self._spread, mean * mean / count) / count

    def _stated(self, estimate: Estimate) -> Estimate:
        """``estimate`` with an error that minds how few values tell how much they differ."""
        few = 1 / self._count
        size = abs(estimate.seconds)
        seen = estimate.error * (1 + _UNEVEN * self._unevenness() * sqrt(few))
        unseen = (2 * few + _HARDLY_ANY * few**2) * size
        error = sqrt(seen**2 + unseen**2) * (1 + 8 * few)
        return estimate._replace(error=min(error, max(estimate.error, _AT_MOST * size)))

    def _unevenness(self) -> float:
        """How the times of one key vary, as far as that is known, as a share of their mean."""
        if self._mean <= _NO_TIME:
            return 0.0
        if self._variance.within is not None:
            return sqrt(min(self._variance.within_share, self._variance.within / self._mean**2))
        return sqrt(self._spread) / self._mean


NO_WORK = 1e-3
"""Seconds between a miss and its write, beyond what a lookup takes, in which hardly anybody was
asked for anything: what starts a history from nothing, be it that a thread had to wait."""


_QUERIES = frozenset({CACHALOT_GROUP, CACHEOPS_GROUP})
"""What a database was asked: copies, be they written anew where a table has changed."""


def is_state(name: str, group: GroupStats) -> bool:
    """Whether the use of the group ``name`` shows that its values are no copies."""
    if group.kind in {"page", "page_headers", "fragment"} or name in _QUERIES:
        return False
    return (
        name == CACHALOT_TABLES_GROUP
        or _is_changed_in_place(group)
        or _is_added(group)
        or _is_written_unasked(group)
        or _is_hardly_filled(group)
        or _is_awaited(group)
    )


def _is_changed_in_place(group: GroupStats) -> bool:
    return group.counts > 0 and 2 * group.counts >= group.sets


def _is_added(group: GroupStats) -> bool:
    # An add that fills a miss was seen producing its value.
    return group.adds > 0 and 2 * group.adds >= group.sets and 2 * group.produced < group.adds


def _is_written_unasked(group: GroupStats) -> bool:
    unasked = max(group.sets - group.misses, group.rewrites)
    # Who comes back late finds his history gone: then what he finds is written anew all the same.
    mostly = 2 * unasked >= group.sets or 2 * group.rewrites >= group.hits
    return bool(unasked and mostly) and _takes_no_work(group)


def _is_hardly_filled(group: GroupStats) -> bool:
    return (
        group.sets > 0
        and group.misses > 2 * group.sets
        and group.hits < group.misses
        and 2 * group.produced < group.sets
    )


def _is_awaited(group: GroupStats) -> bool:
    return group.sets > 0 and 2 * group.misses >= 3 * group.sets and _takes_no_work(group)


def _takes_no_work(group: GroupStats) -> bool:
    if not group.produced:
        return False
    lookup = group.lookup_seconds / group.lookups if group.lookups else 0.0
    return group.produce_seconds / group.produced <= lookup + NO_WORK


class Savings:
    """What groups, keys and views save, given all that is known of one cache's keys."""

    def __init__(self, details: Details) -> None:
        self._groups = details.groups
        keys: defaultdict[str, list[KeyStats]] = defaultdict(list)
        for stats in details.hot_keys.table.values():
            keys[stats.group].append(stats)
        self._keys = keys
        self._times = cache(self._times_of)

    def of_all(self) -> Estimate | None:
        """What all groups save together; None where it is known of none."""
        return added(self.of_group(name, group) for name, group in self._groups.items())

    def of_group(self, name: str, group: GroupStats) -> Estimate | None:
        """What the hits of a group save."""
        if group.kind == "page_headers":
            # Counted with its page.
            return None
        if is_state(name, group):
            return NOTHING
        spent = group.lookup_seconds + group.other_seconds + self._seconds_of_headers(name, group)
        return self._saved(name, _sparing(group, group), group.lookups, spent)

    def of_key(self, stats: KeyStats) -> Estimate | None:
        """What the hits of one key save; what is not known of itself is as in its group."""
        group = self._groups.get(stats.group)
        if group is None or group.kind == "page_headers":
            return None
        if is_state(stats.group, group):
            return NOTHING
        lookup = group.lookup_seconds / group.lookups if group.lookups else 0.0
        spent = stats.lookups * lookup
        if not stats.hits:
            return Estimate(-spent, 0.0) if stats.lookups else None
        times = self._times(stats.group)
        return None if times is None else times.spared_by_key(stats).less(spent)

    def of_view(self, view: ViewStats) -> Estimate | None:
        """What the hits of one view's requests save."""
        saved: list[Estimate | None] = []
        for name, use in view.groups.items():
            group = self._groups.get(name)
            if group is None or is_state(name, group):
                continue
            if group.kind == "page_headers":
                saved.append(Estimate(-use.seconds, 0.0))
                continue
            saved.append(self._of_use(name, group, use))
        return added(saved)

    def _of_use(self, name: str, group: GroupStats, use: ViewUse) -> Estimate | None:
        """What the hits of one view on one group save: they are taken to be like the others."""
        hits, every = _sparing(group, use), _sparing(group, group)
        if hits >= every or hits <= 0:
            return self._saved(name, hits, use.lookups, use.seconds)
        whole = self._saved(name, every, group.lookups, 0.0)
        if whole is None:
            return None
        part = whole.times(hits / every)
        # It may ask for keys that are unlike those of the other views.
        times = self._times(name)
        unlike = 0.0 if times is None else 2 * hits * times.apart * (1 - hits / every)
        return part._replace(error=sqrt(part.error**2 + unlike**2)).less(use.seconds)

    def _saved(self, name: str, hits: int, lookups: int, spent: float) -> Estimate | None:
        if hits <= 0:
            # Whatever a value takes to produce: none was there to save it.
            return Estimate(-spent, 0.0) if lookups else None
        times = self._times(name)
        return None if times is None else times.spared(hits).less(spent)

    def _times_of(self, name: str) -> ProduceTimes | None:
        group = self._groups[name]
        return ProduceTimes(group, self._keys.get(name, ())) if group.produced else None

    def _seconds_of_headers(self, name: str, group: GroupStats) -> float:
        headers = self._groups.get(headers_of_page(name) or "") if group.kind == "page" else None
        return headers.lookup_seconds + headers.other_seconds if headers is not None else 0.0


def _sparing(group: GroupStats, use: GroupStats | ViewUse) -> int:
    """The hits of ``use`` that spared producing a value."""
    return use.hits if group.kind == "session" else use.hits - use.rewrites
