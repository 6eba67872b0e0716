"""What a replay finds, and what it carries on to the next: one small state for each key.

The process that rolls up reads the state from the store and writes it back after the replay.
"""

from collections import defaultdict
from typing import Annotated, cast

from msgspec import Meta, Struct, structs

from cache_monitor.stats.groups import ChangeStats, GroupKind, GroupStats, LifeStats
from cache_monitor.stats.window import Window
from cache_monitor.trace import HASH_BITS, SECOND, UNKNOWN_TIME, EvictionReading, Plan, level_of
from cache_monitor.trace.miss_reasons import EntryChange, Reason, VersionHistory

_Text = Annotated[str, Meta(max_length=512)]
_Time = Annotated[int, Meta(ge=-2, le=253_000_000_000 * SECOND)]
_Past = Annotated[int, Meta(ge=0, le=253_000_000_000 * SECOND)]
_Seconds = Annotated[int, Meta(ge=0, le=253_000_000_000)]
_Number = Annotated[int, Meta(ge=-(2**53), le=2**53)]

WINDOW, MINUTE = 10, 60
NEAR = 10 * SECOND
"""Changes younger than this are kept unchanged: what comes may have happened at the same time."""
REMEMBERED = 3600 * SECOND
"""How long after a gap in the record an unseen change may be the reason of a miss."""
MOST_WAITING = 20_000
_MOST_KEPT = 16
_MOST_PLANS = 5
ALL_KEYS = HASH_BITS + 1
"""A level at which no key is traced: if calls are missing, any key's may be."""


UNREAD, READ, PERHAPS = range(3)


class Life(Struct, array_like=True, gc=False, frozen=True):
    """An entry that is there: when it was written, when it expires, whether it was read since."""

    written: _Past
    expires: _Time
    alias: Annotated[str, Meta(max_length=512)]
    weight: Annotated[int, Meta(ge=1, le=2**48)]
    read: Annotated[int, Meta(ge=UNREAD, le=PERHAPS)] = UNREAD

    def is_over(self, at: int) -> bool:
        """Whether it has expired by ``at``."""
        return 0 <= self.expires <= at


class LastWrite(Struct, array_like=True, gc=False, frozen=True):
    """The last write: when it was, when it expires, and the fingerprint of its value."""

    at: _Past
    expires: _Time
    fingerprint: Annotated[int, Meta(ge=0, le=2**53)]


class VersionState(Struct, array_like=True, gc=False):
    """The last changes of one version of a key. ``complete``: there were no others.

    ``gone``: beginning and end of the first lookup since then that missed without a recorded cause.
    ``last_read``: when it was last read. ``found``: when the latest value was written that a read
    found for sure; ``perhaps``: that a read may have found; 0 for none. ``life`` is the entry that
    is there, ``written`` the last write. ``last_computation``: the beginning and the end of the
    last computation of its value, and the host.
    """

    version: _Number | _Text
    changes: list[EntryChange]
    complete: bool = True
    gone: tuple[_Time, _Time] | None = None
    last_read: _Time = 0
    found: _Time = 0
    perhaps: _Time = 0
    life: Life | None = None
    written: LastWrite | None = None
    last_computation: tuple[_Time, _Time, _Number] | None = None

    def history(self, tolerance: int) -> VersionHistory:
        """The changes as a history. ``tolerance`` is in microseconds."""
        return VersionHistory(self.changes, self.complete, tolerance)


class KeyState(Struct, array_like=True, gc=False):
    """The state of one key. ``seen``: when it was last used, in seconds. ``whole``: no version was
    left out. ``missed``: an hour since 1970, and the misses in it."""

    group: _Text = ""
    kind: _Text = "key"
    name: _Text = ""
    seen: _Seconds = 0
    versions: Annotated[list[VersionState], Meta(max_length=64)] = []
    whole: bool = True
    missed: tuple[_Number, _Number] = (0, 0)


class ClassifiedMiss(Struct, array_like=True, frozen=True, gc=False):
    """A miss and its reason. ``at``: when the call ended. ``weight``: the number of misses that it
    stands for. ``name`` is empty if the key must not be kept; ``key`` is its hash. ``variance`` is
    added to :attr:`~cache_monitor.stats.window.Window.variance`."""

    alias: _Text
    group: _Text
    kind: _Text
    name: _Text
    at: _Time
    reason: Reason
    weight: Annotated[int, Meta(ge=1, le=2**HASH_BITS)]
    key: Annotated[int, Meta(ge=0, lt=2**HASH_BITS)] = 0
    variance: Annotated[int, Meta(ge=0)] = 0


class PendingMiss(Struct, array_like=True, gc=False):
    """A miss that waits for the backend's next reading of its evictions; its reason is unknown so
    far. The entry was there at ``since`` and first missed at ``until``. ``written``: when the life
    began that this miss was the first to find ended."""

    since: _Time
    until: _Time
    miss: ClassifiedMiss
    written: _Time = UNKNOWN_TIME
    is_unread: bool = False


class State(Struct, array_like=True):
    """The state of one store, from ``since`` to ``until`` (seconds).

    ``uncovered``: until when keys were not traced, by the level that left them out; hot keys have
    their own time in ``uncovered_hot``. ``taken``: for slices that were replayed before they were
    final, their level and the numbers of their events and bulk deletes. ``plans``: the hot keys of
    the latest plans, by their numbers. ``outbox``: rows that are not in the store yet. ``token``
    identifies who wrote the state.
    """

    until: _Seconds = 0
    serial: Annotated[int, Meta(ge=0)] = 0
    keys: dict[Annotated[int, Meta(ge=0, lt=2**HASH_BITS)], KeyState] = {}
    uncovered: dict[Annotated[int, Meta(ge=0, le=ALL_KEYS)], _Time] = {}
    uncovered_hot: dict[int, _Time] = {}
    readings: list[EvictionReading] = []
    pending: list[PendingMiss] = []
    processes: dict[_Text, _Seconds] = {}
    taken: dict[_Text, tuple[_Number, _Number, _Number]] = {}
    plans: dict[int, frozenset[int]] = {}
    token: Annotated[str, Meta(max_length=64)] = ""
    outbox: list[tuple[str, str, str, int, int, bytes]] = []
    since: _Seconds = 0

    def copy(self) -> "State":
        """A copy that can be replayed onto without a change of this one."""
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
        """Forget the keys that ``plan`` leaves out or that were not used since then; remember the
        plan's hot keys."""
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
        """Until when ``key`` was not traced; 0 if it always was."""
        everything = self.uncovered.get(ALL_KEYS, 0)
        hot = self.uncovered_hot.get(key)
        if hot is not None:
            return max(hot, everything)
        level = level_of(key)
        return max([at for above, at in self.uncovered.items() if above > level], default=0)

    def note_uncovered(self, level: int, at: int) -> None:
        """Keys below ``level`` were not traced at ``at``."""
        if level:
            self.uncovered[level] = max(self.uncovered.get(level, 0), at)


def carried(history: VersionHistory, since: int) -> tuple[list[EntryChange], bool]:
    """The changes to carry on: those younger than ``since``, the last before that, and those that
    may have come after it; and whether these are all there ever were."""
    changes = history.changes
    first = next((at for at, each in enumerate(changes) if each.ended >= since), len(changes))
    young = changes[first:]
    old = history.latest(first)
    kept = [structs.replace(each, process=0, host=0, order=0) for each in old] + young
    is_all = len(kept) == len(changes) and len(kept) <= _MOST_KEPT
    return kept[-_MOST_KEPT:], history.complete and is_all


class ReplayResult:
    """What a replay found: windows by alias and start; statistics of groups by alias, minute, group
    and kind; reasons by alias, minute, key and group."""

    def __init__(self) -> None:
        self.windows: dict[tuple[str, int], Window] = {}
        self.groups: dict[tuple[str, int, str, str], GroupStats] = {}
        self.keys: defaultdict[tuple[str, int, str, str], dict[str, int]] = defaultdict(dict)
        self.misses: list[ClassifiedMiss] = []

    def add(self, miss: ClassifiedMiss) -> None:
        """Count a miss."""
        self.misses.append(miss)
        start = miss.at // SECOND // WINDOW * WINDOW
        window = self.windows.get((miss.alias, start))
        if window is None:
            window = self.windows[miss.alias, start] = Window(start, WINDOW)
        _count(miss, window)
        if miss.group:
            _count(miss, self._group(miss.alias, miss.at, miss.group, miss.kind))
            if miss.name:
                minute = miss.at // SECOND // MINUTE * MINUTE
                reasons = self.keys[miss.alias, minute, miss.name, miss.group]
                reasons[miss.reason] = reasons.get(miss.reason, 0) + 1

    def _group(self, alias: str, at: int, name: str, kind: str) -> GroupStats:
        found = alias, at // SECOND // MINUTE * MINUTE, name, kind
        stats = self.groups.get(found)
        if stats is None:
            stats = self.groups[found] = GroupStats(cast("GroupKind", kind))
        return stats

    def group_stats(self, key: KeyState, alias: str, at: int) -> GroupStats | None:
        """The statistics of a key's group at that time; None if the group is unknown."""
        return self._group(alias, at, key.group, key.kind) if key.group else None

    def life_stats(self, key: KeyState, alias: str, at: int) -> LifeStats | None:
        """The same of the lives of its entries."""
        stats = self.group_stats(key, alias, at)
        if stats is not None and stats.lives is None:
            stats.lives = LifeStats()
        return None if stats is None else stats.lives

    def change_stats(self, key: KeyState, alias: str, at: int) -> ChangeStats | None:
        """The same of the values that were written anew."""
        stats = self.group_stats(key, alias, at)
        if stats is not None and stats.changes is None:
            stats.changes = ChangeStats()
        return None if stats is None else stats.changes


def _count(miss: ClassifiedMiss, stats: Window | GroupStats) -> None:
    stats.reasons[miss.reason] = stats.reasons.get(miss.reason, 0) + miss.weight
    stats.traced_misses += 1
    stats.classified_misses += miss.reason != "unknown"
    stats.variance += miss.variance
