"""The README and the pages under ``docs/``: their text, their code blocks, their places."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
README: Final = ROOT / "README.md"
DOCS: Final = ROOT / "docs"

_MARK = re.compile(r"^ *<!-- (end of )?([a-z-]+)(?:: (?:run by )?(.*))? -->$")
_FENCE = re.compile(r"^ *```(\w*)$")


class Block(NamedTuple):
    """A fenced block: where it stands, its language and its text.

    ``mark`` is the name in the comment before it, ``runner`` the test module that the comment says
    runs it; both are "" where there is none.
    """

    page: str
    line: int
    language: str
    code: str
    mark: str
    runner: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """What a user reads, the README first."""
    return [README, *sorted(DOCS.glob("*.md"))]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks() -> list[Block]:
    """Every fenced block of every page."""
    return [block for page in pages() for block in _blocks_of(page)]


def _blocks_of(page: Path) -> Iterator[Block]:
    mark, runner, opened, language = "", "", 0, ""
    code: list[str] = []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if fence := _FENCE.match(line):
            if opened:
                yield Block(name_of(page), opened, language, _dedented(code), mark, runner)
                opened, code = 0, []
            else:
                opened, language = number, fence[1]
        elif opened:
            code.append(line)
        elif found := _MARK.match(line):
            mark, runner = ("", "") if found[1] else (found[2], found[3] or "")
    assert not opened, f"{name_of(page)}:{opened}: this block has no end"


def _dedented(lines: list[str]) -> str:
    margin = min((len(line) - len(line.lstrip()) for line in lines if line), default=0)
    return "".join(f"{line[margin:]}\n" for line in lines)


def marked(mark: str, language: str = "") -> list[str]:
    """The blocks between the marks of this name that a test runs; of one language, or of all."""
    found = [block for block in blocks() if block.mark == mark and block.runner]
    assert len({block.page for block in found}) == 1, f"where is <!-- {mark}: run by … -->?"
    return [block.code for block in found if language in {"", block.language}]


def text_of(page: Path, mark: str) -> str:
    """What stands between the marks of this name on a page, blocks or not."""
    found = re.search(
        rf"<!-- {mark}(?::.*)? -->\n(.*?)<!-- end of {mark} -->", page.read_text(), re.DOTALL
    )
    assert found is not None, f"{name_of(page)} has no <!-- {mark} -->"
    return found[1].strip()


def executed(code: str, module: str = "documented") -> dict[str, Any]:
    """The names that the code of a page makes."""
    names: dict[str, Any] = {"__name__": module}
    exec(code, names)  # noqa: S102 - it is our own code, which stands in the documentation
    return names
