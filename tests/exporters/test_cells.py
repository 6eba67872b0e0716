"""Figures and names as a terminal shows them."""

from __future__ import annotations

import json

import pytest

from cache_monitor.exporters import cells


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (cells.count(None), "–"),
        (cells.count(1234567), "1,234,567"),
        (cells.brief(999_999), "999,999"),
        (cells.brief(1_234_567), "1.2M"),
        (cells.brief(12_345_678_901), "12.3G"),
        (cells.share(None), "–"),
        (cells.share(0.98765), "98.8%"),
        (cells.time(None), "–"),
        (cells.time(2.5), "2.50 s"),
        (cells.time(0.0025), "2.50 ms"),
        (cells.time(0.0000025), "2.5 µs"),
        (cells.size(None), "–"),
        (cells.size(0), "0 B"),
        (cells.size(1536), "1.5 KB"),
        (cells.size(5 * 2**40), "5.0 TB"),
        (cells.processes(1), "1 process"),
        (cells.processes(0), "0 processes"),
        (cells.plain("user:1", 10), "user:1"),
        (cells.plain("user:1:profile", 8), "user:1:…"),
        (cells.plain("a\x1b[2J\u202eb\n", 20), "a�[2J�b�"),
    ],
)
def test_a_cell_reads_so(shown: str, wanted: str) -> None:
    assert shown == wanted


EVIL = "a\x1b]0;title\x07\u009b2J\u202eb\nc"


def test_lines_have_nothing_that_a_terminal_obeys() -> None:
    assert cells.harmless(EVIL) == "a�]0;title��2J�b\nc"


def test_a_document_means_the_same_without_what_a_terminal_obeys() -> None:
    document = json.dumps({EVIL: [EVIL, "é中\U000e0001"]}, indent=2, ensure_ascii=False)
    printed = cells.harmless_json(document)
    assert json.loads(printed) == json.loads(document)
    assert all(each.isprintable() or each == "\n" for each in printed)
