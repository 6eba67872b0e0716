"""Figures and names as a terminal shows them."""

from __future__ import annotations

import json

import pytest

from cache_monitor.exporters import table


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (table.count(None), "–"),
        (table.count(1234567), "1,234,567"),
        (table.brief(999_999), "999,999"),
        (table.brief(1_234_567), "1.2M"),
        (table.brief(12_345_678_901), "12.3G"),
        (table.share(None), "–"),
        (table.share(0.98765), "98.8%"),
        (table.share(0.9999), ">99.9%"),
        (table.share(0.0001), "<0.1%"),
        (table.share(1.0), "100.0%"),
        (table.duration(None), "–"),
        (table.duration(2.5), "2.50 s"),
        (table.duration(0.0025), "2.50 ms"),
        (table.duration(0.0000025), "2.5 µs"),
        (table.size(None), "–"),
        (table.size(0), "0 B"),
        (table.size(1536), "1.5 KB"),
        (table.size(5 * 2**40), "5.0 TB"),
        (table.processes(1), "1 process"),
        (table.processes(0), "0 processes"),
        (table.plain("user:1", 10), "user:1"),
        (table.plain("user:1:profile", 8), "user:1:…"),
        (table.plain("a\x1b[2J\u202eb\n", 20), "a�[2J�b�"),
    ],
)
def test_a_cell_reads_so(shown: str, wanted: str) -> None:
    assert shown == wanted


EVIL = "a\x1b]0;title\x07\u009b2J\u202eb\nc"


def test_lines_have_nothing_that_a_terminal_obeys() -> None:
    assert table.harmless(EVIL) == "a�]0;title��2J�b\nc"


def test_a_document_means_the_same_without_what_a_terminal_obeys() -> None:
    document = json.dumps({EVIL: [EVIL, "é中\U000e0001"]}, indent=2, ensure_ascii=False)
    printed = table.harmless_json(document)
    assert json.loads(printed) == json.loads(document)
    assert all(each.isprintable() or each == "\n" for each in printed)
