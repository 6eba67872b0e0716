"""What a replay finds, and what it carries on to the next: one small state for each key.

The process that rolls up reads the state from the store and writes it back after the replay.
"""

from collections import defaultdict
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Struct, structs

from cache_monitor.stats.lifetimes import ChangeStats, LifeStats
from cache_monitor.trace.codec import pack, unpack
from cache_monitor.trace.events import HASH_BITS, SECOND, UNTOLD, EvictionReading, Reason, level_of
from cache_monitor.trace.lives import LastWrite, Life
from cache_monitor.trace.miss_reasons import EntryChange, VersionHistory
from cache_monitor.trace.plan import Plan

_Text = Annotated[str, Meta(max_length=512)]
_Time = Annotated[int, Meta(ge=-2, le=253_000_000_000 * SECOND)]
_Number = Annotated[int, Meta(ge=-(2**53), le=2**53)]

NEAR = 10 * SECOND
"""What is as young as that may still have to do with what comes: it is kept to the letter."""
REMEMBERED = 3600 * SECOND
"""How long after a gap in the record what was not seen then may explain a miss."""
MOST_WAITING = 20_000
MOST_READINGS = 200
_MOST_KEPT = 16
_MOST_PLANS = 5
EVERYTHING = HASH_BITS + 1
"""The level of which no key is: where calls are missing, any may be missing."""


class VersionState(Struct, array_like=True, gc=False):
    """The last changes of one version of a key. ``complete`` says that there were no others;
    ``gone`` is the first lookup since that missed without a cause on record. ``last_read`` is when
    it was last read; ``found`` when the latest of the values was written that a read is known to
    have found, ``perhaps`` when the latest was that one may have found; 0 for none. ``life`` is
    that of the entry which is there, ``written`` the last write."""

    version: _Number | _Text
    changes: list[EntryChange]
    complete: bool = True
    gone: tuple[_Time, _Time] | None = None
    last_read: _Time = 0
    found: _Time = 0
    perhaps: _Time = 0
    life: Life | None = None
    written: LastWrite | None = None

    def history(self, tolerance: int) -> VersionHistory:
        """The changes to be asked about."""
        return VersionHistory(self.changes, self.complete, tolerance)


class KeyState(Struct, array_like=True, gc=False):
    """What is known of one key. ``seen`` is when it was last used, in seconds; ``computed`` when
    its value was last computed. ``whole`` says that no version was left out."""

    group: _Text = ""
    kind: _Text = "key"
    name: _Text = ""
    seen: Annotated[int, Meta(ge=0, le=253_000_000_000)] = 0
    computed: tuple[_Time, _Time, _Number] | None = None
    """The time, and the host."""
    versions: Annotated[list[VersionState], Meta(max_length=64)] = []
    whole: bool = True
    missed: tuple[_Number, _Number] = (0, 0)
    """An hour since 1970, and how often it was missed in that."""


class Waiting(Struct, array_like=True, gc=False):
    """A miss that waits for what the backend will say of its evictions: between ``since``, when
    the entry was there, and ``until``, when it was first missed."""

    since: _Time
    until: _Time
    at: _Time
    alias: _Text
    group: _Text
    kind: _Text
    name: _Text
    weight: Annotated[int, Meta(ge=1, le=2**HASH_BITS)]
    key: Annotated[int, Meta(ge=0, lt=2**HASH_BITS)] = 0
    spread: Annotated[int, Meta(ge=0)] = 0
    written: _Time = UNTOLD
    """When the life began that it was the first to find ended."""
    is_unread: bool = False


class State(Struct, array_like=True):
    """What is known of one store, from ``since`` to ``until`` (seconds).

    ``uncovered`` says until when keys were not in the trace, by the level that left them out; those
    that are in as hot ones have their own time in ``uncovered_hot``. ``taken`` has, for slices
    that were taken before they were final, their level and the events and sweeps in them.
    """

    until: Annotated[int, Meta(ge=0, le=253_000_000_000)] = 0
    serial: Annotated[int, Meta(ge=0)] = 0
    keys: dict[Annotated[int, Meta(ge=0, lt=2**HASH_BITS)], KeyState] = {}
    uncovered: dict[Annotated[int, Meta(ge=0, le=EVERYTHING)], _Time] = {}
    uncovered_hot: dict[int, _Time] = {}
    readings: list[EvictionReading] = []
    waiting: list[Waiting] = []
    processes: dict[_Text, Annotated[int, Meta(ge=0, le=253_000_000_000)]] = {}
    taken: dict[_Text, tuple[_Number, _Number, _Number]] = {}
    plans: dict[int, frozenset[int]] = {}
    """The hot keys of the latest plans, by their numbers."""
    token: Annotated[str, Meta(max_length=64)] = ""
    """Who wrote it."""
    outbox: list[tuple[str, str, str, int, int, bytes]] = []
    """Rows of what was told, until they are in the store."""
    since: Annotated[int, Meta(ge=0, le=253_000_000_000)] = 0

    def copy(self) -> "State":
        """One that can be replayed onto without this one changing."""
        return structs.replace(
            self,
            keys=dict(self.keys),
            uncovered=dict(self.uncovered),
            uncovered_hot=dict(self.uncovered_hot),
            processes=dict(self.processes),
            taken=dict(self.taken),
            plans=dict(self.plans),
        )

    def trim(self, plan: Plan, since: int) -> None:
        """Forget the keys that ``plan`` leaves out, and those not used since ``since``; note which
        ones are hot by it."""
        at = self.until * SECOND
        if plan.number not in self.plans:
            self.plans = dict(sorted((self.plans | {plan.number: plan.hot}).items())[-_MOST_PLANS:])
            self.uncovered_hot = {key: self.uncovered_hot.get(key, at) for key in plan.hot}
        self.keys = {
            key: state
            for key, state in self.keys.items()
            if state.seen >= since and plan.takes(key)
        }

    def uncovered_until(self, key: int) -> int:
        """Until when ``key`` was not in the trace; 0 where it always was."""
        everything = self.uncovered.get(EVERYTHING, 0)
        hot = self.uncovered_hot.get(key)
        if hot is not None:
            return max(hot, everything)
        level = level_of(key)
        return max([at for above, at in self.uncovered.items() if above > level], default=0)

    def note_uncovered(self, level: int, at: int) -> None:
        """Note that keys below ``level`` were not in the trace at ``at``."""
        if level:
            self.uncovered[level] = max(self.uncovered.get(level, 0), at)

    def told(self) -> list[EvictionReading]:
        """What the backend said."""
        return list(self.readings)


def kept(history: VersionHistory, since: int) -> tuple[list[EntryChange], bool]:
    """What of ``history`` is carried on: what is younger than ``since``, the last change before
    that, and those that may have come after it; and whether this is all there ever was."""
    changes = history.changes
    place = next((at for at, each in enumerate(changes) if each.ended >= since), len(changes))
    young = changes[place:]
    old = history.latest(place)
    carried = [each._replace(process=0, host=0, order=0) for each in old] + young
    is_all = len(carried) == len(changes) and len(carried) <= _MOST_KEPT
    return carried[-_MOST_KEPT:], history.complete and is_all


def encode_state(state: State) -> bytes:
    """``state`` as a store keeps it."""
    return pack(state)


def decode_state(payload: bytes) -> State:
    """The state that :func:`encode_state` made ``payload`` of. Raises
    :class:`~cache_monitor.trace.codec.Unreadable`."""
    return unpack(payload, _decoder)


_decoder = msgspec.msgpack.Decoder(State)

WINDOW, MINUTE = 10, 60


class Verdict(NamedTuple):
    """A miss and its reason. ``at`` is when the call ended; ``weight`` how many misses it stands
    for. ``name`` is empty where the key must not be kept."""

    alias: str
    group: str
    kind: str
    name: str
    at: int
    reason: Reason
    weight: int
    key: int = 0
    """The hash of the key."""
    spread: int = 0
    """By how much it adds to the :attr:`Figures.squares`."""


class Figures:
    """What is told of one group in one minute."""

    __slots__ = (
        "ages",
        "changes",
        "judged",
        "lives",
        "reasons",
        "seen",
        "squares",
        "stampedes",
    )

    def __init__(self) -> None:
        self.reasons: dict[str, int] = {}
        self.seen = 0
        self.judged = 0
        self.squares = 0
        """Of the misses of each key that stands for others, what those others may have been."""
        self.ages: dict[int, int] = {}
        self.stampedes = 0
        self.lives: LifeStats | None = None
        self.changes: ChangeStats | None = None

    def add(self, verdict: Verdict) -> None:
        """Count a miss: how many there were, those of known reason, and what they stand for."""
        self.reasons[verdict.reason] = self.reasons.get(verdict.reason, 0) + verdict.weight
        self.seen += 1
        self.judged += verdict.reason != "unknown"
        self.squares += verdict.spread


class ReplayResult:
    """What a replay tells: figures by alias and window, by alias, minute and group, and reasons by
    alias, minute, key and group."""

    def __init__(self) -> None:
        self.windows: defaultdict[tuple[str, int], Figures] = defaultdict(Figures)
        self.groups: defaultdict[tuple[str, int, str, str], Figures] = defaultdict(Figures)
        self.keys: defaultdict[tuple[str, int, str, str], dict[str, int]] = defaultdict(dict)
        self.verdicts: list[Verdict] = []

    def add(self, verdict: Verdict) -> None:
        """Count a miss."""
        self.verdicts.append(verdict)
        at = verdict.at // SECOND
        minute = at // MINUTE * MINUTE
        self.windows[verdict.alias, at // WINDOW * WINDOW].add(verdict)
        if verdict.group:
            self.groups[verdict.alias, minute, verdict.group, verdict.kind].add(verdict)
            if verdict.name:
                reasons = self.keys[verdict.alias, minute, verdict.name, verdict.group]
                reasons[verdict.reason] = reasons.get(verdict.reason, 0) + 1

    def of_group(self, alias: str, at: int, state: KeyState) -> Figures | None:
        """The figures of the group of a key, where it is known."""
        if not state.group:
            return None
        minute = at // SECOND // MINUTE * MINUTE
        return self.groups[alias, minute, state.group, state.kind]

    def lives_of(self, state: KeyState, alias: str, at: int) -> LifeStats | None:
        """The same of the lives of its entries."""
        figures = self.of_group(alias, at, state)
        if figures is None:
            return None
        if figures.lives is None:
            figures.lives = LifeStats()
        return figures.lives

    def changes_of(self, state: KeyState, alias: str, at: int) -> ChangeStats | None:
        """The same of the values that were written anew."""
        figures = self.of_group(alias, at, state)
        if figures is None:
            return None
        if figures.changes is None:
            figures.changes = ChangeStats()
        return figures.changes
