"""The page of the Python API, made from signatures and docstrings: ``python -m tests.docs.tables``.

A module is public if it has ``__all__``, and what is in it is what a user may import. The sources
are read, not imported: the panel or the exporters need packages that may be missing, and a
signature stands on the page as it is written.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from importlib import import_module
from typing import Final, NamedTuple

from tests.docs.pages import ROOT

PACKAGE: Final = ROOT / "cache_monitor"

PURPOSES: Final[Mapping[str, str]] = {
    "cache_monitor": "get the figures in Python, or write this process's records now",
    "cache_monitor.reports": "read a report, field by field",
    "cache_monitor.exporters.json": "make JSON of a report",
    "cache_monitor.testing": "count cache calls in your own tests",
    "cache_monitor.pytest_plugin": "do that by fixtures of pytest",
    "cache_monitor.findings": "hear of each new finding",
    "cache_monitor.middleware": "tie calls to views (`MIDDLEWARE`)",
    "cache_monitor.panel": "show the panel (`DEBUG_TOOLBAR_PANELS`)",
    "cache_monitor.backends": "record one cache only (`CACHES`)",
    "cache_monitor.exporters.prometheus": "show the caches in a registry of your own",
    "cache_monitor.exporters.opentelemetry": "make spans of cache calls (`MIDDLEWARE`)",
    "cache_monitor.admin": "put the dashboard into an `AdminSite` of your own",
    "cache_monitor.models": "name the dashboard, and its permissions, in your own code",
    "cache_monitor.stores.base": "keep the statistics in a store of your own (`STORE`)",
}
"""What a user wants to do with each public module."""

REPORT: Final = "cache_monitor.reports"

_SHOWN_DECORATORS: Final = {"contextmanager", "pytest.fixture"}
_ROLE: Final = re.compile(r":\w+:`~?(?:[\w.]+\.)?(\w+)`")

Node = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


class Definition(NamedTuple):
    """Where a name is made, and the docstring that it has there; ``line`` is 0 elsewhere."""

    module: str
    node: Node
    docstring: str
    line: int


class _Plain(ast.NodeTransformer):
    """Puts the types that a user passes or gets in place of a module's own names for them."""

    def __init__(self, module: str) -> None:
        self._module = module

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if isinstance(node.slice, ast.Tuple) and ast.unparse(node.value) == "Annotated":
            return self.visit(node.slice.elts[0])  # type: ignore[no-any-return]  # as ast says
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        made = _assigned(self._module, node.id)
        if made is not None and made.value is not None and "Annotated" in ast.unparse(made.value):
            return self.visit(deepcopy(made.value))  # type: ignore[no-any-return]  # as ast says
        return node


def purposes() -> str:
    """What each module is for, with a link to its place."""
    rows = [
        f"| {purpose} | [`{module}`](#{module.replace('.', '')}) |"
        for module, purpose in PURPOSES.items()
    ]
    return "\n".join(["| to | import from |", "| --- | --- |", *rows])


def documentation() -> str:
    """Every name that a user may import, with its signature and its docstring, in Markdown."""
    parts: list[str] = []
    for module in PURPOSES:
        parts += [f"## `{module}`", f"Use it to {PURPOSES[module]}."]
        for name in _in_order(module):
            parts += [f"### `{name}`", *_described(name, *_found(module, name))]
    return "\n\n".join(filter(None, parts))


def _in_order(module: str) -> list[str]:
    """The public names of a module: the report before its parts, others as ``__all__`` has them."""
    names = public_names(module)
    if module == REPORT:
        names.sort(key=lambda name: -_found(module, name).line)
    return names


def public_modules() -> set[str]:
    """The modules that have ``__all__``."""
    paths = (path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)
    names = (path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in paths)
    modules = (name.removesuffix(".__init__") for name in names)
    return {module for module in modules if public_names(module)}


def public_names(module: str) -> list[str]:
    """What ``__all__`` of ``module`` names, in order."""
    made = _assigned(module, "__all__")
    return [] if made is None or made.value is None else list(ast.literal_eval(made.value))


@cache
def _body(module: str) -> list[ast.stmt]:
    path = ROOT.joinpath(*module.split("."))
    # A folder may be left of a package that has become a module, with what was compiled of it.
    package, single = path / "__init__.py", path.with_suffix(".py")
    parsed = ast.parse((package if package.exists() else single).read_text()).body
    # What is only imported for types is in the body of an ``if``.
    return [each for node in parsed for each in (node.body if isinstance(node, ast.If) else [node])]


def _assigned(module: str, name: str) -> ast.Assign | ast.AnnAssign | None:
    for node in _body(module):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(each, ast.Name) and each.id == name for each in targets):
                return node
        if (
            isinstance(node, ast.ImportFrom)
            and str(node.module).startswith("cache_monitor.")
            and any(each.name == name and each.asname is None for each in node.names)
        ):
            return _assigned(str(node.module), name)
    return None


def _found(module: str, name: str) -> Definition:
    """The definition of ``name``, followed to where it is made."""
    for node, below in zip(_body(module), [*_body(module)[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return Definition(module, node, ast.get_docstring(node) or "", node.lineno)
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            if any((each.asname or each.name) == name for each in node.names):
                return _found(node.module, name)._replace(line=0)
        elif node is _assigned(module, name):
            assert isinstance(node, ast.Assign | ast.AnnAssign)
            is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            text = ast.literal_eval(ast.unparse(below)) if below is not None and is_text else ""
            return Definition(module, node, text, 0)
    raise LookupError(f"{module} has no {name}")


def _described(name: str, module: str, node: Node, docstring: str, _: int) -> Iterator[str]:
    """The signature, the docstring, and the public methods of a class."""
    if isinstance(node, ast.FunctionDef):
        yield _indented([*_decorators(node), _signature(node)])
    elif isinstance(node, ast.ClassDef):
        fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
        bases = ", ".join(map(ast.unparse, node.bases))
        plain = [ast.unparse(_Plain(module).visit(deepcopy(each))) for each in fields]
        meanings = [_meaning(module, each.annotation) for each in fields]
        if any(meanings):
            yield from _in_markdown(docstring)
            docstring = ""
            yield "\n".join(
                f"- `{field}`" + (f": {meaning}" if meaning else "")
                for field, meaning in zip(plain, meanings, strict=True)
            )
        else:
            yield _indented(plain or [f"class {name}" + (f"({bases})" if bases else "")])
    elif isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "tuple":
        # What is made of something else: a reader wants to know what that gives.
        yield _indented([f"{name} = {getattr(import_module(module), name)!r}"])
    else:
        yield _indented([ast.unparse(node)])
    yield from _in_markdown(docstring)
    if isinstance(node, ast.ClassDef):
        yield "\n".join(
            f"- `{_signature(each)}`: {' '.join(' '.join(_in_markdown(told)).split())}"
            for each in node.body
            if isinstance(each, ast.FunctionDef)
            and not each.name.startswith("_")
            and (told := ast.get_docstring(each))
        )


def _meaning(module: str, annotation: ast.expr) -> str:
    """What ``doc(…)`` says of a field, in its annotation or in what that is a name of."""
    for node in ast.walk(annotation):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "doc":
            return " ".join(str(ast.literal_eval(node.args[0])).split())
        made = _assigned(module, node.id) if isinstance(node, ast.Name) else None
        if isinstance(made, ast.Assign) and "Annotated" in ast.unparse(made.value):
            return _meaning(module, made.value)
    return ""


def _decorators(function: ast.FunctionDef) -> list[str]:
    names = map(ast.unparse, function.decorator_list)
    return [f"@{name}" for name in names if name in _SHOWN_DECORATORS]


def _signature(function: ast.FunctionDef) -> str:
    returned = "" if function.returns is None else ast.unparse(function.returns).strip("'\"")
    if any(ast.unparse(each) == "property" for each in function.decorator_list):
        return f"{function.name}: {returned}"
    arguments = re.sub(r"^self(, |$)", "", ast.unparse(function.args))
    arguments = re.sub(r"(: [^,=]+)=", r"\1 = ", arguments)
    return f"{function.name}({arguments})" + (f" -> {returned}" if returned else "")


def _indented(lines: list[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)


def _in_markdown(docstring: str) -> Iterator[str]:
    """Its paragraphs; code that is shown in it stays as it is."""
    for paragraph in docstring.split("\n\n"):
        if paragraph.startswith("    "):
            yield paragraph
        else:
            text = _ROLE.sub(r"`\1`", paragraph).replace("``", "`")
            yield text.removesuffix("::") + (":" if text.endswith("::") else "")
