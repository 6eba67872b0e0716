"""The tables of the documentation that the code gives: ``python -m tests.docs.tables`` writes them.

``tests/docs/test_tables.py`` holds the pages to them.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final

from tests.docs import reference
from tests.docs.pages import DOCS, README

Place = tuple[Path, str]
"""A page, and the name of the marks around the table on it."""


def _settings() -> str:
    from cache_monitor.conf import Conf, defaults

    return _with_meanings("key", Conf, sorted(defaults().items()))


def _abilities() -> str:
    from cache_monitor.scan.backends import documentation

    return documentation()


def _findings() -> str:
    """A row for each code, with the anchor of its links."""
    from django.utils.translation import override

    from cache_monitor.findings.engine import explanations

    # Without a language the texts are in English.
    with override(None):
        rows = [
            f'| <a id="finding-{each.code}"></a>`{each.code}` | {each.found_where} | '
            + each.advice.replace("CACHES['…']", "`CACHES`")
            + " |"
            for each in explanations()
        ]
    return "\n".join(["| finding | found where | what to do |", "| --- | --- | --- |", *rows])


def _thresholds() -> str:
    from cache_monitor.conf import Thresholds

    return _with_meanings(
        "threshold",
        Thresholds,
        [(each.name.upper(), each.default) for each in dataclasses.fields(Thresholds)],
    )


def _with_meanings(name: str, fields: type, values: Iterable[tuple[str, object]]) -> str:
    """A table of ``values`` by the names of ``fields``, in upper case, with their docstrings."""
    [made] = ast.parse(inspect.getsource(fields)).body
    assert isinstance(made, ast.ClassDef)
    meanings = {
        field.target.id.upper(): " ".join(text.value.value.split())
        for field, text in pairwise(made.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
    lines = [f"| `{key}` | `{_as_written(value)}` | {meanings[key]} |" for key, value in values]
    return "\n".join([f"| {name} | default | meaning |", "| --- | --- | --- |", *lines])


def _as_written(value: object) -> str:
    return repr(int(value) if isinstance(value, float) and value.is_integer() else value)


_SUBJECTS: Final = {
    "rules_backend": "the cache and its server",
    "rules_groups": "timeouts and the use of keys",
    "rules_requests": "requests and pages",
}
"""What the rules of a module are about."""


def _codes() -> str:
    """Every finding's code, at the place that the links of findings lead to, by subject."""
    from cache_monitor.findings.engine import RULES

    links = dict.fromkeys(_SUBJECTS, "")
    for code, rule in sorted(RULES.items()):
        module = rule.__module__.rpartition(".")[2]
        link = f'<a id="finding-{code}"></a>[{code}](docs/findings.md#finding-{code})'
        links[module] += f", {link}" if links[module] else link
    rows = [f"| {_SUBJECTS[module]} | {found} |" for module, found in links.items()]
    return "\n".join(["| about | findings |", "| --- | --- |", *rows])


TABLES: Final[Mapping[Place, Callable[[], str]]] = {
    (DOCS / "api.md", "purposes"): reference.purposes,
    (DOCS / "api.md", "names"): reference.documentation,
    (DOCS / "settings.md", "settings"): lambda: _settings().replace("(#findings)", "(findings.md)"),
    # Its notes are left to the reference.
    (README, "abilities"): lambda: _abilities().partition("\n\n")[0],
    (DOCS / "backends.md", "abilities"): _abilities,
    (README, "codes"): _codes,
    (DOCS / "findings.md", "findings"): _findings,
    (DOCS / "findings.md", "thresholds"): _thresholds,
}


def write(place: Place, table: str) -> None:
    """Put the table between its marks."""
    page, mark = place
    marks = re.compile(rf"(<!-- {mark}:.*? -->\n).*?(<!-- end of {mark} -->)", re.DOTALL)
    text, times = marks.subn(
        lambda found: f"{found[1]}{table.strip()}\n{found[2]}", page.read_text()
    )
    assert times == 1, f"{page} has no <!-- {mark}: … -->"
    page.write_text(text)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    for place, make in TABLES.items():
        write(place, make())
