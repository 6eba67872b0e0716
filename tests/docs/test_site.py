"""``make docs`` builds the pages without a warning, and they need nothing from elsewhere."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.docs.pages import DOCS, ROOT


class Loads(HTMLParser):
    """Collects what a page makes a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        name = {"script": "src", "img": "src", "iframe": "src", "link": "href"}.get(tag)
        values = dict(attrs)
        if name and values.get("rel") != "canonical" and (address := values.get(name)):
            self.addresses.add(address)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("docs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return target


def test_every_page_is_built(built: Path) -> None:
    written = {page.stem for page in DOCS.glob("*.md")}
    assert written <= {page.stem for page in built.glob("*.html")}
    assert {"index", "api", "panel", "findings", "production", "upgrading"} <= written


def test_what_a_page_loads_is_there(built: Path) -> None:
    for page in built.glob("*.html"):
        loads = Loads()
        loads.feed(page.read_text())
        assert loads.addresses
        for address in loads.addresses:
            assert (built / address.partition("?")[0].lstrip("/")).is_file(), (
                f"{page.name}: {address}"
            )


def test_tables_and_code_are_rendered(built: Path) -> None:
    """An extension that is missing would leave the pipes and the fences in the text."""
    for page in built.glob("*.html"):
        text = page.read_text()
        assert "| --- |" not in text
        assert "```" not in text


def test_the_picture_of_the_rooms_names_rooms_that_are_there() -> None:
    picture = ET.parse(DOCS / "images" / "architecture.svg")  # noqa: S314 - our own file
    texts = picture.iterfind(".//{http://www.w3.org/2000/svg}text")
    rooms = {text.text for text in texts if text.get("class") is None} - {"the site's code"}
    package = ROOT / "cache_monitor"
    assert {room for room in rooms if not (package / f"{room}").is_dir()} == {"calls"}
    assert (package / "calls.py").is_file()
