"""Tests that mostly wait, for processes of their own or for time to pass: they do so at once.

The first of them that runs runs the bodies of all that were chosen, in threads, and each of them
has the outcome of its own. Such a test is a function of its parameters, of ``tmp_path`` and of
fixtures of the whole session, and leaves alone what belongs to this process: Django's settings,
caches and databases, the environment, what was recorded.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import pytest

MOST: Final = 6
"""Bodies at a time: what they wait for shall still come when it is due."""
OUTCOMES: Final = pytest.StashKey[dict[pytest.Item, Future[None]]]()


def are_marked(items: list[pytest.Item]) -> list[pytest.Function]:
    """Those of the tests that wait at once, the ones that take longest first."""
    marked = [
        (not mark.kwargs.get("longest", False), place, item)
        for place, item in enumerate(items)
        if isinstance(item, pytest.Function) and (mark := item.get_closest_marker("at_once"))
    ]
    return [item for *_, item in sorted(marked)]


def outcome(item: pytest.Function) -> Future[None]:
    """What became of the body of a test, when those of all of them have ended: no other test is to
    run beside them."""
    stash = item.session.stash
    if OUTCOMES not in stash:
        with ThreadPoolExecutor(MOST) as threads:
            chosen = are_marked(item.session.items)
            outcomes: dict[pytest.Item, Future[None]] = {
                each: _begin(each, item, threads) for each in chosen
            }
            stash[OUTCOMES] = outcomes
    return stash[OUTCOMES][item]


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
    assert scope == "session", f"{item.nodeid} runs at once with others: {name} is of one {scope}"
    return running._request.getfixturevalue(name)
