"""From the calls of this process to its slices of the trace, off the hot path.

Of hits, which are the bulk of all calls, each batch has one event a key: from the first to the
last, unless the key changed meanwhile. All else is an event of its own.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from functools import lru_cache
from itertools import compress
from math import inf, log2
from operator import itemgetter
from typing import cast

from msgspec.structs import replace

from cache_monitor.calls import (
    ERROR,
    KEY,
    OUTCOME,
    SECONDS,
    SOURCE,
    STARTED,
    VERSION,
    RawCall,
    Source,
    whole,
)
from cache_monitor.keys.known_keys import is_toolbar_key
from cache_monitor.keys.naming import name_plain_key
from cache_monitor.trace.codec import encode_slices
from cache_monitor.trace.events import (
    CLEAR,
    COMPUTE,
    HIT,
    MISS,
    PATTERN_DELETE,
    SECOND,
    UNKNOWN_VALUE,
    USE,
    WRITE,
    CallType,
    EvictionReading,
    Key,
    Value,
    hash_of,
)
from cache_monitor.trace.plan import Plan, base_name, host_proof
from cache_monitor.trace.slices import MOST_NAMED, Slice
from cache_monitor.worker.batch import Batch, Hits, is_plain_hit, name_and_hash
from cache_monitor.worker.trace_events import (
    CacheIdentity,
    EntryAccess,
    accesses_of,
    entry_identity,
    finals_of,
    is_pattern,
    keys_of,
    name_of,
    shown_name,
    tells_entries,
    values_of,
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
"""Keys whose hash and group are remembered; 5 MB."""
_STEP = SECOND // 50_000
"""Less than so much the clocks' difference is taken to have been misread."""

_Event = tuple[int, str, Key, CallType, int, int, Value]
"""An event that waits for its place among those of its batch: when it ended, its store, key, and
form, when it began, how many times, and what is known of its value. A sweep has a key
without a hash, whose name is the pattern. A bare tuple: there may be one for each call."""

_ended = itemgetter(0)

_READS = frozenset({HIT, MISS, USE})
_LOOKUPS = frozenset({"get", "get_many"})


class Allowance:
    """What a process may bring to the store of a trace for which nobody has made a plan yet:
    ``rate`` bytes a second, and at first what comes together in ``_AT_FIRST``."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._began: float | None = None
        self._spent = 0

    def left(self, now: float) -> float:
        """The bytes that a slice may take; a little is there always."""
        if self._began is None:
            self._began = now
        saved = self.rate * (max(now - self._began, 0.0) + _AT_FIRST) - self._spent
        return max(saved, self.rate)

    def spend(self, size: int) -> None:
        """Note that so many bytes went to the store."""
        self._spent += size


class Tracer:
    """Traces the calls of one process. Not safe for several threads at once.

    ``identity`` gives what is known of an alias, or None where it cannot be traced; ``allowed`` are
    the bytes a second that may come to the store until there is a plan.
    """

    def __init__(
        self,
        process: str,
        host: int,
        identity: Callable[[str], CacheIdentity | None],
        allowed: float = inf,
    ) -> None:
        self._allowance = Allowance(allowed)
        self.process = process
        self._host = host
        self._identity_of = identity
        self._names: dict[str, str] = {}
        self._plans: Mapping[str, Plan] = {}
        self._slices: dict[tuple[str, int], Slice] = {}
        self._sealed_to = 0
        self._offset: int | None = None
        self._doubted: int | None = None
        self._keys: defaultdict[str, dict[str | tuple[str, str], Key]] = defaultdict(dict)
        self._named: set[tuple[str, int]] = set()
        self._events: list[_Event] = []
        self._stores: set[str] = set()
        self._missed: set[str] = set()

    def renewed(self, process: str) -> "Tracer":
        """One that begins anew, under another name."""
        return Tracer(process, self._host, self._identity_of, self._allowance.rate)

    def follow(self, plans: Mapping[str, Plan]) -> None:
        """Let what is traced from now on be that of ``plans``, by store."""
        if plans != self._plans:
            self._plans, self._names = plans, {}
            for (store, _), part in self._slices.items():
                plan = plans.get(base_name(store))
                if plan is not None and not part.plan:
                    part.adopt_plan(plan)

    def encoded(self, part: Slice, now: float) -> bytes:
        """``part`` as it goes to the store. Without a plan it lets keys go until it takes no more
        than this process may write."""
        payload = encode_slices([part.stored()])
        if not part.plan:
            # Of a slice that was written before what has come since.
            most = part.written + self._allowance.left(now)
            while len(payload) > most and len(part) > _LEAST:
                part.raise_to(part.level + max(1, int(log2(len(payload) / most))))
                payload = encode_slices([part.stored()])
            self._allowance.spend(max(len(payload) - part.written, 0))
            part.written = max(len(payload), part.written)
        return payload

    def parts(self) -> Iterator[tuple[str, Slice]]:
        """Store and slice, for all slices at hand."""
        for (store, _), part in self._slices.items():
            yield store, part

    def take_missed(self) -> set[str]:
        """The caches that processes share of which lookups missed since the last time."""
        missed, self._missed = self._missed, set()
        return missed

    def end(self, now: float) -> None:
        """Note that this process ends: nobody need wait for what else it may have to tell."""
        for store in self._stores:
            self._slice(store, int(now * SECOND)).ended = True

    def seal(self, part: Slice) -> None:
        """Let ``part`` not change any more: what is still to come goes to the next."""
        part.final = True
        self._sealed_to = max(self._sealed_to, part.start + part.seconds)

    def forget(self, store: str, part: Slice) -> None:
        """Drop a slice, and seal its bucket."""
        self.seal(part)
        self._slices.pop((store, part.start), None)

    def trace(
        self, batch: Batch, clock_offset: float, computed: Mapping[int, Mapping[str, float]]
    ) -> None:
        """Trace a batch; ``computed`` has the seconds that keys took to compute, by the place of
        their call among its others."""
        offset = self._follow_clock(int(clock_offset * SECOND))
        self._events = []
        changed: defaultdict[str, set[str]] = defaultdict(set)
        known = {alias: self._identity(alias) for alias in batch.aliases()}
        for place, call in enumerate(batch.others):
            source = call[SOURCE]
            identity = known[source.alias]
            if source.operation in _LOOKUPS or identity is None:
                continue
            changed[source.alias].update(
                self._trace_call(call, identity, offset, computed.get(place, {}))
            )
        # A lookup that missed comes before what was stored for it, in the same microsecond perhaps.
        others, self._events = self._events, []
        for source, calls in batch.by_source.items():
            identity = known[source.alias]
            if source.operation in _LOOKUPS and identity is not None:
                self._trace_lookups(source, identity, calls, offset, changed[source.alias])
        self._events += others
        self._trace_hits(batch, offset, changed)
        self._fill_slices()
        self._read(batch)

    def note_view(self, view: str, changes: Iterable[RawCall]) -> None:
        """Note which view made these calls, which were traced before and changed entries."""
        for call in changes:
            alias = call[SOURCE].alias
            identity = self._identity(alias)
            if identity is None:
                continue
            ended = int((call[STARTED] + call[SECONDS]) * SECOND) + (self._offset or 0)
            finals = finals_of(call) if identity.own_keys else {}
            for text in keys_of(call):
                final = finals.get(text, "")
                key = self._keys[alias].get((text, final) if final else text)
                part = self._slices.get((identity.store, self._start(ended)))
                if key is not None and part is not None:
                    part.note_view(key.hash, ended, view[:MOST_NAMED])

    def note_gap(self, alias: str, at: float) -> None:
        """Note that calls of ``alias`` are missing."""
        identity = self._identity(alias)
        if identity is not None:
            self._slice(identity.store, int(at * SECOND)).gap = True

    def note_reading(self, alias: str, reading: EvictionReading) -> None:
        """Note what the backend of ``alias`` says of its evictions."""
        identity = self._identity(alias)
        if identity is not None:
            self._slice(identity.store, reading.at).add_reading(reading)

    def note_full(self, alias: str, at: float) -> None:
        """Note that ``alias`` threw entries out ``at`` that time (Unix) to make room."""
        self.note_reading(alias, EvictionReading(int(at * SECOND), None, full=True))

    def _identity(self, alias: str) -> CacheIdentity | None:
        """What is known of a cache, its entries under the name that they go by now."""
        identity = self._identity_of(alias)
        if identity is None:
            return None
        name = self._names.get(identity.store)
        if name is None:
            name = self._plans.get(base_name(identity.store), Plan()).name_of(identity.store)
            self._names[identity.store] = name
            if host_proof(identity.store) == "s":
                # Whether it is other hosts' as well its server has to tell.
                self._missed.add(alias)
        return identity if name == identity.store else identity._replace(store=name)

    def _follow_clock(self, offset: int) -> int:
        # Of calls a moment apart the order matters more than the time. Who is interrupted while he
        # reads the clocks gets too little, never too much: less is believed the second time.
        if self._offset is None or offset > self._offset + _STEP:
            self._offset = offset
        elif offset < self._offset - _STEP:
            if self._doubted is not None and abs(offset - self._doubted) <= _STEP:
                self._offset = offset
            self._doubted = offset
        else:
            self._doubted = None
        return self._offset

    def _trace_hits(self, batch: Batch, offset: int, changed: Mapping[str, Set[str]]) -> None:
        """Trace plain hits: of each key one event, from the first to the last. Keys that
        ``changed`` in the same batch, by alias, have one for each hit: only the order says which
        of the values it found."""
        singly: dict[Source, Set[str]] = {}
        for source, hits in batch.hits.items():
            identity = self._identity(source.alias)
            if identity is None:
                continue
            keys = hits.runs.keys()
            # Where the project makes the keys, each call has its own word of which entry it was.
            apart = keys if identity.own_keys else keys & changed.get(source.alias, set())
            if apart:
                singly[source] = apart
            if len(apart) < len(keys):
                self._trace_runs(source.alias, identity, hits, offset, apart)
        for call in batch.calls if singly else ():
            if call[KEY] in singly.get(call[SOURCE], ()) and is_plain_hit(call):
                identity = self._identity(call[SOURCE].alias)
                if identity is not None:
                    self._trace_call(whole(call), identity, offset, {})

    def _trace_runs(
        self, alias: str, identity: CacheIdentity, hits: Hits, offset: int, apart: Set[str]
    ) -> None:
        form = CallType(HIT, alias, identity.version)
        for text, run in hits.runs.items():
            if text in apart:
                continue
            last = run.last
            ended = int((last[STARTED] + last[SECONDS]) * SECOND) + offset
            key = self._key(alias, identity, text, ended)
            if key is not None:
                began = int(run.first[STARTED] * SECOND) + offset
                size = run.last_size()
                value = Value(size=size) if size else UNKNOWN_VALUE
                self._events.append((ended, identity.store, key, form, began, run.count, value))

    def _trace_lookups(
        self,
        source: Source,
        identity: CacheIdentity,
        calls: Sequence[RawCall],
        offset: int,
        changed: Set[str],
    ) -> None:
        """Trace calls of ``get`` or ``get_many`` that were no plain hits. There may be very many,
        so what the usual ones of one source have in common is looked up once."""
        unusual = calls
        if source.operation == "get" and not identity.own_keys:
            unusual = self._trace_misses(source, identity, calls, offset)
        elif not identity.own_keys:
            unusual = self._trace_get_many(source, identity, calls, offset, changed)
        for call in unusual:
            self._trace_call(call, identity, offset, {})

    def _trace_misses(
        self, source: Source, identity: CacheIdentity, calls: Sequence[RawCall], offset: int
    ) -> Sequence[RawCall]:
        """Trace what most misses are, a ``get`` of one key; returns the other calls."""
        add, others = self._events.append, []
        keys, form = self._keys[source.alias], _form(MISS, source.alias, identity.version)
        inside: dict[str, Key | None] = {}
        part, since, until = None, 0, 0
        for call in calls:
            text = call[KEY]
            if (
                call[OUTCOME] is not False
                or call[VERSION] is not None
                or call[ERROR] is not None
                or type(text) is not str
            ):
                others.append(call)
                continue
            began = call[STARTED]
            ended = int((began + call[SECONDS]) * SECOND) + offset
            if part is None or not since <= ended < until:
                part = self._slice(identity.store, ended)
                since, until = part.start * SECOND, (part.start + SLICE_SECONDS) * SECOND
                inside = {}
            key = inside.get(text, _UNSEEN)
            if key is _UNSEEN:
                key = keys.get(text) or self._new_key(source.alias, identity, text, part)
                # Of very many keys most are not in.
                if key is not None and not part.takes(key.hash):
                    key = None
                inside[text] = key
            if key is not None:
                add(
                    (
                        ended,
                        identity.store,
                        key,
                        form,
                        int(began * SECOND) + offset,
                        1,
                        UNKNOWN_VALUE,
                    )
                )
        if len(others) < len(calls) and not identity.is_own:
            self._missed.add(source.alias)
        return others

    def _trace_get_many(
        self,
        source: Source,
        identity: CacheIdentity,
        calls: Sequence[RawCall],
        offset: int,
        changed: Set[str],
    ) -> Sequence[RawCall]:
        """Trace calls of ``get_many``: of each key that they found one event, as of plain hits.
        Returns the calls to be traced one by one, such as those of keys that ``changed``."""
        others = []
        runs: dict[str, list[int]] = {}
        missed: list[tuple[str, int, int]] = []
        for call in calls:
            if not _is_usual(call) or not changed.isdisjoint(keys_of(call)):
                others.append(call)
                continue
            began = int(call[STARTED] * SECOND) + offset
            ended = int((call[STARTED] + call[SECONDS]) * SECOND) + offset
            found = cast("tuple[bool, ...]", call[OUTCOME])
            missed += _missed(keys_of(call), found, began, ended)
            for text in compress(keys_of(call), found):
                run = runs.get(text)
                if run is None:
                    run = runs[text] = [began, ended, 0]
                run[1] = ended
                run[2] += 1
        if missed and not identity.is_own:
            self._missed.add(source.alias)
        form = _form(HIT, source.alias, identity.version)
        for text, (began, ended, times) in runs.items():
            self._add_event(identity, source.alias, text, (form, began, ended, times))
        form = _form(MISS, source.alias, identity.version)
        for text, began, ended in missed:
            self._add_event(identity, source.alias, text, (form, began, ended, 1))
        return others

    def _add_event(
        self, identity: CacheIdentity, alias: str, text: str, event: tuple[CallType, int, int, int]
    ) -> None:
        """Note what happened to the key ``text``, if that is in the trace."""
        form, began, ended, times = event
        key = self._key(alias, identity, text, ended)
        if key is not None:
            self._events.append((ended, identity.store, key, form, began, times, UNKNOWN_VALUE))

    def _trace_call(
        self, call: RawCall, identity: CacheIdentity, offset: int, computed: Mapping[str, float]
    ) -> Set[str]:
        """Trace a call of any kind; returns the keys that it changed."""
        if identity.own_keys and not tells_entries(call, identity):
            ended = int((call[STARTED] + call[SECONDS]) * SECOND) + offset
            self._slice(identity.store, ended).gap = True
            return frozenset()
        changed: set[str] = set()
        alias, left = call[SOURCE].alias, dict(computed)
        values: Mapping[str, Value] | None = None
        for access in accesses_of(call, identity, offset):
            if access.kind == CLEAR or (access.kind == PATTERN_DELETE and is_pattern(call)):
                pattern = Key(0, name=name_of(identity, access.key, access.final))
                form = CallType(access.kind, alias, access.version)
                self._events.append(
                    (access.ended, identity.store, pattern, form, access.began, 1, UNKNOWN_VALUE)
                )
            else:
                if access.kind not in _READS:
                    changed.add(access.key)
                value = UNKNOWN_VALUE
                if access.kind == WRITE:
                    values = values_of(call) if values is None else values
                    value = values.get(access.key, UNKNOWN_VALUE)
                    if took := int(left.pop(access.key, 0.0) * SECOND):
                        value = replace(value, compute_time=took)
                self._add_access(identity, alias, access, value)
        finals = finals_of(call) if left else {}
        for key, seconds in left.items():
            # What was computed for an entry that was there by then.
            ended = int((call[STARTED] + call[SECONDS]) * SECOND) + offset
            final = finals.get(key, "")
            access = EntryAccess(COMPUTE, key, identity.version, ended, ended, final=final)
            self._add_access(identity, alias, access, Value(int(seconds * SECOND)))
        return changed

    def _add_access(
        self, identity: CacheIdentity, alias: str, access: EntryAccess, value: Value
    ) -> None:
        key = self._key(alias, identity, access.key, access.ended, access.final)
        if key is not None:
            if access.kind == WRITE and identity.stored is not None:
                value = identity.stored(access, value)
            if access.kind == MISS and not identity.is_own:
                self._missed.add(alias)
            form = _form(access.kind, alias, access.version, access.lasts)
            self._events.append((access.ended, identity.store, key, form, access.began, 1, value))

    def _fill_slices(self) -> None:
        """Put the events of the batch into their slices, ordered by when they ended."""
        events, self._events = self._events, []
        events.sort(key=_ended)
        part, place, until = None, "", 0
        for ended, store, key, form, began, times, value in events:
            if part is None or store != place or ended >= until:
                part, place = self._slice(store, ended), store
                until = (part.start + SLICE_SECONDS) * SECOND
            if not key.hash:
                pattern = None if form.kind == CLEAR else key.name
                part.add_delete(began, ended, pattern, form.version)
            elif not part.level or part.takes(key.hash):
                is_new = key.name and not part.has(key.hash)
                named = self._named_once(store, key) if is_new else key
                part.add(named, form, began, ended, times, value)

    def _named_once(self, store: str, key: Key) -> Key:
        """``key`` without its name, which whoever rolls up remembers, but for the first time."""
        if (store, key.hash) in self._named:
            return replace(key, name="")
        self._named.add((store, key.hash))
        return key

    def _key(
        self, alias: str, identity: CacheIdentity, text: str, at: int, final: str = ""
    ) -> Key | None:
        """The key ``text`` in the trace; None where it is not in at that time."""
        place = (text, final) if final else text
        known = self._keys[alias].get(place)
        if known is not None:
            return known
        return self._new_key(alias, identity, text, self._slice(identity.store, at), final)

    def _new_key(
        self, alias: str, identity: CacheIdentity, text: str, part: Slice, final: str = ""
    ) -> Key | None:
        """A key that is not remembered, which is to go into ``part``; None where it is not in."""
        hashed = hash_of(
            entry_identity(identity, text, final) if final else f"{identity.prefix}\0{text}"
        )
        # Of very many keys most are not in: nothing more is made of them, and nothing remembered.
        if not part.takes(hashed) or is_toolbar_key(text):
            return None
        if sum(map(len, self._keys.values())) >= MOST_REMEMBERED:
            self._keys.clear()
            self._named.clear()
        # A plain name is quickly made, and this remembers it.
        shown, group, kind = name_plain_key(text) or name_and_hash(text, alias)[0]
        name = name_of(identity, text, final) if shown == text else shown_name(shown, kind)
        made = self._keys[alias][(text, final) if final else text] = Key(hashed, group, kind, name)
        return made

    def _start(self, at: int) -> int:
        return max(at // SECOND // SLICE_SECONDS * SLICE_SECONDS, self._sealed_to)

    def _slice(self, store: str, at: int) -> Slice:
        start = self._start(at)
        part = self._slices.get((store, start))
        if part is None:
            plan = self._plans.get(base_name(store))
            part = Slice(start, SLICE_SECONDS, self.process, self._host, plan)
            before = self._slices.get((store, start - SLICE_SECONDS))
            if before is not None:
                # What was too much for it will be for this one, which comes back step by step.
                part.level = max(part.level, before.level - 1)
            self._slices[store, start] = part
            self._stores.add(store)
        return part

    def _read(self, batch: Batch) -> None:
        """Note what caches of this process say of their evictions, by now."""
        at = int(batch.ended * SECOND) + (self._offset or 0)
        for alias in batch.aliases():
            identity = self._identity(alias)
            if identity is None:
                continue
            if not identity.evicts:
                self.note_reading(alias, EvictionReading(at, 0))
            elif identity.is_full is not None:
                self.note_reading(alias, EvictionReading(at, None, "", identity.is_full()))


def _is_usual(call: RawCall) -> bool:
    """Whether a ``get_many`` says of each key whether it was found, in the cache's own version."""
    return (
        isinstance(call[KEY], tuple)
        and isinstance(call[OUTCOME], tuple)
        and call[VERSION] is None
        and call[ERROR] is None
    )


def _missed(
    keys: Sequence[str], found: Sequence[bool], began: int, ended: int
) -> Iterable[tuple[str, int, int]]:
    """The keys of a ``get_many`` that were not found, and when that was."""
    if False not in found:
        return ()
    return [(key, began, ended) for key, hit in zip(keys, found, strict=False) if not hit]


_form = lru_cache(maxsize=1024)(CallType)
_UNSEEN = Key(0)
