"""Every figure that a finding may bring has words of its own."""

import ast
from pathlib import Path

from cache_monitor import findings
from cache_monitor.dashboard.findings import LABELS, label


def _named() -> set[str]:
    """The first parts of the pairs that the rules make of a name and a figure."""
    found = set()
    for path in Path(findings.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            # A list of such pairs is what a rule hands to ``find``.
            for pair in node.elts if isinstance(node, ast.List) else ():
                match pair:
                    case ast.Tuple(elts=[ast.Constant(value=str(name)), _]):
                        found.add(name)
                    case ast.Starred(value=ast.Call(args=[ast.Constant(value=str(name)), *_])):
                        found.add(name)
    return found


def test_every_figure_has_words() -> None:
    named = _named()
    assert {"lookups", "lost_seconds", "deleted_unread", "median_age"} <= named
    assert named - set(LABELS) == set()


def test_an_unknown_figure_is_shown_by_its_name() -> None:
    assert label("something_new_seconds") == "something new"
