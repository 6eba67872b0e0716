"""Tests that mostly wait, for processes of their own or for time to pass: they do so at once.

The first of a group that runs runs the bodies of all of it that were chosen, in threads, and each
has the outcome of its own. Such a test is a function of its parameters, of ``tmp_path`` and of
fixtures of the whole session that all of the group know. It leaves alone what belongs to this
process: Django's settings, caches and databases, the environment, what was recorded.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import pytest

MOST: Final = 4
"""Bodies at a time: what they wait for shall still come when it is due."""
Outcomes = dict[pytest.Item, Future[None]]
OUTCOMES: Final = pytest.StashKey[dict[str, Outcomes]]()
"""What became of the bodies, by the groups that have run."""


def group_of(item: pytest.Item) -> str | None:
    """The group that waits at once; of most tests there is none."""
    mark = item.get_closest_marker("at_once")
    return mark and mark.args[0]


def outcome(item: pytest.Function) -> Future[None]:
    """What became of the body of a test, when those of its group have ended: no other test is to
    run beside them."""
    group = group_of(item)
    assert group is not None
    groups = item.session.stash.setdefault(OUTCOMES, {})
    if group not in groups:
        groups[group] = _run(group, item)
    return groups[group][item]


def _run(group: str, running: pytest.Function) -> Outcomes:
    chosen = [
        each
        for each in running.session.items
        if isinstance(each, pytest.Function) and group_of(each) == group
    ]
    chosen.sort(key=_is_short)
    with ThreadPoolExecutor(MOST) as threads:
        return {each: _begin(each, running, threads) for each in chosen}


def _is_short(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("at_once")
    return mark is None or not mark.kwargs.get("longest", False)


def _begin(
    item: pytest.Function, running: pytest.Function, threads: ThreadPoolExecutor
) -> Future[None]:
    try:
        arguments = _arguments(item, running)
    except (pytest.skip.Exception, pytest.fail.Exception) as missing:
        # A program, perhaps, that the one which runs does not need.
        left: Future[None] = Future()
        left.set_exception(missing)
        return left
    return threads.submit(item.obj, **arguments)


def _arguments(item: pytest.Function, running: pytest.Function) -> dict[str, Any]:
    """What a test asks for, as long as the one that runs is set up."""
    given = item.callspec.params if hasattr(item, "callspec") else {}
    return {
        name: given[name] if name in given else _of_session(name, item, running)
        for name in item._fixtureinfo.argnames
    }


def _of_session(name: str, item: pytest.Function, running: pytest.Function) -> object:
    if name == "tmp_path":
        factory: pytest.TempPathFactory = running._request.getfixturevalue("tmp_path_factory")
        return factory.mktemp(item.originalname[:30])
    scope = item._fixtureinfo.name2fixturedefs[name][-1].scope
    assert scope == "session", f"{item.nodeid} waits at once with others: {name} is of one {scope}"
    return running._request.getfixturevalue(name)
