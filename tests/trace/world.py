"""A cache, and the processes of several hosts that use it: what really happened, in full.

Calls take effect somewhere between their beginning and their end, and each host's clock is a little
off. The world knows the real reason of every miss; the trace gets what the processes saw.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from random import Random

from cache_monitor.trace import (
    COMPUTE,
    DELETE,
    HIT,
    MISS,
    MOVE,
    NEVER,
    SECOND,
    TOUCH,
    WRITE,
    CallType,
    EvictionReading,
    Key,
    Plan,
    Value,
    hash_of,
)
from cache_monitor.trace.codec import StoredSlice, decode_slices, encode_slices
from cache_monitor.trace.slices import Slice

START = 1_700_000_000
TOLERANCE = SECOND // 20
GONE_ON_RECORD = {"deleted", "version_changed", "never_set", "cleared"}


def key_of(name: str) -> Key:
    return Key(hash_of(name), name.partition(":")[0], "key", name)


@dataclass
class Missed:
    """A miss and why it really was. ``near`` are reasons that nobody could tell from it."""

    at: int
    name: str
    reason: str
    near: set[str] = field(default_factory=set)


@dataclass
class _Entry:
    reason: str = "never_set"
    written: int = 0
    expires: int = NEVER
    expired_else: int = NEVER


class World:
    """``hosts`` with ``processes`` each. ``spread`` is how far their clocks are apart at most."""

    def __init__(self, seed: int, hosts: int = 3, processes: int = 2, spread: int = TOLERANCE):
        self.random = Random(seed)
        self.now = START * SECOND
        self.processes = [
            (f"{host}-{number}", host + 1) for host in range(hosts) for number in range(processes)
        ]
        # Two clocks, each off by half of it, are at most that far apart.
        self.off = {
            host + 1: self.random.randint(-spread // 2, spread // 2) for host in range(hosts)
        }
        self.plan = Plan()
        self.entries: defaultdict[tuple[str, int], _Entry] = defaultdict(_Entry)
        self.misses: list[Missed] = []
        self.evictions = 0
        self.boot = "first"
        self.slices: dict[tuple[str, int], Slice] = {}

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.now += int(seconds * SECOND)

    def get(self, name: str, process: int = 0, version: int = 1, computed: int = 0) -> bool:
        """Look a key up; whether it was there."""
        began, at, ended = self._call()
        entry = self.entries[name, version]
        reason = self._why_missing(entry, name, version, at)
        self._note(HIT if reason is None else MISS, name, process, version, began, ended)
        if reason is not None:
            expiries = (entry.expires, entry.expired_else)
            near = {"expired"} if any(0 <= each < ended + SECOND for each in expiries) else set()
            if reason == "never_set" and self._went_elsewhere(name):
                near.add("version_changed")
            self.misses.append(Missed(ended, name, reason, near))
        return reason is None

    def set(
        self, name: str, process: int = 0, timeout: int = NEVER, version: int = 1, computed: int = 0
    ) -> None:
        """Write a key."""
        began, at, ended = self._call()
        expires = NEVER if timeout == NEVER else at + timeout
        self.entries[name, version] = _Entry("", at, expires)
        self._note(WRITE, name, process, version, began, ended, timeout, computed)

    def touch(self, name: str, process: int = 0, timeout: int = NEVER, version: int = 1) -> None:
        """Give a key a new expiry, if it is there."""
        began, at, ended = self._call()
        entry = self.entries[name, version]
        if self._why_missing(entry, name, version, at) is None:
            entry.expired_else = entry.expires
            entry.expires = NEVER if timeout == NEVER else at + timeout
            self._note(TOUCH, name, process, version, began, ended, timeout)

    def delete(self, name: str, process: int = 0, version: int = 1) -> None:
        """Delete a key, if it is there."""
        began, at, ended = self._call()
        entry = self.entries[name, version]
        if self._why_missing(entry, name, version, at) is None:
            self.entries[name, version] = _Entry("deleted")
            self._note(DELETE, name, process, version, began, ended)

    def move(self, name: str, process: int = 0, version: int = 1) -> None:
        """Take a key to its next version, if it is there."""
        began, at, ended = self._call()
        entry = self.entries[name, version]
        if self._why_missing(entry, name, version, at) is None:
            self.entries[name, version] = _Entry("version_changed")
            self.entries[name, version + 1] = _Entry("", entry.written)
            self._note(MOVE, name, process, version, began, ended)
            self._note(TOUCH, name, process, version + 1, began, ended)

    def clear(self, process: int = 0) -> None:
        """Empty the cache."""
        began, _, ended = self._call()
        for entry in self.entries.values():
            if entry.reason not in GONE_ON_RECORD:
                entry.reason = "cleared"
        off = self.off[self.processes[process][1]]
        self._slice(process).add_delete(began + off, ended + off)

    def sweep(self, prefix: str, process: int = 0) -> None:
        """Delete what begins with ``prefix``."""
        began, _, ended = self._call()
        for (name, version), entry in self.entries.items():
            if name.startswith(prefix) and version == 1 and entry.reason not in GONE_ON_RECORD:
                entry.reason = "deleted"
        off = self.off[self.processes[process][1]]
        self._slice(process).add_delete(began + off, ended + off, f"{prefix}*", 1)

    def take_away(self, name: str, reason: str, version: int = 1) -> None:
        """Let an entry go without anybody's call: ``evicted`` or ``lost``."""
        entry = self.entries[name, version]
        # What was written a moment ago stays for another.
        is_old = entry.written < self.now - SECOND
        if is_old and self._why_missing(entry, name, version, self.now) is None:
            entry.reason = reason
            self.evictions += reason == "evicted"

    def restart(self) -> None:
        """Let the server start anew, empty."""
        for entry in self.entries.values():
            if not entry.reason:
                entry.reason = "lost"
        self.evictions, self.boot = 0, f"after {self.now}"

    def read(self, process: int = 0) -> None:
        """Let a process ask the server for its evictions."""
        self.pass_by(0.001)
        at = self.now + self.off[self.processes[process][1]]
        self._slice(process).add_reading(EvictionReading(at, self.evictions, self.boot))
        self.pass_by(0.001)

    def stored(self) -> list[StoredSlice]:
        """All slices, as they come out of a store."""
        for each in self.slices.values():
            each.final = True
        payloads = [encode_slices([each.stored()]) for each in self.slices.values()]
        return [part for payload in payloads for part in decode_slices(payload)]

    def _call(self) -> tuple[int, int, int]:
        """The beginning, the effect and the end of a call that is made now."""
        began = self.now
        at = began + self.random.randint(0, 2000)
        ended = at + self.random.randint(1, 2000)
        # Sometimes the next call begins before this one has ended.
        self.now = self.random.choice([at + 1, ended + 1, ended + 1])
        return began, at, ended

    def _went_elsewhere(self, name: str) -> bool:
        """Whether another version was written and went without anybody's call."""
        return any(
            key == name and each.reason in {"evicted", "lost"}
            for (key, _), each in self.entries.items()
        )

    def _why_missing(self, entry: _Entry, name: str, version: int, at: int) -> str | None:
        if not entry.reason and entry.expires != NEVER and entry.expires <= at:
            return "expired"
        if entry.reason == "never_set" and any(
            other != version
            and key == name
            and not each.reason
            and (each.expires == NEVER or each.expires > at)
            for (key, other), each in self.entries.items()
        ):
            return "version_changed"
        return entry.reason or None

    def _note(
        self,
        kind: int,
        name: str,
        process: int,
        version: int,
        began: int,
        ended: int,
        timeout: int = NEVER,
        computed: int = 0,
    ) -> None:
        off = self.off[self.processes[process][1]]
        part = self._slice(process)
        key = key_of(name)
        if part.takes(key.hash):
            form = CallType(kind, "default", version, timeout)
            part.add(key, form, began + off, ended + off, value=Value(computed))

    def compute(self, name: str, process: int, seconds: float) -> None:
        """Compute a value until now that is not stored."""
        self._note(COMPUTE, name, process, 1, self.now, self.now, computed=int(seconds * SECOND))

    def _slice(self, process: int) -> Slice:
        name, host = self.processes[process]
        start = self.now // SECOND // 10 * 10
        part = self.slices.get((name, start))
        if part is None:
            part = self.slices[name, start] = Slice(start, 10, name, host, self.plan)
        return part
