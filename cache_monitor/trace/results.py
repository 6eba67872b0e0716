"""What a replay tells: reasons, ages, lives, and what was computed in vain."""

from collections import defaultdict
from typing import NamedTuple

from cache_monitor.stats.lifetimes import ChangeStats, LifeStats
from cache_monitor.trace.events import SECOND, Reason
from cache_monitor.trace.state import KeyState

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
