"""Several processes of one host post and judge at once."""

import ast
import multiprocessing
import os
import random
import signal
from collections import Counter, defaultdict
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import inf
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import NamedTuple, TypeVar, get_args

import pytest

from cache_monitor.ledger import Busy, Event, Kind, Ledger, Miss, Reason, memory
from cache_monitor.ledger.history import TOLERANCE
from cache_monitor.ledger.memory import FCNTL
from tests.ledger.test_reasons import NOW

pytestmark = [
    pytest.mark.skipif(FCNTL is None, reason="processes share no ledger here"),
    # The parent has no threads of ours; those of other tests' servers hold no lock of the ledger.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]
fork = multiprocessing.get_context("fork") if FCNTL is not None else multiprocessing.get_context()

PROCESSES = 4
TURN = 0.5
"""Seconds between two batches of a process."""
TURNS = 24
GRACE = 3
"""Turns that a miss waits for its judgement: 1.5 s."""
KEYS = 1000
CALLS = 24_000
"""Two thousand a second, most of them on few keys."""
OPERATIONS = {"get": 0.92, "delete": 0.03, "set": 0.01, "evict": 0.0398, "clear": 0.0002}

Entry = tuple[str, int]


class Moment(NamedTuple):
    """When and where a call was made."""

    process: int
    start: float
    effect: float
    end: float

    @property
    def place(self) -> tuple[int, int]:
        """The process and the turn in which it hears of the call."""
        return self.process, int((self.end - NOW) / TURN)


class History:
    """What four processes do with a shared cache, drawn at random, with the truth about it.

    A call takes effect at a random moment between its start and its end. The truth is told by
    the order of the effects; the ledger is only told starts and ends. What was evicted counts as
    expired once it would have expired, and as cleared once its cache was cleared.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.events: defaultdict[tuple[int, int], list[Event]] = defaultdict(list)
        self.misses: defaultdict[tuple[int, int], list[tuple[Miss, Reason]]] = defaultdict(list)
        self.entries: dict[Entry, float] = {}
        """When each entry expires, the least recently used first."""
        self.gone: dict[Entry, Reason] = {}
        self.evicted: dict[Entry, float] = {}
        """When the entries that were evicted would have expired."""
        moments = [self.random.uniform(0, TURN * TURNS) for _ in range(CALLS)]
        self.calls = [(NOW + at, self.random.randrange(PROCESSES), self._any()) for at in moments]
        heapify(self.calls)
        while self.calls:
            effect, process, (operation, entry) = heappop(self.calls)
            seconds = self.random.expovariate(1 / 0.0003)
            start = effect - self.random.random() * seconds
            self._call(Moment(process, start, effect, start + seconds), operation, entry)

    def _any(self) -> tuple[str, Entry]:
        [operation] = self.random.choices(list(OPERATIONS), list(OPERATIONS.values()))
        version = 1 if self.random.random() < 0.97 else 2
        return operation, (f"key {int(KEYS * self.random.random() ** 2)}", version)

    def _call(self, now: Moment, operation: str, entry: Entry) -> None:
        if operation == "get":
            self._get(now, entry)
        elif operation == "set":
            timeout = self.random.choice([1.0, 2.0, 5.0, 60.0])
            self.entries.pop(entry, None)
            self.evicted.pop(entry, None)
            self.entries[entry] = now.effect + timeout
            self._tell(now, "written", entry, now.effect + timeout)
        elif operation == "delete":
            self._lose(entry, "deleted")
            self.evicted.pop(entry, None)
            self.gone[entry] = "deleted"
            self._tell(now, "deleted", entry)
        elif operation == "evict" and self.entries:
            victim = next(iter(self.entries))
            self.evicted[victim] = self.entries[victim]
            self._lose(victim, "evicted")
        elif operation == "clear":
            for each in [*self.entries, *self.evicted]:
                self._lose(each, "cleared")
            self.evicted.clear()
            self._tell(now, "cleared", ("", 1))

    def _get(self, now: Moment, entry: Entry) -> None:
        if self.entries.get(entry, 0.0) > now.effect:
            self.entries[entry] = self.entries.pop(entry)
            return
        miss = Miss("shared", *entry, now.start, now.end - now.start)
        self.misses[now.place].append((miss, self._truth(entry, now.effect)))
        compute = self.random.expovariate(1 / 0.01)
        heappush(self.calls, (now.end + compute, now.process, ("set", entry)))

    def _lose(self, entry: Entry, reason: Reason) -> None:
        if entry in self.entries or entry in self.evicted:
            self.entries.pop(entry, None)
            self.gone[entry] = reason

    def _truth(self, entry: Entry, effect: float) -> Reason:
        if entry in self.entries or self.evicted.get(entry, inf) - TOLERANCE <= effect:
            return "expired"
        there = self.entries.get((entry[0], 3 - entry[1]), 0.0) > effect
        return self.gone.get(entry) or ("version_changed" if there else "never_set")

    def _tell(self, now: Moment, kind: Kind, entry: Entry, expires_at: float | None = None) -> None:
        key, version = entry
        seconds = now.end - now.start
        event = Event("shared", kind, now.end, key, version, expires_at, seconds)
        self.events[now.place].append(event)


Given = TypeVar("Given")
Result = TypeVar("Result")


def patiently(act: Callable[[list[Given]], Result], given: list[Given]) -> Result:
    while True:
        try:
            return act(given)
        except Busy:
            continue


def work(path: Path, process: int, history: History, barrier: Barrier, results: Path) -> None:
    """One process: in every turn it posts, and judges its misses of some turns ago."""
    ledger = Ledger(path)
    counts: Counter[tuple[Reason, Reason]] = Counter()
    for turn in range(TURNS + GRACE):
        patiently(ledger.post, history.events[process, turn])
        barrier.wait()
        asked = history.misses[process, turn - GRACE]
        reasons = patiently(ledger.judge, [miss for miss, _ in asked])
        counts.update(zip((truth for _, truth in asked), reasons, strict=True))
    results.write_text(repr(counts.most_common()))
    ledger.close()


def in_child(act: Callable[[], None]) -> int | None:
    """The exit code of a forked process that does ``act``."""
    child = fork.Process(target=act)
    child.start()
    child.join()
    return child.exitcode


@pytest.mark.parametrize("name", [None, "ledger"])
def test_what_a_forked_process_posts_its_parent_knows(tmp_path: Path, name: str | None) -> None:
    ledger = Ledger(tmp_path / name if name else None, slots=1024)
    assert in_child(lambda: ledger.post([Event("shared", "deleted", NOW, "key")])) == 0
    assert ledger.judge([Miss("shared", "key", 1, NOW + 1)]) == ["deleted"]
    ledger.close()


@pytest.mark.parametrize("name", [None, "ledger"])
def test_a_ledger_that_another_process_holds_is_busy(tmp_path: Path, name: str | None) -> None:
    ledger = Ledger(tmp_path / name if name else None, slots=1024)

    def fail_to_post() -> None:
        with pytest.raises(Busy):
            ledger.post([Event("shared", "deleted", NOW, "key")])

    with ledger._memory.hold():
        assert in_child(fail_to_post) == 0
    assert ledger.judge([Miss("shared", "key", 1, NOW + 1)]) == ["never_set"]
    ledger.close()


def test_a_process_forked_while_a_thread_held_the_ledger_can_use_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger", slots=1024)
    memory = ledger._memory
    memory._turns.acquire()
    assert in_child(lambda: ledger.post([Event("shared", "deleted", NOW, "key")])) == 0
    memory._turns.release()
    assert ledger.judge([Miss("shared", "key", 1, NOW + 1)]) == ["deleted"]
    ledger.close()


def test_a_process_killed_while_it_held_the_ledger_leaves_it_to_the_others(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger", slots=1024)

    def die() -> None:
        with ledger._memory.hold():
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(die) == -signal.SIGKILL
    ledger.post([Event("shared", "deleted", NOW, "key")])
    assert ledger.judge([Miss("shared", "key", 1, NOW + 1)]) == ["deleted"]
    ledger.close()


@pytest.mark.slow
def test_four_processes_tell_nearly_every_reason_and_hardly_one_wrong(tmp_path: Path) -> None:
    history = History(seed=1)
    barrier = fork.Barrier(PROCESSES)
    outcomes = [tmp_path / str(process) for process in range(PROCESSES)]
    workers = [
        fork.Process(target=work, args=(tmp_path / "ledger", n, history, barrier, outcomes[n]))
        for n in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    counts: Counter[tuple[Reason, Reason]] = Counter()
    for outcome in outcomes:
        counts.update(dict(ast.literal_eval(outcome.read_text())))
    total = counts.total()
    right = sum(count for (truth, said), count in counts.items() if said == truth)
    wrong = sum(count for (truth, said), count in counts.items() if said not in {truth, "unknown"})
    assert {truth for truth, _ in counts} == set(get_args(Reason)) - {"unknown"}
    assert right / total >= 0.99, counts
    assert wrong / total <= 0.01, counts


def test_a_process_that_ends_waits_for_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "LAST_PATIENCE", 30.0)
    ledger = Ledger(tmp_path / "ledger", slots=1024)

    def post_at_last() -> None:
        with ledger.patient():
            ledger.post([Event("shared", "deleted", NOW, "key")])

    child = fork.Process(target=post_at_last)
    with ledger._memory.hold():
        child.start()
        # Longer than a turn is waited for otherwise.
        child.join(3 * memory.PATIENCE)
        assert child.exitcode is None
    child.join()
    assert child.exitcode == 0
    assert ledger.judge([Miss("shared", "key", 1, NOW + 1)]) == ["deleted"]
    ledger.close()
