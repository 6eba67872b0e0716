"""From the calls of this process to its slices of the trace, off the hot path.

Of hits, which are the bulk of all calls, each batch has one event a key: from the first to the
last, unless the key changed meanwhile. All else is an event of its own.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from functools import partial
from operator import itemgetter

from cache_monitor.calls import RawCall
from cache_monitor.collecting.names import name_and_hash
from cache_monitor.collecting.telling import (
    Deed,
    Facts,
    deeds_of,
    finals_of,
    identity_of,
    is_pattern,
    name_of,
    tells_entries,
)
from cache_monitor.keys.toolbar import is_toolbars_own
from cache_monitor.trace.events import (
    CLEAR,
    COMPUTE,
    HIT,
    MISS,
    SECOND,
    SWEEP,
    USE,
    WRITE,
    Form,
    Key,
    Reading,
    hash_of,
)
from cache_monitor.trace.plan import Plan
from cache_monitor.trace.slices import Slice

SLICE_SECONDS = 10
MOST_REMEMBERED = 50_000
"""Keys whose hash and group are remembered; 15 MB."""
_STEP = SECOND // 50_000
"""Less than so much the clocks' difference is taken to have been misread."""

_Event = tuple[Form, int, int, int] | tuple[Form, int, int, int, int]
"""What :meth:`Slice.add` takes after the key."""

_ended = itemgetter(0)
_USUAL = 12
"""Places of a call of a cache whose keys are of Django's making."""

_READS = frozenset({HIT, MISS, USE})
_WRITERS = frozenset({"set", "add", "set_many", "get_or_set"})


class Tracer:
    """Traces the calls of one process. Not safe for several threads at once.

    ``facts`` gives what is known of an alias, or None where it cannot be traced.
    """

    def __init__(self, process: str, host: int, facts: Callable[[str], Facts | None]) -> None:
        self.process = process
        self._host = host
        self._facts = facts
        self._plans: Mapping[str, Plan] = {}
        self._slices: dict[tuple[str, int], Slice] = {}
        self._sealed_to = 0
        self._offset: int | None = None
        self._doubted: int | None = None
        self._keys: dict[tuple[str, ...], Key] = {}
        self._named: set[tuple[str, int]] = set()
        self._entries: dict[str, int] = {}
        self._heard: list[tuple[int, Callable[[], None]]] = []
        self._stores: set[str] = set()
        self._missed: set[str] = set()

    def renewed(self, process: str) -> "Tracer":
        """One that begins anew, under another name."""
        return Tracer(process, self._host, self._facts)

    def follow(self, plans: Mapping[str, Plan]) -> None:
        """Let what is traced from now on be that of ``plans``, by store."""
        self._plans = plans

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
        """Drop a slice, and seal its stretch."""
        self.seal(part)
        self._slices.pop((store, part.start), None)

    def hear(
        self,
        calls: Sequence[RawCall],
        clock_offset: float,
        computed: Mapping[int, Mapping[str, float]],
    ) -> None:
        """Take in a batch; ``computed`` has the seconds that keys took to compute, by the place of
        their call."""
        offset = self._follow_clock(int(clock_offset * SECOND))
        self._heard = []
        writes: Counter[str] = Counter()
        changed: set[tuple[str, str]] = set()
        for place, call in enumerate(calls):
            if (call[4] is True and len(call) == _USUAL) or is_toolbars_own(call[3]):
                continue
            facts = self._facts(call[0].alias)
            if facts is None:
                continue
            if facts.own_keys and not tells_entries(call, facts):
                ended = int((call[1] + call[2]) * SECOND) + offset
                self._slice(facts.store, ended).gap = True
            elif (
                call[4] is False
                and call[0].operation == "get"
                and type(call[3]) is str
                and not facts.own_keys
            ):
                self._hear_miss(call, facts, offset)
            else:
                took = computed.get(place, {})
                changed.update(self._hear(call, facts, offset, took))
                if call[0].operation in _WRITERS:
                    keys = call[3]
                    writes[call[0].alias] += len(keys) if isinstance(keys, tuple) else 1
        self._hear_hits(calls, offset, changed)
        # In the order that they ended in, hits and all else.
        for _, note in sorted(self._heard, key=_ended):
            note()
        self._read(calls, writes)

    def note_gap(self, alias: str, at: float) -> None:
        """Note that calls of ``alias`` are missing."""
        facts = self._facts(alias)
        if facts is not None:
            self._slice(facts.store, int(at * SECOND)).gap = True

    def note_reading(self, alias: str, reading: Reading) -> None:
        """Note what the backend of ``alias`` says of its evictions."""
        facts = self._facts(alias)
        if facts is not None:
            self._slice(facts.store, reading.at).add_reading(reading)

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

    def _hear_hits(
        self, calls: Sequence[RawCall], offset: int, changed: Set[tuple[str, str]]
    ) -> None:
        """Take in the hits. Those of keys that ``changed`` in the same batch are told one by one:
        which of the values each of them found is in their order."""
        by_alias: defaultdict[str, list[RawCall]] = defaultdict(list)
        for call in calls:
            if call[4] is not True or type(call[3]) is not str or len(call) != _USUAL:
                continue
            if changed and (call[0].alias, call[3]) in changed:
                self._hear_hit(call, offset)
            else:
                by_alias[call[0].alias].append(call)
        for alias, hits in by_alias.items():
            facts = self._facts(alias)
            if facts is None:
                continue
            times = Counter([(call[3], call[7]) for call in hits])
            firsts = {(call[3], call[7]): call for call in reversed(hits)}
            lasts = {(call[3], call[7]): call for call in hits}
            for (text, version), count in times.items():
                key = self._key(alias, facts, str(text))
                if key is None:
                    continue
                first, last = firsts[text, version], lasts[text, version]
                began = int(first[1] * SECOND) + offset
                ended = int((last[1] + last[2]) * SECOND) + offset
                meant = facts.version if version is None else str(version)
                form = Form(HIT, alias, meant)
                self._put(facts.store, key, (form, began, ended, count))

    def _hear_hit(self, call: RawCall, offset: int) -> None:
        facts = self._facts(call[0].alias)
        if facts is not None:
            for deed in deeds_of(call, facts, offset):
                self._note(facts, call[0].alias, deed, 0)

    def _hear_miss(self, call: RawCall, facts: Facts, offset: int) -> None:
        """Take in what most misses are: a ``get`` of one key."""
        alias, text = call[0].alias, str(call[3])
        key = self._keys.get((alias, text)) or self._key(alias, facts, text)
        if key is None or call[8] is not None:
            return
        if not facts.is_own:
            self._missed.add(alias)
        version = facts.version if call[7] is None else str(call[7])
        began = int(call[1] * SECOND) + offset
        ended = int((call[1] + call[2]) * SECOND) + offset
        self._put(facts.store, key, (Form(MISS, alias, version), began, ended, 1))

    def _hear(
        self, call: RawCall, facts: Facts, offset: int, computed: Mapping[str, float]
    ) -> Iterator[tuple[str, str]]:
        """Take in a call of any kind; the keys that it changed."""
        alias, left = call[0].alias, dict(computed)
        for deed in deeds_of(call, facts, offset):
            if deed.kind == CLEAR:
                self._sweep(facts.store, deed, None)
            elif deed.kind == SWEEP and is_pattern(call):
                self._sweep(facts.store, deed, name_of(facts, deed.key, deed.final))
            else:
                if deed.kind not in _READS:
                    yield alias, deed.key
                took = left.pop(deed.key, 0.0) if deed.kind == WRITE else 0.0
                self._note(facts, alias, deed, int(took * SECOND))
        finals = finals_of(call)
        for key, seconds in left.items():
            # What was computed for an entry that was there by then.
            ended = int((call[1] + call[2]) * SECOND) + offset
            final = finals.get(key, "")
            deed = Deed(COMPUTE, key, facts.version, ended, ended, final=final)
            self._note(facts, alias, deed, int(seconds * SECOND))

    def _note(self, facts: Facts, alias: str, deed: Deed, computed: int) -> None:
        key = self._key(alias, facts, deed.key, deed.final)
        if key is not None:
            if deed.kind == MISS and not facts.is_own:
                self._missed.add(alias)
            form = Form(deed.kind, alias, deed.version, deed.lasts)
            self._put(facts.store, key, (form, deed.began, deed.ended, 1, computed))

    def _sweep(self, store: str, deed: Deed, pattern: str | None) -> None:
        def note() -> None:
            part = self._slice(store, deed.ended)
            part.add_sweep(deed.began, deed.ended, pattern, deed.version)

        self._heard.append((deed.ended, note))

    def _put(self, store: str, key: Key, event: _Event) -> None:
        self._heard.append((event[2], partial(self._add, store, key, event)))

    def _add(self, store: str, key: Key, event: _Event) -> None:
        part = self._slice(store, event[2])
        if part.takes(key.hash):
            if key.name and not part.has(key.hash):
                if (store, key.hash) in self._named:
                    key = key._replace(name="")
                else:
                    # Whoever rolls up remembers it.
                    self._named.add((store, key.hash))
            part.add(key, *event)

    def _key(self, alias: str, facts: Facts, text: str, final: str = "") -> Key | None:
        place = (alias, text, final) if final else (alias, text)
        known = self._keys.get(place)
        if known is None:
            if len(self._keys) >= MOST_REMEMBERED:
                self._keys.clear()
                self._named.clear()
            if is_toolbars_own(text):
                return None
            shown, group, kind = name_and_hash(text, alias)[0]
            name = name_of(facts, text, final) if shown == text else ""
            known = Key(hash_of(identity_of(facts, text, final)), group, kind, name)
            self._keys[place] = known
        return known

    def _slice(self, store: str, at: int) -> Slice:
        start = max(at // SECOND // SLICE_SECONDS * SLICE_SECONDS, self._sealed_to)
        part = self._slices.get((store, start))
        if part is None:
            plan = self._plans.get(store.partition(".")[0])
            part = Slice(start, SLICE_SECONDS, self.process, self._host, plan)
            self._slices[store, start] = part
            self._stores.add(store)
        return part

    def _read(self, calls: Sequence[RawCall], writes: Mapping[str, int]) -> None:
        """Note what caches of this process say of their evictions, by now."""
        at = int((calls[-1][1] + calls[-1][2]) * SECOND) + (self._offset or 0)
        for alias in {call[0].alias for call in calls}:
            facts = self._facts(alias)
            if facts is None:
                continue
            if not facts.evicts:
                self.note_reading(alias, Reading(at, 0))
            elif facts.room is not None:
                entries, most = facts.room()
                before = self._entries.get(facts.store, 0)
                self._entries[facts.store] = entries
                # It may have been full between two looks, and have thrown some out.
                full = max(before, entries) + writes.get(alias, 0) >= most
                self.note_reading(alias, Reading(at, None, "", full))
