"""Forked children begin anew, and a system without forks gets along without."""

import ast
import importlib
import json
import os
import pkgutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

import pytest

import cache_monitor
from cache_monitor import concurrency
from cache_monitor.listeners import Capture
from cache_monitor.stores.memory import MemoryStore
from cache_monitor.worker.requests import RequestStats
from tests.test_processes import Site
from tests.waiting import until

PACKAGE = Path(cache_monitor.__file__).parent
LOCKS = {"Lock", "RLock", "Condition", "Event", "Semaphore", "BoundedSemaphore", "Barrier"} | {
    "Queue",
    "LifoQueue",
    "PriorityQueue",
    "allocate_lock",
}
"""What holds a lock; a SimpleQueue holds none that a fork could leave taken."""
APART = {
    # Is held through a fork on purpose, and makes its lock anew in the child.
    "stores.sqlite",
    # A command of its own process, which forks nothing.
    "management.commands.cache_scan",
}


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if name != "concurrency" and name not in APART:
            yield name, ast.parse(path.read_text())


def _ours(tree: ast.Module) -> set[str]:
    """Names that are the package's own: an event of a cache's history is no threading.Event."""
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("cache_monitor")
        for alias in node.names
    } | {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def _made(tree: ast.Module) -> Iterator[str]:
    own = _ours(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            name = getattr(function, "attr", getattr(function, "id", ""))
            if name in LOCKS - own:
                yield f"{name} in line {node.lineno}"


def test_every_lock_of_the_package_is_made_where_forked_children_find_it() -> None:
    """By ``new_lock`` and ``new_rlock`` of cache_monitor.concurrency."""
    found = {name: list(_made(tree)) for name, tree in _modules()}
    assert {name: made for name, made in found.items() if made} == {}


def test_no_lock_is_taken_in_a_way_that_a_signals_handler_can_leave_it_held_by() -> None:
    taken = {
        name: [
            node.lineno
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr == "acquire"
        ]
        for name, tree in _modules()
    }
    assert {name: lines for name, lines in taken.items() if lines} == {}


def _is_lock(value: object) -> bool:
    return type(value) in {type(Lock()), type(concurrency.new_rlock())}


def _locks_of_modules() -> Iterator[tuple[str, Any]]:
    """Every lock that a module of the package holds, by itself or in an object of ours."""
    for found in pkgutil.walk_packages(cache_monitor.__path__, "cache_monitor."):
        if "migrations" in found.name or "pytest_plugin" in found.name:
            continue
        try:
            module = importlib.import_module(found.name)
        except ImportError:
            continue
        for name, value in vars(module).items():
            for where, each in ((name, value), *_attributes(name, value)):
                if _is_lock(each) and "gate" not in where:
                    yield f"{found.name}.{where}", each


def _attributes(name: str, value: object) -> Iterator[tuple[str, object]]:
    if type(value).__module__.partition(".")[0] == "cache_monitor":
        for attribute, each in getattr(value, "__dict__", {}).items():
            yield f"{name}.{attribute}", each


def test_the_locks_of_all_modules_are_free_in_a_forked_child() -> None:
    locks = dict(_locks_of_modules())
    assert len(locks) > 8
    locks |= {
        "capture": Capture()._lock,
        "tally": RequestStats()._lock,
        "memory": MemoryStore()._lock,
        "known": concurrency.TimedValue()._lock,
    }
    registered = {id(each()) for each in concurrency._locks}
    assert {name for name, lock in locks.items() if id(lock) not in registered} == set()
    each_once = {id(each): each for each in locks.values()}.values()
    with ExitStack() as held:
        for lock in each_once:
            held.enter_context(lock)
        child = os.fork()
        if child == 0:
            # Nothing here may come back into the tests.
            os._exit(sum(not lock.acquire(blocking=False) for lock in each_once))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_who_forks_waits_for_an_import_and_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrency, "_MOST_WAITING", 60.0)
    order: list[str] = []
    importing, imported = SimpleQueue[None](), SimpleQueue[None]()

    def load() -> None:
        with concurrency.importing():
            importing.put(None)
            imported.get(timeout=60)
            order.append("imported")

    def fork() -> None:
        concurrency._before_fork()
        order.append("forked")
        imported.get(timeout=60)
        order.append("in the parent")
        concurrency._after_fork()

    threads = [Thread(target=load), Thread(target=fork), Thread(target=load)]
    threads[0].start()
    importing.get(timeout=60)
    threads[1].start()
    until(lambda: concurrency._forking)
    assert order == []
    imported.put(None)
    until(lambda: len(order) == 2)
    threads[2].start()
    for _ in range(2):
        imported.put(None)
    for thread in threads:
        thread.join(60)
    assert order == ["imported", "forked", "in the parent", "imported"]


def test_a_child_begins_anew_once_whoever_notices_first(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    monkeypatch.setattr(concurrency, "_jobs", [lambda: begun.append(1)])
    monkeypatch.setattr(concurrency, "_locks", set())
    monkeypatch.setattr(concurrency, "_reset_by", {})
    concurrency.reset_after_fork()
    assert begun == [1]
    [(process, _)] = concurrency._reset_by.items()
    assert process == os.getpid()
    monkeypatch.setitem(concurrency._reset_by, os.getpid(), -1)
    concurrency.reset_after_fork()
    assert begun == [1]


def test_a_lock_that_is_gone_is_forgotten() -> None:
    before = len(concurrency._locks)
    lock = concurrency.new_lock()
    assert len(concurrency._locks) == before + 1
    del lock
    assert len(concurrency._locks) == before


@pytest.mark.slow
def test_where_there_is_nothing_of_unix_calls_are_recorded_all_the_same(tmp_path: Path) -> None:
    out, err = Site(tmp_path).run("tests.programs.windows")
    assert err == ""
    assert json.loads(out) == {"flushed": True, "hits": 1, "misses": 1}
