"""From the calls of a process to events in its slices of the trace, off the hot path.

Of hits, which are the bulk of all calls, each batch has one event a key: from the first to the
last, unless the key changed meanwhile. All else is an event of its own.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence, Set
from functools import lru_cache, partial
from itertools import compress
from math import inf
from operator import itemgetter, not_
from typing import cast

from msgspec.structs import replace

from cache_monitor.calls import (
    CONTEXT,
    ERROR,
    KEY,
    OUTCOME,
    SECONDS,
    SOURCE,
    STARTED,
    VERSION,
    RawCall,
    Recorded,
    Source,
    entries_of,
    keys_of,
    whole,
)
from cache_monitor.keys.known_keys import is_toolbar_key
from cache_monitor.keys.naming import name_plain_key
from cache_monitor.stats.compute_time import Computations
from cache_monitor.trace import (
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
    Plan,
    Value,
    hash_of,
    host_proof,
)
from cache_monitor.trace.slices import MOST_NAMED, SLICE_SECONDS, Slice, SliceWriter, TracedEvent
from cache_monitor.worker.batch import Batch, Hits, is_plain_hit, name_and_hash
from cache_monitor.worker.trace_events import (
    CacheIdentity,
    EntryAccess,
    accesses_of,
    call_version,
    entry_identity,
    finals_of,
    is_pattern,
    name_of,
    shown_name,
    tells_entries,
    values_of,
)

MOST_REMEMBERED = 16_384
"""Keys whose hash and group are remembered; 5 MB."""
_STEP = SECOND // 50_000
"""The clocks' difference is taken to be misread if it falls by more than this."""
_SET_BACK = SECOND // 4
"""A clock that is set back by less is within what is allowed for: expiry takes up to a second."""

_ended = itemgetter(0)

_READS = frozenset({HIT, MISS, USE})
_LOOKUPS = frozenset({"get", "get_many"})


class _TracedKeys:
    """The keys of one process that are in the trace."""

    def __init__(self) -> None:
        self._keys: defaultdict[str, dict[str | tuple[str, str], Key]] = defaultdict(dict)

    def remembered(self, alias: str) -> Mapping[str | tuple[str, str], Key]:
        """The keys of a cache that are remembered, by their text; as :meth:`make` adds to them."""
        return self._keys[alias]

    def find(self, alias: str, text: str, final: str = "") -> Key | None:
        return self._keys[alias].get((text, final) if final else text)

    def make(
        self, alias: str, identity: CacheIdentity, text: str, target: Slice, final: str = ""
    ) -> Key | None:
        """A key that is not remembered; None if ``target`` does not take it."""
        hashed = hash_of(
            entry_identity(identity, text, final) if final else f"{identity.prefix}\0{text}"
        )
        # Of very many keys most are not in: nothing more is made of them, and nothing remembered.
        if not target.takes(hashed) or is_toolbar_key(text):
            return None
        if sum(map(len, self._keys.values())) >= MOST_REMEMBERED:
            for remembered in self._keys.values():
                remembered.clear()
        # A plain name is quickly made, and this remembers it.
        shown, group, kind = name_plain_key(text) or name_and_hash(text, alias)[0]
        name = name_of(identity, text, final) if shown == text else shown_name(shown, kind)
        made = self._keys[alias][(text, final) if final else text] = Key(hashed, group, kind, name)
        return made


class Tracer:
    """Traces the calls of one process. Not safe for several threads at once.

    ``identity`` gives what is known of an alias, or None if it cannot be traced. ``allowed``: the
    bytes a second that may be written without a plan.
    """

    def __init__(
        self,
        process: str,
        host: int,
        identity: Callable[[str], CacheIdentity | None],
        allowed: float = inf,
    ) -> None:
        self.slices = SliceWriter(process, host, allowed)
        self.renewed = partial(Tracer, host=host, identity=identity, allowed=allowed)
        """Makes a tracer without events for another process."""
        self._identity_of = identity
        self._names: dict[str, str] = {}
        """The stores' names by the present plans."""
        self._keys = _TracedKeys()
        self._computations = Computations()
        self._offset = -(1 << 62)
        """What makes Unix time, in microseconds, of the clock of calls."""
        self._doubted: int | None = None
        self._events: list[TracedEvent] = []
        self._missed: set[str] = set()

    def follow(self, plans: Mapping[str, Plan]) -> None:
        """Trace by ``plans``, which are by store, from now on."""
        if self.slices.follow(plans):
            self._names = {}

    def take_missed(self) -> set[str]:
        """The shared caches of which lookups missed since the last time."""
        missed, self._missed = self._missed, set()
        return missed

    def trace(
        self, batch: Batch, clock_offset: float, computed: Mapping[int, Mapping[str, float]]
    ) -> None:
        """Trace a batch. ``computed``: the compute time in seconds by key, by the index of the call
        among ``batch.others``."""
        self._follow_clock(int(clock_offset * SECOND), batch.ended)
        self._events = []
        changed: defaultdict[str, set[str]] = defaultdict(set)
        known = {alias: self._identity(alias) for alias in batch.aliases()}
        for index, call in enumerate(batch.others if batch.by_source else ()):
            source = call[SOURCE]
            identity = known[source.alias]
            if source.operation not in _LOOKUPS and identity is not None:
                keys = self._trace_call(call, identity, computed.get(index, {}))
                changed[source.alias].update(keys)
        # A lookup that missed comes before what was stored for it, in the same microsecond perhaps.
        others, self._events = self._events, []
        for source, calls in batch.misses.items():
            identity = known[source.alias]
            if identity is not None and not identity.own_keys:
                self._trace_misses(source.alias, identity, calls)
            elif identity is not None:
                self._trace_lookups(source, identity, calls, frozenset())
        for source, calls in batch.by_source.items():
            identity = known[source.alias]
            if source.operation in _LOOKUPS and identity is not None:
                self._trace_lookups(source, identity, calls, changed[source.alias])
        self._events += others
        self._trace_hits(batch, changed)
        events, self._events = self._events, []
        events.sort(key=_ended)
        self.slices.add(events)
        self._read_evictions(batch)

    def forget_keys(self) -> None:
        """Name and hash all keys anew when they come again."""
        self._keys = _TracedKeys()
        self.slices.forget_names()

    def note_view(self, view: str, changes: Iterable[RawCall]) -> None:
        """Name the view that made these calls, which were traced before and changed entries."""
        for call in changes:
            alias = call[SOURCE].alias
            identity = self._identity(alias)
            if identity is None:
                continue
            ended = self._end_of(call)
            finals = finals_of(call) if identity.own_keys else {}
            for text in keys_of(call):
                key = self._keys.find(alias, text, finals.get(text, ""))
                target = self.slices.find(identity.store, ended)
                if key is not None and target is not None:
                    target.note_view(key.hash, ended, view[:MOST_NAMED])

    def note_gap(self, alias: str, at: float) -> None:
        identity = self._identity(alias)
        if identity is not None:
            self.slices.at(identity.store, int(at * SECOND)).gap = True

    def note_reading(self, alias: str, reading: EvictionReading) -> None:
        """The backend of ``alias`` said this of its evictions."""
        identity = self._identity(alias)
        if identity is not None:
            self.slices.at(identity.store, reading.at).add_reading(reading)

    def note_full(self, alias: str, at: float) -> None:
        """``alias`` evicted entries at a time (Unix) to make room."""
        self.note_reading(alias, EvictionReading(int(at * SECOND), None, full=True))

    def _identity(self, alias: str) -> CacheIdentity | None:
        """What is known of a cache, with the present name of its store."""
        identity = self._identity_of(alias)
        if identity is None:
            return None
        name = self._names.get(identity.store)
        if name is None:
            name = self.slices.plan_of(identity.store).name_of(identity.store)
            self._names[identity.store] = name
            if host_proof(identity.store) == "s":
                # Its server has to tell whether it is other hosts' as well.
                self._missed.add(alias)
        return identity if name == identity.store else identity._replace(store=name)

    def _follow_clock(self, offset: int, at: float) -> None:
        # Of calls a moment apart the order matters more than the time. A thread that is interrupted
        # while it reads the clocks gets too little, never too much: less is believed the second
        # time.
        if offset > self._offset + _STEP:
            self._offset = offset
        elif offset < self._offset - _STEP:
            if self._doubted is not None and abs(offset - self._doubted) <= _STEP:
                if offset < self._offset - _SET_BACK:
                    self.slices.note_set_back(int(at * SECOND) + self._offset)
                self._offset = offset
            self._doubted = offset
        else:
            self._doubted = None

    def _end_of(self, call: Recorded) -> int:
        """When a call ended, in microseconds of Unix time."""
        return int((call[STARTED] + call[SECONDS]) * SECOND) + self._offset

    def _trace_hits(self, batch: Batch, changed: Mapping[str, Set[str]]) -> None:
        """Trace plain hits, one event for each key. Keys that ``changed`` in the batch (by alias)
        have one for each hit: only the order tells which value it found."""
        singly: dict[Source, Set[str]] = {}
        for source, hits in batch.hits.items():
            identity = self._identity(source.alias)
            if identity is None:
                continue
            keys = hits.runs.keys()
            # Where the project makes the keys, each call tells which entry it was.
            apart = keys if identity.own_keys else keys & changed.get(source.alias, set())
            if apart:
                singly[source] = apart
            if len(apart) < len(keys):
                self._trace_runs(source.alias, identity, hits, apart)
        for call in batch.calls if singly else ():
            if call[KEY] in singly.get(call[SOURCE], ()) and is_plain_hit(call):
                identity = self._identity(call[SOURCE].alias)
                if identity is not None:
                    self._trace_call(whole(call), identity, {})

    def _trace_runs(self, alias: str, identity: CacheIdentity, hits: Hits, apart: Set[str]) -> None:
        form, store = _form(HIT, alias, identity.version), identity.store
        remembered, add = self._keys.remembered(alias), self._events.append
        for text, run in hits.runs.items():
            if text in apart:
                continue
            ended = self._end_of(run.last)
            key = remembered.get(text) or self._keys.make(
                alias, identity, text, self.slices.at(store, ended)
            )
            if key is not None:
                size = run.last_size()
                value = Value(size=size) if size else UNKNOWN_VALUE
                began = int(run.first[STARTED] * SECOND) + self._offset
                add((ended, store, key, form, began, run.count, value))

    def _trace_lookups(
        self,
        source: Source,
        identity: CacheIdentity,
        calls: Sequence[RawCall],
        changed: Set[str],
    ) -> None:
        """Trace calls of ``get`` or ``get_many`` that were no plain hits. There may be very many,
        so usual ones are traced together. Keys that ``changed`` are traced call by call."""
        if source.operation == "get_many" and not identity.own_keys:
            usual, calls = _plain_get_manys(calls, changed)
            self._trace_get_many(source.alias, identity, usual)
        for call in calls:
            self._trace_call(call, identity, {})

    def _trace_misses(self, alias: str, identity: CacheIdentity, calls: Sequence[RawCall]) -> None:
        """Trace plain misses. Each key is looked up once for each slice."""
        # There may be a million different keys: nothing is called for each but what makes a key.
        form, store = _form(MISS, alias, identity.version), identity.store
        offset, remembered, add = self._offset, self._keys.remembered(alias), self._events.append
        target, since, until = None, 0, 0
        taken: dict[Hashable, Key | None] = {}
        for call in calls:
            ended = int((call[STARTED] + call[SECONDS]) * SECOND) + offset
            if target is None or not since <= ended < until:
                target, taken = self.slices.at(store, ended), {}
                since, until = target.start * SECOND, (target.start + SLICE_SECONDS) * SECOND
            text = call[KEY]
            key = taken.get(text, _UNSEEN)
            if key is _UNSEEN:
                key = remembered.get(text)  # type: ignore[call-overload]  # a plain miss's is a text
                if key is None:
                    key = self._keys.make(alias, identity, str(text), target)
                elif not target.takes(key.hash):
                    key = None
                taken[text] = key
            if key is not None:
                began = int(call[STARTED] * SECOND) + offset
                add((ended, store, key, form, began, 1, UNKNOWN_VALUE))
        if calls and not identity.is_own:
            self._missed.add(alias)

    def _trace_get_many(
        self, alias: str, identity: CacheIdentity, calls: Sequence[RawCall]
    ) -> None:
        """Trace calls of ``get_many``: one event for the hits of each key, one for each miss."""
        runs: dict[str, list[int]] = {}
        hit, miss = (_form(kind, alias, identity.version) for kind in (HIT, MISS))
        for call in calls:
            began, ended = int(call[STARTED] * SECOND) + self._offset, self._end_of(call)
            found = cast("tuple[bool, ...]", call[OUTCOME])
            for text in compress(keys_of(call), found):
                run = runs.get(text)
                if run is None:
                    run = runs[text] = [began, ended, 0]
                run[1] = ended
                run[2] += 1
            if False in found:
                for text in compress(keys_of(call), map(not_, found)):
                    self._add_event(identity, text, miss, (began, ended, 1))
        for text, (began, ended, times) in runs.items():
            self._add_event(identity, text, hit, (began, ended, times))

    def _trace_call(
        self, call: RawCall, identity: CacheIdentity, computed: Mapping[str, float]
    ) -> Set[str]:
        """Trace a call of any kind; returns the keys that it changed. ``computed``: the compute
        time of its values in seconds, by key."""
        if identity.own_keys and not tells_entries(call, identity):
            self.slices.at(identity.store, self._end_of(call)).gap = True
            return frozenset()
        changed: set[str] = set()
        alias, left = call[SOURCE].alias, dict(computed)
        values: Mapping[str, Value] | None = None
        for access in accesses_of(call, identity, self._offset):
            if access.kind == CLEAR or (access.kind == PATTERN_DELETE and is_pattern(call)):
                pattern = Key(0, name=name_of(identity, access.key, access.final))
                form = CallType(access.kind, alias, access.version)
                self._events.append(
                    (access.ended, identity.store, pattern, form, access.began, 1, UNKNOWN_VALUE)
                )
                continue
            if access.kind not in _READS:
                changed.add(access.key)
            value = UNKNOWN_VALUE
            if access.kind == WRITE:
                values = values_of(call) if values is None else values
                value = values.get(access.key, UNKNOWN_VALUE)
                if (took := left.pop(access.key, None)) is not None:
                    # That it was measured tells who wrote, however little it was.
                    value = replace(value, compute_time=max(int(took * SECOND), 1))
            self._add_access(identity, alias, access, value, call[CONTEXT])
        self._trace_unwritten(call, identity, left)
        return changed

    def _trace_unwritten(
        self, call: RawCall, identity: CacheIdentity, computed: Mapping[str, float]
    ) -> None:
        """Trace values that were computed for entries that were there by then."""
        if not computed:
            return
        finals, (_, varies) = finals_of(call), entries_of(call) or ((), True)
        version = call_version(call, identity) if varies else identity.version
        for key, seconds in computed.items():
            ended, final = self._end_of(call), finals.get(key, "")
            access = EntryAccess(COMPUTE, key, version, ended, ended, final=final)
            value = Value(int(seconds * SECOND))
            self._add_access(identity, call[SOURCE].alias, access, value, call[CONTEXT])

    def _add_access(
        self,
        identity: CacheIdentity,
        alias: str,
        access: EntryAccess,
        value: Value,
        context: int | None,
    ) -> None:
        key = self._key(alias, identity, access.key, access.ended, access.final)
        if key is not None:
            if took := value.compute_time:
                where = context, identity.store, key.hash, access.version
                took = self._computations.time_after_inner(where, access.began, took)
                value = replace(value, compute_time=took)
            if access.kind == WRITE and identity.stored is not None:
                value = identity.stored(access, value)
            form = _form(access.kind, alias, access.version, access.lasts)
            self._events.append((access.ended, identity.store, key, form, access.began, 1, value))
            if access.kind == MISS and not identity.is_own:
                self._missed.add(alias)

    def _add_event(
        self,
        identity: CacheIdentity,
        text: str,
        form: CallType,
        span: tuple[int, int, int],
        value: Value = UNKNOWN_VALUE,
    ) -> None:
        """Add an event of a key, if that is in the trace: from when to when, and how many times."""
        began, ended, times = span
        key = self._key(form.alias, identity, text, ended)
        if key is not None:
            self._events.append((ended, identity.store, key, form, began, times, value))
            if form.kind == MISS and not identity.is_own:
                self._missed.add(form.alias)

    def _key(
        self, alias: str, identity: CacheIdentity, text: str, at: int, final: str = ""
    ) -> Key | None:
        """A key, if it is in the trace at that time."""
        return self._keys.find(alias, text, final) or self._keys.make(
            alias, identity, text, self.slices.at(identity.store, at), final
        )

    def _read_evictions(self, batch: Batch) -> None:
        """Note what caches of this process say of their evictions by now."""
        at = int(batch.ended * SECOND) + self._offset
        for alias in batch.aliases():
            identity = self._identity(alias)
            if identity is None:
                continue
            if not identity.evicts:
                self.note_reading(alias, EvictionReading(at, 0))
            elif identity.is_full is not None:
                self.note_reading(alias, EvictionReading(at, None, "", identity.is_full()))


_Parted = tuple[Sequence[RawCall], Sequence[RawCall]]


def _plain_get_manys(calls: Sequence[RawCall], changed: Set[str]) -> _Parted:
    """The calls of ``get_many`` that tell of each key whether it was found, in the cache's own
    version, and none of whose keys ``changed``; and the other calls."""
    plain: list[RawCall] = []
    others: list[RawCall] = []
    for call in calls:
        if (
            isinstance(call[KEY], tuple)
            and isinstance(call[OUTCOME], tuple)
            and call[VERSION] is None
            and call[ERROR] is None
            and changed.isdisjoint(keys_of(call))
        ):
            plain.append(call)
        else:
            others.append(call)
    return plain, others


_form = lru_cache(maxsize=1024)(CallType)
_UNSEEN = Key(0)
