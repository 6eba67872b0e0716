"""How long values took to compute: each miss is matched with the write that follows it.

The function of a ``get_or_set`` is timed by itself. Otherwise a value was computed between the end
of the lookup that missed and the beginning of the next write of the same key (same alias, same
version, as the caller gave it) in the same context, which is a thread or a task:

* An ``add`` counts like a ``set``, even if another value was faster: the work was done.
* If several keys miss before the first of them is written, the second takes the time since the
  first was written, and so on; otherwise time would count twice. A value that is missed and written
  while another is computed is a part of that, whose time counts whole.
* ``set_many`` divides the time evenly among the keys it writes.
* ``cache_page`` looks a page up only if it knows by which headers the page varies. If that list was
  missing, the page's key was never looked up: its write then belongs to the miss of the list for
  the same address. The list itself takes no work, so its own writes count nothing.

Not seen are a value that is written by another thread or task than the one that missed, a failed
call, and a write more than ``MOST_SECONDS`` after the miss. A thread's misses end with its request.
A later task may get the identity of an earlier one: if it writes a key without a lookup that the
earlier one missed, it counts as the earlier one.
"""

import re
from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence
from itertools import islice
from typing import NamedTuple

from cache_monitor.calls import (
    CONTEXT,
    ERROR,
    KEY,
    OUTCOME,
    PRODUCED,
    SECONDS,
    SOURCE,
    STARTED,
    VERSION,
    RawCall,
)
from cache_monitor.keys.known_keys import is_bookkeeping

_MOST = 16
"""The most spans that are kept: more than are open at a time, but for batches, of which the last is
enough."""


class Spans:
    """The spans from miss to write of one thread or task."""

    __slots__ = ("_spans",)

    def __init__(self) -> None:
        # None lies within another: a later miss was written later.
        self._spans: deque[tuple[float, float]] = deque(maxlen=_MOST)

    def since(self, missed: float, started: float, written: float) -> float:
        """When the computation of a value began, from the times of its miss and its write."""
        spans = self._spans
        while spans and spans[-1][0] > missed:
            # It was computed within this one.
            spans.pop()
        since = max(missed, spans[-1][1]) if spans else missed
        spans.append((missed, written))
        return min(since, started)


_MOST_COMPUTED = 2048
"""Computations whose end is remembered; 0.4 MB."""


class Computations:
    """When each thread or task last finished to compute the value of an entry.

    It computes nothing twice at once: where one computation contains another of the same value, as
    in a ``get_or_set`` within a ``get_or_set``, only what follows the inner one is traced, or the
    two would be a stampede.
    """

    __slots__ = ("_ended",)

    def __init__(self) -> None:
        self._ended: OrderedDict[int, int] = OrderedDict()
        """By a hash of the context and the entry."""

    def time_after_inner(
        self, where: tuple[int | None, str, int, str], ended: int, took: int
    ) -> int:
        """Of a computation that ``took`` so long, the time after one that it contains."""
        name = hash(where)
        inner = self._ended.pop(name, 0)
        self._ended[name] = ended
        if len(self._ended) > _MOST_COMPUTED:
            self._ended.popitem(last=False)
        return max(0, min(took, ended - inner))


MOST_PENDING = 10_000
"""The most misses that wait for their write; about 1 MB. The oldest are dropped."""
MOST_SECONDS = 600.0
"""A write this long after the miss was hardly computed all the time."""

_WRITES = frozenset({"set", "add", "set_many"})

# The forms of django.utils.cache; both hold the MD5 of the same address.
_LIST = "views.decorators.cache.cache_header."
_PAGE = re.compile(
    r"views\.decorators\.cache\.cache_page\.(?P<prefix>.*)\.[A-Z]+"
    r"\.(?P<address>[0-9a-f]{32})\.[0-9a-f]{32}(?P<rest>.*)",
    re.DOTALL,
)

_Scope = tuple[int | None, str, Hashable]
"""Context, alias and version."""


class ComputedValue(NamedTuple):
    """A value that was computed, and the seconds that this took."""

    key: str
    seconds: float


class MissSetMatcher:
    """Matches misses with the writes that follow them. Not thread-safe."""

    def __init__(self, most: int = MOST_PENDING) -> None:
        self._most = most
        self._pending: dict[int, float] = {}
        """The ends of misses by a hash of context, alias, version and key: a key may be secret and
        would stay for long if it is never written."""
        self._begun: OrderedDict[int | None, float] = OrderedDict()
        self._spans: OrderedDict[int | None, Spans] = OrderedDict()

    def begin(self, context: int, at: float) -> None:
        """Forget the misses of ``context`` before ``at``."""
        self._begun[context] = at
        self._begun.move_to_end(context)
        if len(self._begun) > self._most:
            self._begun.popitem(last=False)

    def match(
        self, calls: Sequence[RawCall], begun: deque[tuple[float, int]]
    ) -> dict[int, Sequence[ComputedValue]]:
        """The values that ``calls`` wrote, by the index of the call. ``begun``: the beginnings of
        requests, each with its context."""
        found: dict[int, Sequence[ComputedValue]] = {}
        for index, call in enumerate(calls):
            while begun and begun[0][0] <= call[STARTED]:
                at, context = begun.popleft()
                self.begin(context, at)
            source = call[SOURCE]
            if source.operation != "get":
                if values := self._computed_by(call, call[CONTEXT]):
                    found[index] = values
            elif call[OUTCOME] is False and call[ERROR] is None:
                # Inlined: there may be very many.
                where = call[CONTEXT], source.alias, call[VERSION], call[KEY]
                self._pending[hash(where)] = call[STARTED] + call[SECONDS]
                if len(self._pending) > self._most:
                    self._forget_oldest()
        return found

    def _computed_by(self, call: RawCall, context: int | None) -> Sequence[ComputedValue]:
        """The values that a call, which is no ``get``, wrote."""
        operation = call[SOURCE].operation
        source, started, seconds, key, outcome, _, _, version, error, *_ = call
        if error is not None:
            return ()
        ended = started + seconds
        if operation in _WRITES:
            if not self._pending:
                return ()
            return self._written((context, source.alias, version), key, started, ended)
        if operation == "get_many":
            self._note_each((context, source.alias, version), key, outcome, ended)
        elif operation == "get_or_set" and outcome is False and call[PRODUCED] is not None:
            return [ComputedValue(str(key), call[PRODUCED])]
        return ()

    def _note_each(self, where: _Scope, keys: Hashable, outcome: object, miss: float) -> None:
        if isinstance(keys, tuple) and isinstance(outcome, tuple) and False in outcome:
            for each, hit in zip(keys, outcome, strict=False):
                if hit is False:
                    self._pending[hash((*where, each))] = miss
            if len(self._pending) > self._most:
                self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Forget the misses that wait longest: several, for a dict is slow to find its first."""
        pending = self._pending
        too_many = len(pending) - self._most
        for key in list(islice(pending, too_many + self._most // 10 - 1)):
            del pending[key]

    def _written(
        self, where: _Scope, key: Hashable, started: float, ended: float
    ) -> Sequence[ComputedValue]:
        begun = self._begun.get(where[0], 0.0)
        missed, keys = started, []
        for each in key if isinstance(key, tuple) else (key,):
            missed_at = self._miss_of(where, str(each))
            if missed_at is not None and begun <= missed_at <= started:
                keys.append(str(each))
                missed = min(missed, missed_at)
        if not keys or started - missed > MOST_SECONDS:
            return ()
        seconds = started - self._spans_of(where[0]).since(missed, started, ended)
        return [ComputedValue(each, seconds / len(keys)) for each in keys]

    def _spans_of(self, context: int | None) -> Spans:
        spans = self._spans.pop(context, None) or Spans()
        self._spans[context] = spans
        if len(self._spans) > self._most:
            self._spans.popitem(last=False)
        return spans

    def _miss_of(self, where: _Scope, key: str) -> float | None:
        if key.startswith(_LIST) or is_bookkeeping(key):
            return None
        miss = self._pending.pop(hash((*where, key)), None)
        if miss is None and (page := _PAGE.fullmatch(key)):
            headers = f"{_LIST}{page['prefix']}.{page['address']}{page['rest']}"
            miss = self._pending.pop(hash((*where, headers)), None)
        return miss
