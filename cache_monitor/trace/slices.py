"""The slices that a process writes: its events of one store in one time bucket each."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from math import inf, log2

from msgspec.structs import replace

from cache_monitor.stats.codec import NO_INTS, pack_ints
from cache_monitor.trace import (
    CLEAR,
    HASH_BITS,
    HIT,
    SECOND,
    UNKNOWN_VALUE,
    USE,
    CallType,
    EvictionReading,
    Key,
    Plan,
    Value,
    base_name,
    latest_readings,
)
from cache_monitor.trace.codec import (
    MOST_SWEEPS,
    MOST_VIEWS,
    READS,
    StoredSlice,
    encode_slices,
    numbered,
    packed_keys,
    zigzag,
)

SLICE_SECONDS = 10
UNPLANNED_BYTES = 1800.0
"""A second that the processes of a host may write of a trace before there is a plan for it, where
they are many."""
MANY_PROCESSES = 8
_AT_FIRST = 45.0
"""Seconds."""
_LEAST = 10
"""Events that a slice may have in any case."""
MOST_REMEMBERED = 16_384
"""Keys of which it is remembered that their names were written; 2 MB."""
RUN = SECOND
"""Hits of one key that begin within this time of the first are one event."""
LONG_RUN = 10 * SECOND
"""The same if a sample of the keys is traced: then the hottest, which are always traced, are hit
all the time in every process."""
MOST_EVENTS = 20_000
"""Events of one slice. With more it raises its level."""
MOST_KEYS = 10_000
"""Likewise its keys; 5 MB."""
MOST_NAMED = 200
"""Characters of a name that are kept."""
_RUNS = frozenset({HIT, USE})
_LONGEST = 2**40
"""Microseconds, twelve days: longer times are cut to this."""


class Slice:
    """What one process traced of one store from ``start`` (Unix time) for ``seconds``.

    ``level`` is its plan's, or higher if there was too much. ``gap``: calls are missing. ``final``:
    its process will not change it any more. ``ended``: its process has ended. The lists have a
    value for each event; the dictionaries by event are sparse.
    """

    def __init__(
        self, start: int, seconds: int, process: str, host: int, plan: Plan | None = None
    ) -> None:
        plan = plan or Plan()
        self.start = start
        self.seconds = seconds
        self.process = process
        self.host = host
        self.plan = plan.number
        self.hot = plan.hot
        self.level = plan.level
        self.gap = False
        self.final = False
        self.ended = False
        self.written = 0
        """Bytes that went to the store."""
        self.deletes: list[tuple[int, int, int, str | None, int | str]] = []
        self.readings: list[EvictionReading] = []
        self._numbers: dict[int, int] = {}
        self._keys_by_number: list[Key] = []
        self._calls: dict[CallType, int] = {}
        self._event_keys: list[int] = []
        self._event_calls: list[int] = []
        self._ends: list[int] = []
        self._spans: list[int] = []
        self._times: list[int] = []
        self._compute_times: list[int] = []
        self._columns = (
            self._event_keys,
            self._event_calls,
            self._ends,
            self._spans,
            self._times,
            self._compute_times,
        )
        self._fingerprints: dict[int, int] = {}
        self._sizes: dict[int, int] = {}
        self._last_event: dict[int, int] = {}
        self._views: dict[str, int] = {}
        self._event_views: dict[int, int] = {}
        self._change_index: dict[tuple[int, int], int] = {}
        self._indexed_until = 0

    def __len__(self) -> int:
        return len(self._event_keys)

    @property
    def revision(self) -> tuple[object, ...]:
        """A value that differs whenever the slice has changed."""
        return (
            len(self),
            sum(self._times),
            len(self.deletes),
            self.readings[-1:],
            len(self._event_views),
            self.gap,
            self.final,
            self.ended,
        )

    def takes(self, key: int) -> bool:
        """Whether the key with this hash is traced."""
        # As ``level_of`` has it, without a call: of very many keys each is asked for.
        return HASH_BITS - key.bit_length() >= self.level or key in self.hot

    def has(self, key: int) -> bool:
        """Whether the slice has an event of the key with this hash."""
        return key in self._numbers

    def add(
        self,
        key: Key,
        call: CallType,
        began: int,
        ended: int,
        times: int = 1,
        value: Value = UNKNOWN_VALUE,
    ) -> None:
        """Add an event of a key for which :meth:`takes` is true."""
        number = self._numbers.get(key.hash)
        if number is None:
            number = self._numbers[key.hash] = len(self._keys_by_number)
            self._keys_by_number.append(key)
        if value is not UNKNOWN_VALUE and value.size:
            self._sizes[number] = min(value.size, _LONGEST)
        call_number = self._calls.get(call)
        if call_number is None:
            call_number = self._calls[call] = len(self._calls)
        before = self._last_event.get(number)
        if call.kind in _RUNS and before is not None and self._event_calls[before] == call_number:
            first = self._ends[before] - self._spans[before]
            if 0 <= began - first <= (LONG_RUN if self.level else RUN):
                self._ends[before] = max(self._ends[before], ended)
                self._spans[before] = self._ends[before] - first
                self._times[before] += times
                return
        self._last_event[number] = len(self._event_keys)
        if value is not UNKNOWN_VALUE and value.fingerprint:
            self._fingerprints[len(self._event_keys)] = value.fingerprint
        self._event_keys.append(number)
        self._event_calls.append(call_number)
        self._ends.append(ended)
        span = ended - began
        self._spans.append(span if 0 <= span <= _LONGEST else min(max(span, 0), _LONGEST))
        self._times.append(times)
        self._compute_times.append(
            0 if value is UNKNOWN_VALUE else min(value.compute_time, _LONGEST)
        )
        if len(self._event_keys) > MOST_EVENTS or len(self._keys_by_number) > MOST_KEYS:
            self._raise_level()

    def add_delete(
        self, began: int, ended: int, pattern: str | None = None, version: int | str = 1
    ) -> None:
        """Add the delete of all entries, or of those of ``version`` that match ``pattern``."""
        if len(self.deletes) < MOST_SWEEPS:
            self.deletes.append((began, ended, len(self._event_keys), pattern, version))
        else:
            self.gap = True

    def note_view(self, key: int, ended: int, view: str) -> None:
        """Name the view that made the change of this key which ``ended`` then. Without such an
        event nothing happens."""
        number = self._numbers.get(key)
        if number is None or self.final:
            return
        # Indexed only if there are views: a site may not use the middleware.
        kinds = [call.kind for call in self._calls]
        for index in range(self._indexed_until, len(self._event_keys)):
            if kinds[self._event_calls[index]] not in READS:
                self._change_index[self._event_keys[index], self._ends[index]] = index
        self._indexed_until = len(self._event_keys)
        at = self._change_index.get((number, ended))
        if at is not None and (view in self._views or len(self._views) < MOST_VIEWS):
            self._event_views[at] = self._views.setdefault(view, len(self._views) + 1)

    def add_reading(self, reading: EvictionReading) -> None:
        """Add what a backend says of its evictions."""
        self.readings = latest_readings([*self.readings, reading])

    def _raise_level(self) -> None:
        """Drop half of the keys, again and again if need be, but not the hottest."""
        while self._is_half_full() and self.level < HASH_BITS:
            self.raise_to(self.level + 1)
        if len(self._event_keys) > MOST_EVENTS // 2:
            # The hot keys alone have too many events.
            for column in self._columns:
                column.clear()
            for sparse in (self._fingerprints, self._event_views, self._last_event):
                sparse.clear()
            self._change_index, self._indexed_until = {}, 0
            self.gap = True

    def adopt_plan(self, plan: Plan) -> None:
        """Follow ``plan`` as if it had been there from the beginning: there was none."""
        self.plan, self.hot = plan.number, plan.hot
        self.raise_to(plan.level)

    def raise_to(self, level: int) -> None:
        """Drop the keys that are not traced at ``level``."""
        if level <= self.level:
            return
        self.level = min(level, HASH_BITS)
        kept = {number for key, number in self._numbers.items() if self.takes(key)}
        indexes = [index for index, number in enumerate(self._event_keys) if number in kept]
        new = {old: new for new, old in enumerate(indexes)}
        self.deletes = [
            (began, ended, bisect_left(indexes, order), pattern, version)
            for began, ended, order, pattern, version in self.deletes
        ]
        self._last_event = {
            number: new[index] for number, index in self._last_event.items() if number in kept
        }
        for column in self._columns:
            column[:] = [column[index] for index in indexes]
        self._fingerprints = {new[at]: each for at, each in self._fingerprints.items() if at in new}
        self._event_views = {new[at]: each for at, each in self._event_views.items() if at in new}
        self._change_index, self._indexed_until = {}, 0
        self._keep_keys(kept)

    def _is_half_full(self) -> bool:
        return (
            len(self._event_keys) > MOST_EVENTS // 2 or len(self._keys_by_number) > MOST_KEYS // 2
        )

    def _keep_keys(self, kept: set[int]) -> None:
        """Forget all other keys: there may be a million."""
        ordered = sorted(kept)
        new = {old: new for new, old in enumerate(ordered)}
        self._keys_by_number = [self._keys_by_number[number] for number in ordered]
        self._numbers = {
            key: new[number] for key, number in self._numbers.items() if number in kept
        }
        self._event_keys[:] = [new[number] for number in self._event_keys]
        self._last_event = {new[number]: index for number, index in self._last_event.items()}
        self._sizes = {new[old]: each for old, each in self._sizes.items() if old in kept}

    def stored(self) -> StoredSlice:
        """The slice as the store keeps it."""
        aliases = numbered(call.alias for call in self._calls)
        kept = sorted(set(self._event_keys), key=lambda each: self._keys_by_number[each].hash)
        index_of = {number: index for index, number in enumerate(kept)}
        keys = [self._keys_by_number[number] for number in kept]
        groups = numbered((key.group, key.kind) for key in keys)
        highs, lows = packed_keys([key.hash for key in keys])
        base = min(self._ends, default=self.start * SECOND)
        return StoredSlice(
            start=self.start,
            seconds=self.seconds,
            process=self.process,
            host=self.host,
            plan=self.plan,
            level=self.level,
            gap=self.gap,
            final=self.final,
            ended=self.ended,
            base=base,
            aliases=list(aliases),
            groups=list(groups),
            calls=[
                (call.kind, aliases[call.alias], call.version, call.timeout) for call in self._calls
            ],
            highs=highs,
            lows=lows,
            key_groups=pack_ints([groups[key.group, key.kind] for key in keys]),
            names={
                index: key.name[:MOST_NAMED]
                for index, key in enumerate(keys)
                if key.name and len(key.name) <= MOST_NAMED
            },
            keys=pack_ints([index_of[number] for number in self._event_keys]),
            event_calls=pack_ints(self._event_calls),
            ends=pack_ints(zigzag(self._ends, base)),
            spans=pack_ints(self._spans),
            times=pack_ints(self._times),
            compute_times={index: each for index, each in enumerate(self._compute_times) if each},
            deletes=self.deletes,
            readings=self.readings,
            fingerprints=self._fingerprints,
            sizes=pack_ints([self._sizes.get(number, 0) for number in kept]),
            views=list(self._views),
            event_views=self._pack_views(),
        )

    def _pack_views(self) -> bytes:
        if not self._event_views:
            return NO_INTS
        kinds = [call.kind for call in self._calls]
        changes = (at for at, call in enumerate(self._event_calls) if kinds[call] not in READS)
        return pack_ints([self._event_views.get(at, 0) for at in changes])


TracedEvent = tuple[int, str, Key, CallType, int, int, Value]
"""An event before it is in a slice: when it ended, its store, key and type, when it began, how many
times, and its value. A delete of many keys has a key without a hash, whose name is the pattern. A
bare tuple, since there may be one for each call."""


class _Allowance:
    """The bytes that a process may write of traces without a plan: ``rate`` a second, and at first
    those of ``_AT_FIRST``."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._began: float | None = None
        self._spent = 0

    def left(self, now: float) -> float:
        """The bytes that a slice may have; never 0."""
        if self._began is None:
            self._began = now
        saved = self.rate * (max(now - self._began, 0.0) + _AT_FIRST) - self._spent
        return max(saved, self.rate)

    def spend(self, size: int) -> None:
        """So many bytes were written."""
        self._spent += size


class SliceWriter:
    """The slices that one process is writing, by store and time bucket. ``allowed``: the bytes a
    second that it may write without a plan."""

    def __init__(self, process: str, host: int, allowed: float = inf) -> None:
        self.process = process
        self._host = host
        self._allowance = _Allowance(allowed)
        self._plans: Mapping[str, Plan] = {}
        self._slices: dict[tuple[str, int], Slice] = {}
        self._stores: set[str] = set()
        self._sealed_to = 0
        self._repeats_until = 0
        self._named: set[tuple[str, int]] = set()

    def __iter__(self) -> Iterator[tuple[str, Slice]]:
        """Store and slice, for all slices."""
        for (store, _), each in self._slices.items():
            yield store, each

    def follow(self, plans: Mapping[str, Plan]) -> bool:
        """Write by ``plans`` from now on; whether they have changed."""
        if plans == self._plans:
            return False
        self._plans = plans
        for store, each in self:
            plan = plans.get(base_name(store))
            if plan is not None and not each.plan:
                each.adopt_plan(plan)
        return True

    def plan_of(self, store: str) -> Plan:
        """The plan of a store."""
        return self._plans.get(base_name(store), Plan())

    def find(self, store: str, at: int) -> Slice | None:
        """The slice for what happened at a time, if there is one."""
        return self._slices.get((store, self._start(at)))

    def at(self, store: str, at: int) -> Slice:
        """The slice for what happened at a time."""
        start = self._start(at)
        found = self._slices.get((store, start))
        if found is None:
            found = Slice(start, SLICE_SECONDS, self.process, self._host, self.plan_of(store))
            found.gap = start * SECOND < self._repeats_until
            before = self._slices.get((store, start - SLICE_SECONDS))
            if before is not None:
                # What was too much for it will be for this one, which comes back step by step.
                found.level = max(found.level, before.level - 1)
            self._slices[store, start] = found
            self._stores.add(store)
        return found

    def note_set_back(self, until: int) -> None:
        """Note that the clock was set back. Until it is as late again, how old the entries are is
        as little known as where calls are missing."""
        self._repeats_until = until
        for each in self._slices.values():
            each.gap = each.gap or not each.final

    def _start(self, at: int) -> int:
        return max(at // SECOND // SLICE_SECONDS * SLICE_SECONDS, self._sealed_to)

    def add(self, events: Iterable[TracedEvent]) -> None:
        """Add ``events``, which are ordered by when they ended."""
        target, place, until = None, "", 0
        for ended, store, key, call, began, times, value in events:
            if target is None or store != place or ended >= until:
                target, place = self.at(store, ended), store
                until = (target.start + SLICE_SECONDS) * SECOND
            if not key.hash:
                pattern = None if call.kind == CLEAR else key.name
                target.add_delete(began, ended, pattern, call.version)
            elif not target.level or target.takes(key.hash):
                is_new = key.name and not target.has(key.hash)
                named = self._named_once(store, key) if is_new else key
                target.add(named, call, began, ended, times, value)

    def _named_once(self, store: str, key: Key) -> Key:
        """``key`` without its name if that was written: the replay remembers it."""
        if (store, key.hash) in self._named:
            return replace(key, name="")
        if len(self._named) >= MOST_REMEMBERED:
            self._named.clear()
        self._named.add((store, key.hash))
        return key

    def forget_names(self) -> None:
        """Write the name of each key once more."""
        self._named = set()

    def encode(self, each: Slice, now: float) -> bytes:
        """The payload of a slice. Without a plan it drops keys until it has no more bytes than this
        process may write."""
        payload = encode_slices([each.stored()])
        if not each.plan:
            # What was written of the slice before has been spent.
            most = each.written + self._allowance.left(now)
            while len(payload) > most and len(each) > _LEAST:
                each.raise_to(each.level + max(1, int(log2(len(payload) / most))))
                payload = encode_slices([each.stored()])
            self._allowance.spend(max(len(payload) - each.written, 0))
            each.written = max(len(payload), each.written)
        return payload

    def end(self, now: float) -> None:
        """The process ends: nobody need wait for more slices of it."""
        for store in self._stores:
            self.at(store, int(now * SECOND)).ended = True

    def seal(self, each: Slice) -> None:
        """Let a slice not change any more: what is still to come goes to the next."""
        each.final = True
        self._sealed_to = max(self._sealed_to, each.start + each.seconds)

    def forget(self, store: str, each: Slice) -> None:
        """Drop a slice, and seal its bucket."""
        self.seal(each)
        self._slices.pop((store, each.start), None)
