"""What the hits of one group were spared, from the values of it that were seen being produced.

Keys of one group may differ by a hundred times, and those that are found most are not those that
are produced most. So the hits of each key count with the time of that key, as far as it is known:

* a key that is among the hottest has its own mean. Where keys were produced often enough to tell
  how much the time of one and the same key varies, that mean is drawn to the group's, the more the
  less it was seen and the less keys differ (the best linear prediction of a random effect;
  Robinson, "That BLUP is a good thing", Statistical Science, 1991);
* all other hits count with the mean of all other values.

The error is stated so that it covers the truth about nineteen times in twenty where one value in a
hundred takes ten times as long as usual (log-normal times with a deviation of 1), and nine times in
ten where it takes thirty times as long: two standard errors, and more where few values were seen,
the more so the less even they are. Few values have hardly one of the long ones among them, so that
their mean and what they spread by are both too small. What nobody has ever seen no figure tells: of
values one in ten of which takes forty times as long, dozens must have been seen.
"""

from collections.abc import Iterable
from math import sqrt
from typing import NamedTuple, Protocol

_ENOUGH = 10
"""Values beyond each key's first from which on they tell how the time of a key varies."""
_AT_MOST = 9
"""How many times as much as the figure an error may be because there are few values: of one alone
not more is known than of which order the figure is."""
_UNEVEN = 4
"""By how much uneven values widen an error, found by trying log-normal ones."""


_NO_TIME = 1e-12
"""Seconds that nothing is divided by: no clock tells so little."""


class Produced(Protocol):
    """How many values were seen being produced, and the seconds that this took."""

    @property
    def produced(self) -> int: ...
    @property
    def produce_seconds(self) -> float: ...
    @property
    def produce_squares(self) -> float: ...


class ProducedKey(Produced, Protocol):
    """The same of a single key, and how often it was found."""

    @property
    def hits(self) -> int: ...


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


def _tells_spread(stats: Produced) -> bool:
    # Rows of before there were squares have none.
    return bool(stats.produce_squares) or not stats.produce_seconds


def _spread(count: float, total: float, squares: float) -> float:
    """The variance of ``count`` values; the most that it may be where it is not known."""
    mean = total / count
    if count < 2 or not squares:
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

    def __init__(self, group: Produced, keys: Iterable[ProducedKey]) -> None:
        self._keys = [each for each in keys if each.hits or each.produced]
        self._count = group.produced
        self._mean = group.produce_seconds / group.produced
        self._spread = _spread(group.produced, group.produce_seconds, group.produce_squares)
        self._variance = self._variances()

    def _variances(self) -> "_Variances":
        seen = [each for each in self._keys if each.produced]
        count = sum(each.produced for each in seen)
        freedom = count - len(seen)
        if freedom < _ENOUGH or len(seen) < 2 or not all(map(_tells_spread, seen)):
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

    def spared_by_key(self, key: ProducedKey) -> Estimate:
        """What the hits of one key were spared."""
        seconds, variance, of_group = self._of_keys([key])
        variance += of_group**2 * self._spread / self._count
        return self._stated(Estimate(seconds, 2 * sqrt(variance)))

    def _of_keys(self, keys: Iterable[ProducedKey]) -> tuple[float, float, float]:
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
        error = sqrt(seen**2 + (2 * few * size) ** 2) * (1 + 4 * few)
        return estimate._replace(error=min(error, max(estimate.error, _AT_MOST * size)))

    def _unevenness(self) -> float:
        """How the times of one key vary, as far as that is known, as a share of their mean."""
        if self._mean <= _NO_TIME:
            return 0.0
        if self._variance.within is not None:
            return sqrt(min(self._variance.within_share, self._variance.within / self._mean**2))
        return sqrt(self._spread) / self._mean
