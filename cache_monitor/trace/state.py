"""What is carried on from one replay to the next: one small state a key.

Whoever rolls up reads it, and writes it when it has replayed what came after.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct, structs

from cache_monitor.trace.events import HASH_BITS, SECOND, UNTOLD, EvictionReading, level_of
from cache_monitor.trace.lives import LastWrite, Life
from cache_monitor.trace.miss_reasons import EntryChange, VersionHistory
from cache_monitor.trace.packing import packed, read
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
    ``gone`` is the first lookup since that missed without a cause on record. ``read`` is when it
    was last read; ``found`` when the latest of the values was written that a read is known to have
    found, ``perhaps`` when the latest was that one may have found; 0 for none. ``life`` is that of
    the entry which is there, ``written`` the last write."""

    version: _Number | _Text
    changes: list[EntryChange]
    complete: bool = True
    gone: tuple[_Time, _Time] | None = None
    read: _Time = 0
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
    return packed(state)


def decode_state(payload: bytes) -> State:
    """The state that :func:`encode_state` made ``payload`` of. Raises
    :class:`~cache_monitor.trace.packing.Unreadable`."""
    return read(payload, _decoder)


_decoder = msgspec.msgpack.Decoder(State)
