"""Every link between the README, the pages and other files leads to its place.

MkDocs looks at the links among the pages; the README and CONTRIBUTING are not its own.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, name_of, pages

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_ANCHOR = re.compile(r'<a id="([^"]+)"')
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
READ = [*pages(), ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]


def _slug(heading: str) -> str:
    """What a heading is called in an address, by GitHub and by MkDocs where it has plain words."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def _places(page: Path) -> set[str]:
    text = _FENCED.sub("", page.read_text())
    return {*_ANCHOR.findall(text), *map(_slug, _HEADING.findall(text))}


@pytest.mark.parametrize("page", READ, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for link in _LINK.findall(_FENCED.sub("", page.read_text())):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in _places(target)):
            lost.append(link)
    assert lost == []
