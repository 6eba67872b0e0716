"""The README can be read in one go, and what it shows and links to is there."""

import re

from cache_monitor.findings.engine import RULES
from cache_monitor.findings.texts import ANCHOR
from cache_monitor.findings.texts import README as READ_BY_ALL
from tests.docs.pages import README, ROOT


def test_it_is_of_reading_length() -> None:
    assert len(README.read_text().splitlines()) <= 250


def test_it_begins_with_two_sentences_and_a_picture() -> None:
    _, says, picture, *_ = README.read_text().split("\n\n")
    assert len(re.findall(r"\.(?:\s|$)", says)) == 2
    assert picture.startswith("![")


def test_every_picture_is_there() -> None:
    pictures = re.findall(r"!\[[^]]*]\(([^)]+)\)", README.read_text())
    assert [name for name in pictures if (ROOT / name).stat().st_size < 10_000] == []
    assert pictures


def test_the_link_of_every_finding_leads_to_its_place() -> None:
    text = (ROOT / READ_BY_ALL).read_text()
    anchors = [ANCHOR.format(code=code) for code in RULES]
    assert [each for each in anchors if f'<a id="{each}"></a>' not in text] == []
