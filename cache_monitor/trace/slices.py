"""The slice that a process fills: its events of one store in one time bucket."""

from bisect import bisect_left

from cache_monitor.stats import packed_ints
from cache_monitor.trace.codec import (
    MOST_READINGS,
    MOST_SWEEPS,
    MOST_VIEWS,
    READS,
    Stored,
    numbered,
    packed_keys,
    zigzag,
)
from cache_monitor.trace.events import (
    HASH_BITS,
    HIT,
    SECOND,
    UNKNOWN,
    USE,
    EvictionReading,
    Form,
    Key,
    Value,
    level_of,
    thinned,
)
from cache_monitor.trace.plan import Plan

RUN = SECOND
"""Hits of one key that begin within so long of each other are one event."""
LONG_RUN = 10 * SECOND
"""The same where there are too many keys for all to be in: the hottest, which always are, are hit
all the time in every process."""
MOST_EVENTS = 20_000
"""Of one slice. One that gets more raises its level."""
MOST_KEYS = 10_000
"""Likewise; 5 MB."""
MOST_NAMED = 200
"""Characters of a name that are kept."""
_RUNS = frozenset({HIT, USE})
_LONGEST = 2**40
"""Microseconds, twelve days: what takes longer, or lies further away, counts as that."""


class Slice:
    """What one process traced of one store from ``start`` (Unix time) for ``seconds``.

    ``level`` is that of its plan, or higher where there was too much. ``gap`` says that calls are
    missing. ``final`` says that its process will not change it any more, ``ended`` that the
    process has ended.
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
        """Bytes of it that went to the store."""
        self.sweeps: list[tuple[int, int, int, str | None, int | str]] = []
        self.readings: list[EvictionReading] = []
        self._keys: dict[int, int] = {}
        self._named: list[Key] = []
        self._forms: dict[Form, int] = {}
        self._key: list[int] = []
        self._form: list[int] = []
        self._ended: list[int] = []
        self._span: list[int] = []
        self._times: list[int] = []
        self._computed: list[int] = []
        self._prints: dict[int, int] = {}
        self._sizes: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._views: dict[str, int] = {}
        self._viewed: dict[int, int] = {}
        self._changes: dict[tuple[int, int], int] = {}
        self._looked_at = 0

    def __len__(self) -> int:
        return len(self._key)

    @property
    def revision(self) -> tuple[object, ...]:
        """Something that changes whenever the slice does."""
        return (
            len(self),
            sum(self._times),
            len(self.sweeps),
            self.readings[-1:],
            len(self._viewed),
            self.gap,
            self.final,
            self.ended,
        )

    def takes(self, key: int) -> bool:
        """Whether the key with this hash is in."""
        return not self.level or level_of(key) >= self.level or key in self.hot

    def has(self, key: int) -> bool:
        """Whether an event of the key with this hash is in it."""
        return key in self._keys

    def add(
        self,
        key: Key,
        form: Form,
        began: int,
        ended: int,
        times: int = 1,
        value: Value = UNKNOWN,
    ) -> None:
        """Note an event of a key that :meth:`takes` takes. Times are microseconds."""
        number = self._keys.get(key.hash)
        if number is None:
            number = self._keys[key.hash] = len(self._named)
            self._named.append(key)
        if value is not UNKNOWN and value.size:
            self._sizes[number] = min(value.size, _LONGEST)
        kind = self._forms.get(form)
        if kind is None:
            kind = self._forms[form] = len(self._forms)
        before = self._last.get(number)
        if form.kind in _RUNS and before is not None and self._form[before] == kind:
            first = self._ended[before] - self._span[before]
            if 0 <= began - first <= (LONG_RUN if self.level else RUN):
                self._ended[before] = max(self._ended[before], ended)
                self._span[before] = self._ended[before] - first
                self._times[before] += times
                return
        self._last[number] = len(self._key)
        if value is not UNKNOWN and value.print:
            self._prints[len(self._key)] = value.print
        self._key.append(number)
        self._form.append(kind)
        self._ended.append(ended)
        span = ended - began
        self._span.append(span if 0 <= span <= _LONGEST else min(max(span, 0), _LONGEST))
        self._times.append(times)
        self._computed.append(0 if value is UNKNOWN else min(value.computed, _LONGEST))
        if len(self._key) > MOST_EVENTS or len(self._named) > MOST_KEYS:
            self._raise_level()

    def add_sweep(
        self, began: int, ended: int, pattern: str | None = None, version: int | str = 1
    ) -> None:
        """Note that all entries were deleted, or those of ``version`` that match ``pattern``."""
        if len(self.sweeps) < MOST_SWEEPS:
            self.sweeps.append((began, ended, len(self._key), pattern, version))
        else:
            self.gap = True

    def note_view(self, key: int, ended: int, view: str) -> None:
        """Note which view made the call that changed the key with this hash, and ``ended`` then.
        What is not there, or not any more, is passed over."""
        number = self._keys.get(key)
        if number is None or self.final:
            return
        # Looked for only where there are views: a site may do without the middleware.
        kinds = [form.kind for form in self._forms]
        for place in range(self._looked_at, len(self._key)):
            if kinds[self._form[place]] not in READS:
                self._changes[self._key[place], self._ended[place]] = place
        self._looked_at = len(self._key)
        at = self._changes.get((number, ended))
        if at is not None and (view in self._views or len(self._views) < MOST_VIEWS):
            self._viewed[at] = self._views.setdefault(view, len(self._views) + 1)

    def add_reading(self, reading: EvictionReading) -> None:
        """Note what a backend says of its evictions."""
        self.readings = thinned([*self.readings, reading], MOST_READINGS)

    def _raise_level(self) -> None:
        """Let half of the keys go, and all but the hottest if it must be."""
        while self._is_half_full() and self.level < HASH_BITS:
            self.raise_to(self.level + 1)
        if len(self._key) > MOST_EVENTS // 2:
            # Hot keys alone are too many: nothing is known of this bucket.
            for column in (self._key, self._form, self._ended, self._span, self._times):
                column.clear()
            self._computed.clear()
            self._prints.clear()
            self._viewed.clear()
            self._changes.clear()
            self._looked_at = 0
            self._last.clear()
            self.gap = True

    def follow(self, plan: Plan) -> None:
        """Go on by ``plan``, as if it had been the plan from the beginning: there was none."""
        self.plan, self.hot = plan.number, plan.hot
        self.raise_to(plan.level)

    def raise_to(self, level: int) -> None:
        """Let go the keys that are not in at ``level``."""
        if level <= self.level:
            return
        self.level = min(level, HASH_BITS)
        kept = {number for key, number in self._keys.items() if self.takes(key)}
        places = [place for place, number in enumerate(self._key) if number in kept]
        moved = {old: new for new, old in enumerate(places)}
        self.sweeps = [
            (began, ended, bisect_left(places, order), pattern, version)
            for began, ended, order, pattern, version in self.sweeps
        ]
        self._last = {
            number: moved[place] for number, place in self._last.items() if number in kept
        }
        for column in (self._key, self._form, self._ended, self._span, self._times):
            column[:] = [column[place] for place in places]
        self._computed[:] = [self._computed[place] for place in places]
        self._prints = {moved[at]: each for at, each in self._prints.items() if at in moved}
        self._viewed = {moved[at]: each for at, each in self._viewed.items() if at in moved}
        self._changes, self._looked_at = {}, 0
        self._forget_all_but(kept)

    def _is_half_full(self) -> bool:
        return len(self._key) > MOST_EVENTS // 2 or len(self._named) > MOST_KEYS // 2

    def _forget_all_but(self, kept: set[int]) -> None:
        """Give up the names of the keys that are not in any more: there may be a million."""
        ordered = sorted(kept)
        moved = {old: new for new, old in enumerate(ordered)}
        self._named = [self._named[number] for number in ordered]
        self._keys = {key: moved[number] for key, number in self._keys.items() if number in kept}
        self._key[:] = [moved[number] for number in self._key]
        self._last = {moved[number]: place for number, place in self._last.items()}
        self._sizes = {moved[old]: each for old, each in self._sizes.items() if old in kept}

    def stored(self) -> "Stored":
        """The same as a store keeps it."""
        aliases = numbered(form.alias for form in self._forms)
        kept = sorted(set(self._key), key=lambda each: self._named[each].hash)
        place_of = {number: place for place, number in enumerate(kept)}
        keys = [self._named[number] for number in kept]
        groups = numbered((key.group, key.kind) for key in keys)
        highs, lows = packed_keys([key.hash for key in keys])
        base = min(self._ended, default=self.start * SECOND)
        return Stored(
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
            forms=[
                (form.kind, aliases[form.alias], form.version, form.lasts) for form in self._forms
            ],
            highs=highs,
            lows=lows,
            key_groups=packed_ints.pack([groups[key.group, key.kind] for key in keys]),
            names={
                place: key.name[:MOST_NAMED]
                for place, key in enumerate(keys)
                if key.name and len(key.name) <= MOST_NAMED
            },
            keys=packed_ints.pack([place_of[number] for number in self._key]),
            event_forms=packed_ints.pack(self._form),
            at=packed_ints.pack(zigzag(self._ended, base)),
            spans=packed_ints.pack(self._span),
            times=packed_ints.pack(self._times),
            computed={place: each for place, each in enumerate(self._computed) if each},
            sweeps=self.sweeps,
            readings=self.readings,
            prints=self._prints,
            sizes=packed_ints.pack([self._sizes.get(number, 0) for number in kept]),
            views=list(self._views),
            viewed=self._packed_views(),
        )

    def _packed_views(self) -> bytes:
        if not self._viewed:
            return packed_ints.NONE
        kinds = [form.kind for form in self._forms]
        changes = (at for at, form in enumerate(self._form) if kinds[form] not in READS)
        return packed_ints.pack([self._viewed.get(at, 0) for at in changes])
