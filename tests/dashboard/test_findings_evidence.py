"""Every figure that a finding may bring has words of its own."""

import ast
from collections.abc import Iterable
from pathlib import Path

from cache_monitor import findings
from cache_monitor.dashboard.findings import LABELS, label


def _named() -> set[str]:
    """The names that the rules give to figures: keywords of a finding, or keys of its evidence."""
    found = set()
    for path in Path(findings.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr="find") | ast.Name(id="_known")):
                    found |= {str(each.arg) for each in node.keywords if each.arg}
                    found |= _first_texts(each.value for each in node.keywords if not each.arg)
                case ast.FunctionDef(returns=ast.Name(id="Evidence")):
                    found |= _keys(node)
                case ast.AnnAssign(annotation=ast.Name(id="Evidence")):
                    found |= _keys(node)
    return found


def _first_texts(calls: Iterable[ast.expr]) -> set[str]:
    """What a figure is called by a function that is told its name."""
    texts = [call.args[0] for call in calls if isinstance(call, ast.Call) and call.args]
    return {str(each.value) for each in texts if isinstance(each, ast.Constant)}


def _keys(node: ast.AST) -> set[str]:
    keys = [key for each in ast.walk(node) if isinstance(each, ast.Dict) for key in each.keys]
    return {str(key.value) for key in keys if isinstance(key, ast.Constant)}


def test_every_figure_has_words() -> None:
    named = _named()
    assert {"lookups", "lost_seconds", "deleted_unread", "median_age"} <= named
    assert named - set(LABELS) == set()


def test_an_unknown_figure_is_shown_by_its_name() -> None:
    assert label("something_new_seconds") == "something new"
